import Core

/// What the identifiers of a version are made of: a frozen form of what a user declared (contract S3, architecture
/// decision 13).
///
/// Replicas are restarted when the digest of this form changes, so an upgrade of the platform must not change it. Keys
/// and values below are therefore never changed and never removed. A new field of `cortex.yaml` becomes a member only
/// where its value is not the default, so the files that do not use it keep their identifiers. The form does not follow
/// the documents that the operator shows.
enum CanonicalForm {
    /// What touches the pod.
    static func pod(_ specification: APISpecification) -> JSONValue {
        var members: [String: JSONValue] = [
            "name": .string(specification.name), "kind": .string(specification.kind.name.rawValue),
        ]
        switch specification.kind {
        case .async(let api): members["pod"] = .object(podWithConcurrency(api.workload.pod))
        // The limits of a RealtimeAPI are the proxy's: a change of them restarts nothing (contract R10, R18).
        case .realtime(let api): members["pod"] = .object(pod(api.workload.pod))
        case .batch(let api): members["pod"] = .object(pod(api.pod))
        case .task(let api): members["pod"] = .object(taskPod(api.pod))
        case .trafficSplitter: break
        }
        return .object(members)
    }

    /// Everything declared.
    static func specification(_ specification: APISpecification, podID: String) -> JSONValue {
        var members: [String: JSONValue] = [
            "name": .string(specification.name), "kind": .string(specification.kind.name.rawValue),
            "pod_id": .string(podID),
        ]
        var networking: [String: JSONValue] = ["endpoint": .string(specification.networking.endpoint)]
        switch specification.kind {
        case .async(let api):
            networking["allow_origins"] = strings(specification.networking.allowOrigins)
            members["pod"] = .object(podWithConcurrency(api.workload.pod))
            members.merge(replicas(api.workload)) { first, _ in first }
            members.merge(policy(api.requests)) { first, _ in first }
            // These were once part of the form, always with these values.
            members.merge([
                "id": "", "spec_id": "", "deployment_id": "", "initial_deployment_time": 0, "last_updated": 0,
                "file_name": "", "submitted_api_spec": .null,
            ]) { first, _ in first }
        case .realtime(let api):
            networking["allow_origins"] = strings(specification.networking.allowOrigins)
            var pod = pod(api.workload.pod)
            pod["max_concurrency"] = integer(api.workload.pod.maxConcurrency)
            pod["max_queue_length"] = integer(api.proxy.maxQueueLength)
            members["pod"] = .object(pod)
            members.merge(replicas(api.workload)) { first, _ in first }
            members.merge(policy(api.proxy)) { first, _ in first }
        case .batch(let api):
            members["pod"] = .object(podWithConcurrency(api.pod))
            members.merge(policy(api.jobs)) { first, _ in first }
            members.merge([
                "timeout": nanoseconds(api.timeout), "keep_failed": nanoseconds(api.keepFailed),
                "max_payload": .integer(api.maxPayload), "retries": retries(api.retries),
            ]) { first, _ in first }
        case .task(let api):
            members["pod"] = .object(taskPod(api.pod))
            members.merge(policy(api.jobs)) { first, _ in first }
            members.merge([
                "timeout": nanoseconds(api.timeout), "max_artifacts": .integer(api.maxArtifacts),
                "retries": retries(api.retries),
            ]) { first, _ in first }
        case .trafficSplitter(let splitter):
            members.merge(self.splitter(splitter)) { first, _ in first }
        }
        members["networking"] = .object(networking)
        return .object(members)
    }

    // MARK: Parts of an AsyncAPI and a RealtimeAPI

    private static func replicas(_ workload: Workload) -> [String: JSONValue] {
        let strategy = workload.updateStrategy
        let autoscaling = workload.autoscaling
        return [
            "autoscaling": .object([
                "min_replicas": integer(autoscaling.minReplicas), "max_replicas": integer(autoscaling.maxReplicas),
                "init_replicas": integer(autoscaling.initReplicas),
                "target_in_flight": .number(autoscaling.targetInFlight), "window": nanoseconds(autoscaling.window),
                "downscale_stabilization_period": nanoseconds(autoscaling.downscaleStabilizationPeriod),
                "upscale_stabilization_period": nanoseconds(autoscaling.upscaleStabilizationPeriod),
                "max_downscale_factor": .number(autoscaling.maxDownscaleFactor),
                "max_upscale_factor": .number(autoscaling.maxUpscaleFactor),
                "downscale_tolerance": .number(autoscaling.downscaleTolerance),
                "upscale_tolerance": .number(autoscaling.upscaleTolerance),
            ]),
            "update_strategy": .object([
                "max_surge": amount(strategy.maxSurge), "max_unavailable": amount(strategy.maxUnavailable),
            ]),
        ]
    }

