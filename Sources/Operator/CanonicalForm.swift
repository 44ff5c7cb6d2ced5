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
        .object([
            "name": .string(specification.name), "kind": .string(specification.kind.name.rawValue),
            "pod": pod(specification.pod),
        ])
    }

    /// Everything declared.
    static func specification(_ specification: APISpecification, podID: String) -> JSONValue {
        let requests = specification.requests
        let strategy = specification.updateStrategy
        let autoscaling = specification.autoscaling
        return .object([
            "name": .string(specification.name), "kind": .string(specification.kind.name.rawValue),
            "networking": .object([
                "endpoint": .string(specification.networking.endpoint),
                "allow_origins": strings(specification.networking.allowOrigins),
            ]),
            "pod": pod(specification.pod),
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
            "timeout": nanoseconds(requests.timeout), "retention": nanoseconds(requests.retention),
            "keep_failed": nanoseconds(requests.keepFailed), "max_payload": .integer(requests.maxPayload),
            "max_result": .integer(requests.maxResult),
            "max_queue_length": requests.maxQueueLength.map(integer) ?? .null,
            "max_queue_time": requests.maxQueueTime.map(nanoseconds) ?? .null,
            "retries": .object([
                "max_attempts": integer(requests.retries.maxAttempts),
                "on": strings(requests.retries.on.map(\.rawValue).sorted()),
                "backoff": nanoseconds(requests.retries.backoff),
            ]),
            "pod_id": .string(podID),
            // The rest was once part of the form, always with these values.
            "id": "", "spec_id": "", "deployment_id": "", "initial_deployment_time": 0, "last_updated": 0,
            "file_name": "", "submitted_api_spec": .null,
        ])
    }

    private static func pod(_ pod: PodSpecification) -> JSONValue {
        var members: [String: JSONValue] = [
            "port": integer(pod.port), "max_concurrency": integer(pod.maxConcurrency),
            "termination_grace_period": nanoseconds(pod.terminationGracePeriod),
            "containers": .array(pod.containers.map(container)),
        ]
        // `read` is what versions before this field had.
        if pod.operatorAccess != .read { members["operator_access"] = .string(pod.operatorAccess.rawValue) }
        return .object(members)
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