    private static func policy(_ requests: RequestPolicy) -> [String: JSONValue] {
        [
            "timeout": nanoseconds(requests.timeout), "retention": nanoseconds(requests.retention),
            "keep_failed": nanoseconds(requests.keepFailed), "max_payload": .integer(requests.maxPayload),
            "max_result": .integer(requests.maxResult),
            "max_queue_length": requests.maxQueueLength.map(integer) ?? .null,
            "max_queue_time": requests.maxQueueTime.map(nanoseconds) ?? .null, "retries": retries(requests.retries),
        ]
    }

    private static func policy(_ proxy: ProxyPolicy) -> [String: JSONValue] {
        [
            "timeout": nanoseconds(proxy.timeout), "idle_timeout": proxy.idleTimeout.map(nanoseconds) ?? .null,
            "max_queue_time": nanoseconds(proxy.maxQueueTime),
            "max_payload": proxy.maxPayload.map(JSONValue.integer) ?? .null, "retries": retries(proxy.retries),
            "sticky": sticky(proxy.sticky),
        ]
    }

    private static func retries(_ retries: RetryPolicy) -> JSONValue {
        .object([
            "max_attempts": integer(retries.maxAttempts), "on": strings(retries.on.map(\.rawValue).sorted()),
            "backoff": nanoseconds(retries.backoff),
        ])
    }

    private static func sticky(_ sticky: Stickiness?) -> JSONValue {
        switch sticky {
        case nil: .null
        case .cookie(let name): .object(["cookie": .string(name)])
        case .header(let name): .object(["header": .string(name)])
        }
    }

    // MARK: Parts of a BatchAPI and a TaskAPI

    private static func policy(_ jobs: JobPolicy) -> [String: JSONValue] {
        [
            "retention": nanoseconds(jobs.retention), "max_result": .integer(jobs.maxResult),
            "max_concurrent_jobs": jobs.maxConcurrentJobs.map(integer) ?? .null,
            "max_queued_jobs": jobs.maxQueuedJobs.map(integer) ?? .null,
            "start_timeout": nanoseconds(jobs.startTimeout), "schedules": .array(jobs.schedules.map(schedule)),
        ]
    }

    private static func schedule(_ schedule: ScheduleSpecification) -> JSONValue {
        var members: [String: JSONValue] = [
            "name": .string(schedule.name), "overlap": .string(schedule.overlap.rawValue),
            "catch_up": .string(schedule.catchUp.rawValue), "catch_up_window": nanoseconds(schedule.catchUpWindow),
            "jitter": nanoseconds(schedule.jitter), "suspended": .bool(schedule.isSuspended),
            "job": .string(schedule.job),
        ]
        switch schedule.timing {
        case .cron(let expression, let timeZone):
            members["cron"] = .string(expression.text)
            members["time_zone"] = .string(timeZone)
        case .every(let period): members["every"] = nanoseconds(period)
        }
        return .object(members)
    }

    private static func retries(_ retries: TaskRetryPolicy) -> JSONValue {
        .object([
            "max_attempts": integer(retries.maxAttempts), "on": strings(retries.on.map(\.rawValue).sorted()),
            "no_retry_exit_codes": .array(retries.noRetryExitCodes.sorted().map(integer)),
            "on_lost": .string(retries.onLost.rawValue), "backoff": nanoseconds(retries.backoff),
        ])
    }

    // MARK: Parts of a TrafficSplitter

    private static func splitter(_ splitter: SplitterSpecification) -> [String: JSONValue] {
        [
            "apis": .array(
                splitter.targets.map {
                    .object(["name": .string($0.api), "weight": integer($0.weight), "shadow": .bool($0.isShadow)])
                }),
            "sticky": sticky(splitter.sticky), "match": .array(splitter.matches.map(match)),
            "allow_override": .bool(splitter.allowsOverride), "fallback": .bool(splitter.hasFallback),
            "guard": splitter.guarding.map(condition) ?? .null,
        ]
    }

    private static func match(_ match: SplitterSpecification.Match) -> JSONValue {
        var members: [String: JSONValue] = ["header": .string(match.header), "api": .string(match.api)]
        switch match.rule {
        case .value(let text): members["value"] = .string(text)
        case .prefix(let text): members["prefix"] = .string(text)
        }
        return .object(members)
    }

    private static func condition(_ condition: SplitterSpecification.Guard) -> JSONValue {
        .object([
            "api": .string(condition.api), "window": nanoseconds(condition.window),
            "min_requests": integer(condition.minRequests), "max_error_rate": .number(condition.maxErrorRate),
            "max_p99": condition.maxP99.map(nanoseconds) ?? .null, "baseline_factor": .number(condition.baselineFactor),
        ])
    }

    // MARK: Pod

    /// A task has no port.
    private static func taskPod(_ pod: PodSpecification) -> [String: JSONValue] {
        self.pod(pod).filter { $0.key != "port" }
    }

    /// With `max_concurrency`, which has always been part of the form of an AsyncAPI.
    private static func podWithConcurrency(_ pod: PodSpecification) -> [String: JSONValue] {
        self.pod(pod).merging(["max_concurrency": integer(pod.maxConcurrency)]) { first, _ in first }
    }

    private static func pod(_ pod: PodSpecification) -> [String: JSONValue] {
        var members: [String: JSONValue] = [
            "port": integer(pod.port), "termination_grace_period": nanoseconds(pod.terminationGracePeriod),
            "containers": .array(pod.containers.map(container)),
        ]
        // `read` is what versions before this field had.
        if pod.operatorAccess != .read { members["operator_access"] = .string(pod.operatorAccess.rawValue) }
        return members
    }

    private static func container(_ container: ContainerSpecification) -> JSONValue {
        let compute = container.compute
        var resources: [String: JSONValue] = [
            "cpu": quantity(compute.cpu), "mem": quantity(compute.mem), "shm": quantity(compute.shm),
            "gpu": integer(compute.gpu),
        ]
        // Newer than the form: it is part of it only where it is set.
        if let disk = compute.disk { resources["disk"] = quantity(disk) }
        return .object([
            "name": .string(container.name), "image": container.image.map(JSONValue.string) ?? .null,
            "env": .object(container.env.mapValues(JSONValue.string)),
            "command": container.command.map(strings) ?? .null, "args": container.args.map(strings) ?? .null,
            "readiness_probe": container.readinessProbe.map(probe) ?? .null,
            "liveness_probe": container.livenessProbe.map(probe) ?? .null,
            "pre_stop": container.preStop.map(preStop) ?? .null,
            "compute": .object(resources),
            "volumes": strings(container.volumes.map { "\($0.source):\($0.target)\($0.readOnly ? ":ro" : "")" }),
        ])
    }

    private static func probe(_ probe: Probe) -> JSONValue {
        var members: [String: JSONValue] = [
            "http_get": .null, "tcp_socket": .null, "exec": .null,
            "initial_delay_seconds": .integer(probe.initialDelay.components.seconds),
            "timeout_seconds": .integer(probe.timeout.components.seconds),
            "period_seconds": .integer(probe.period.components.seconds),
            "success_threshold": integer(probe.successThreshold),
            "failure_threshold": integer(probe.failureThreshold),
        ]
        switch probe.handler {
        case .httpGet(let get): members["http_get"] = httpGet(get)
        case .tcpSocket(let port): members["tcp_socket"] = .object(["port": integer(port)])
        case .exec(let command): members["exec"] = .object(["command": strings(command)])
        }
        return .object(members)
    }

    private static func preStop(_ preStop: ContainerSpecification.PreStop) -> JSONValue {
        switch preStop {
        case .httpGet(let get): .object(["http_get": httpGet(get), "exec": .null])
        case .exec(let command): .object(["http_get": .null, "exec": .object(["command": strings(command)])])
        }
    }

    private static func httpGet(_ get: HTTPGet) -> JSONValue {
        .object(["port": integer(get.port), "path": .string(get.path)])
    }

    private static func amount(_ amount: UpdateStrategy.Amount) -> JSONValue {
        switch amount {
        case .count(let count): .string("\(count)")
        case .percent(let percent): .string("\(percent)%")
        }
    }

    private static func integer(_ value: Int) -> JSONValue { .integer(Int64(value)) }
    private static func nanoseconds(_ value: Duration) -> JSONValue { .integer(value.wholeNanoseconds) }
    private static func quantity(_ value: Quantity?) -> JSONValue { value.map { .string($0.text) } ?? .null }
    private static func strings(_ values: [String]) -> JSONValue { .array(values.map(JSONValue.string)) }
}
