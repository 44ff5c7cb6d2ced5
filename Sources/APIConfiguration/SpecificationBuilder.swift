package import Core

/// Builds a specification from an API's fields. Defaults are already set, except those that are derived from other
/// values, which are added here.
struct SpecificationBuilder {
    struct Fault {
        var mark: SourceMark
        var path: String
        var kind: ConfigurationProblem.Kind
        var message: String
    }

    let baseDirectory: String?
    private(set) var faults: [Fault] = []

    init(baseDirectory: String?) {
        self.baseDirectory = baseDirectory
    }

    /// The canonical endpoint and its place in the file.
    static func endpoint(of api: ConfigurationObject) -> (path: String, mark: SourceMark)? {
        guard let networking = api["networking"]?.object else { return nil }
        if let endpoint = networking["endpoint"], let text = endpoint.string {
            let name = text.hasPrefix("/") ? text.dropFirst() : Substring(text)
            return ("/" + (name.hasSuffix("/") ? name.dropLast() : name), endpoint.mark)
        }
        guard !networking.given.contains("endpoint"), let name = api["name"], let text = name.string else { return nil }
        return ("/" + text, name.mark)
    }

    /// `nil` if a required field is wrong, which is already reported.
    mutating func build(_ api: ConfigurationObject, of kind: APIKind) -> APISpecification? {
        guard let part = kind.builder(&self, api), let name = api["name"]?.string,
            let endpoint = Self.endpoint(of: api)?.path
        else { return nil }
        // A TrafficSplitter has no rules for browsers, and an API with jobs has fixed ones (contract J1).
        let origins = api["networking"]?.object?["cors"]?.object?["allow_origins"]?.list?.compactMap(\.string)
        let fixed = kind == .trafficSplitter ? [] : ["*"]
        return APISpecification(
            name: name, networking: .init(endpoint: endpoint, allowOrigins: origins ?? fixed), kind: part)
    }

    fileprivate mutating func async(_ api: ConfigurationObject) -> KindSpecification? {
        guard let workload = workload(api), let requests = requests(api) else { return nil }
        return .async(AsyncSpecification(workload: workload, requests: requests))
    }

    fileprivate mutating func realtime(_ api: ConfigurationObject) -> KindSpecification? {
        guard let workload = workload(api), let proxy = proxy(api) else { return nil }
        return .realtime(RealtimeSpecification(workload: workload, proxy: proxy))
    }

    private mutating func workload(_ api: ConfigurationObject) -> Workload? {
        let pod = api["pod"]?.object.flatMap { self.pod($0) }
        guard let pod, let autoscaling = api["autoscaling"]?.object.flatMap({ self.autoscaling($0, pod) }),
            let strategy = api["update_strategy"]?.object, let surge = strategy["max_surge"]?.amount,
            let unavailable = strategy["max_unavailable"]?.amount
        else { return nil }
        return Workload(
            pod: pod, autoscaling: autoscaling,
            updateStrategy: UpdateStrategy(maxSurge: surge, maxUnavailable: unavailable))
    }

    private mutating func pod(_ pod: ConfigurationObject) -> PodSpecification? {
        let containers = (pod["containers"]?.list ?? []).enumerated().map { index, value in
            value.object.flatMap { container($0, path: "pod.containers[\(index)]") }
        }
        // A TaskAPI has neither of the two.
        let port = pod["port"]?.integer ?? 8080
        let concurrency = pod["max_concurrency"]?.integer ?? 1
        guard let grace = pod["termination_grace_period"]?.duration,
            let access = pod["operator_access"]?.string.flatMap(OperatorAccess.init),
            containers.allSatisfy({ $0 != nil })
        else { return nil }
        return PodSpecification(
            port: Int(port), maxConcurrency: Int(concurrency), terminationGracePeriod: grace,
            operatorAccess: access, containers: containers.compactMap(\.self))
    }

    private mutating func container(_ container: ConfigurationObject, path: String) -> ContainerSpecification? {
        let volumes = (container["volumes"]?.list ?? []).enumerated().compactMap { index, value in
            volume(value, path: "\(path).volumes[\(index)]")
        }
        guard let name = container["name"]?.string, let compute = container["compute"]?.object,
            let gpu = compute["gpu"]?.integer
        else { return nil }
        return ContainerSpecification(
            name: name, image: container["image"]?.string, env: container["env"]?.map ?? [:],
            command: container["command"]?.list?.compactMap(\.string),
            args: container["args"]?.list?.compactMap(\.string),
            compute: Compute(
                cpu: compute["cpu"]?.quantity, mem: compute["mem"]?.quantity, shm: compute["shm"]?.quantity,
                disk: compute["disk"]?.quantity, gpu: Int(gpu)),
            readinessProbe: container["readiness_probe"]?.object.flatMap(probe),
            livenessProbe: container["liveness_probe"]?.object.flatMap(probe),
            preStop: container["pre_stop"]?.object.flatMap(preStop), volumes: volumes)
    }

    private mutating func volume(_ value: ConfigurationValue, path: String) -> ContainerSpecification.Volume? {
        guard let text = value.string else { return nil }
        if let volume = VolumeSyntax.parse(text, baseDirectory: baseDirectory) { return volume }
        faults.append(
            Fault(
                mark: value.mark, path: path, kind: .notAllowed,
                message:
                    "a relative source needs the folder of the file, which is not known here; write an absolute path"
            ))
        return nil
    }

    private func probe(_ probe: ConfigurationObject) -> Probe? {
        guard let handler = handler(probe), let delay = probe["initial_delay_seconds"]?.integer,
            let timeout = probe["timeout_seconds"]?.integer, let period = probe["period_seconds"]?.integer,
            let success = probe["success_threshold"]?.integer, let failure = probe["failure_threshold"]?.integer
        else { return nil }
        // The original accepted these zeros, and Kubernetes reads them as its defaults.
        return Probe(
            handler: handler, initialDelay: .seconds(delay), timeout: .seconds(timeout == 0 ? 1 : timeout),
            period: .seconds(period), successThreshold: Int(success), failureThreshold: Int(failure == 0 ? 3 : failure))
    }

    private func handler(_ probe: ConfigurationObject) -> Probe.Handler? {
        if let get = probe["http_get"]?.object { return httpGet(get).map { .httpGet($0) } }
        if let port = probe["tcp_socket"]?.object?["port"]?.integer { return .tcpSocket(port: Int(port)) }
        return probe["exec"]?.object?["command"]?.list.map { .exec(command: $0.compactMap(\.string)) }
    }

    private func httpGet(_ get: ConfigurationObject) -> HTTPGet? {
        guard let port = get["port"]?.integer, let path = get["path"]?.string else { return nil }
        return HTTPGet(port: Int(port), path: path.hasPrefix("/") ? path : "/" + path)
    }

    private func preStop(_ action: ConfigurationObject) -> ContainerSpecification.PreStop? {
        if let get = action["http_get"]?.object { return httpGet(get).map { .httpGet($0) } }
        return action["exec"]?.object?["command"]?.list.map { .exec(command: $0.compactMap(\.string)) }
    }

    private func autoscaling(_ policy: ConfigurationObject, _ pod: PodSpecification) -> AutoscalingPolicy? {
        guard let least = policy["min_replicas"]?.integer, let most = policy["max_replicas"]?.integer,
            let window = policy["window"]?.duration,
            let downscalePeriod = policy["downscale_stabilization_period"]?.duration,
            let upscalePeriod = policy["upscale_stabilization_period"]?.duration,
            let downscaleFactor = policy["max_downscale_factor"]?.number,
            let upscaleFactor = policy["max_upscale_factor"]?.number,
            let downscaleTolerance = policy["downscale_tolerance"]?.number,
            let upscaleTolerance = policy["upscale_tolerance"]?.number
        else { return nil }
        return AutoscalingPolicy(
            minReplicas: Int(least), maxReplicas: Int(most),
            initReplicas: policy["init_replicas"]?.integer.map { Int($0) },
            targetInFlight: policy["target_in_flight"]?.number ?? Double(pod.maxConcurrency), window: window,
            downscaleStabilizationPeriod: downscalePeriod, upscaleStabilizationPeriod: upscalePeriod,
            maxDownscaleFactor: downscaleFactor, maxUpscaleFactor: upscaleFactor,
            downscaleTolerance: downscaleTolerance, upscaleTolerance: upscaleTolerance)
    }

    private func requests(_ api: ConfigurationObject) -> RequestPolicy? {
        guard let timeout = api["timeout"]?.duration, let retention = api["retention"]?.duration,
            let keepFailed = api["keep_failed"]?.duration, let maxPayload = api["max_payload"]?.integer,
            let maxResult = api["max_result"]?.integer, let retries = api["retries"]?.object.flatMap(retries)
        else { return nil }
        return RequestPolicy(
            timeout: timeout, retention: retention, keepFailed: keepFailed, maxPayload: maxPayload,
            maxResult: maxResult,
            maxQueueLength: api["max_queue_length"]?.integer.map { Int($0) },
            maxQueueTime: api["max_queue_time"]?.duration, retries: retries)
    }

    // MARK: BatchAPI and TaskAPI

    fileprivate mutating func batch(_ api: ConfigurationObject) -> KindSpecification? {
        let pod = api["pod"]?.object.flatMap { self.pod($0) }
        guard let pod, let jobs = jobs(api), let timeout = api["timeout"]?.duration,
            let retries = api["retries"]?.object.flatMap(retries), let keepFailed = api["keep_failed"]?.duration,
            let maxPayload = api["max_payload"]?.integer
        else { return nil }
        return .batch(
            BatchSpecification(
                pod: pod, jobs: jobs, timeout: timeout, retries: retries, keepFailed: keepFailed,
                maxPayload: maxPayload))
    }

    fileprivate mutating func task(_ api: ConfigurationObject) -> KindSpecification? {
        let pod = api["pod"]?.object.flatMap { self.pod($0) }
        guard let pod, let jobs = jobs(api), let timeout = api["timeout"]?.duration,
            let retries = api["retries"]?.object.flatMap(taskRetries),
            let maxArtifacts = api["max_artifacts"]?.integer
        else { return nil }
        return .task(
            TaskSpecification(pod: pod, jobs: jobs, timeout: timeout, retries: retries, maxArtifacts: maxArtifacts))
    }

    private func jobs(_ api: ConfigurationObject) -> JobPolicy? {
        guard let retention = api["retention"]?.duration, let maxResult = api["max_result"]?.integer,
            let startTimeout = api["start_timeout"]?.duration
        else { return nil }
        return JobPolicy(
            retention: retention, maxResult: maxResult,
            maxConcurrentJobs: api["max_concurrent_jobs"]?.integer.map { Int($0) },
            maxQueuedJobs: api["max_queued_jobs"]?.integer.map { Int($0) }, startTimeout: startTimeout,
            schedules: (api["schedules"]?.list ?? []).compactMap { $0.object.flatMap(schedule) })
    }

    private func taskRetries(_ retries: ConfigurationObject) -> TaskRetryPolicy? {
        guard let attempts = retries["max_attempts"]?.integer, let reasons = retries["on"]?.list,
            let codes = retries["no_retry_exit_codes"]?.list,
            let onLost = retries["on_lost"]?.string.flatMap(TaskRetryPolicy.LossRule.init),
            let backoff = retries["backoff"]?.duration
        else { return nil }
        return TaskRetryPolicy(
            maxAttempts: Int(attempts), on: Set(reasons.compactMap { $0.string.flatMap(TaskRetryPolicy.Reason.init) }),
            noRetryExitCodes: Set(codes.compactMap { $0.integer.map { Int($0) } }), onLost: onLost, backoff: backoff)
    }

    private func schedule(_ schedule: ConfigurationObject) -> ScheduleSpecification? {
        // What is wrong with the times is reported already.
        let timing = try? ScheduleSpecification.timing(
            cron: schedule["cron"]?.string, every: schedule["every"]?.duration,
            timeZone: schedule["time_zone"]?.string)
        guard let timing, let name = schedule["name"]?.string,
            let overlap = schedule["overlap"]?.string.flatMap(ScheduleSpecification.Overlap.init),
            let catchUp = schedule["catch_up"]?.string.flatMap(ScheduleSpecification.CatchUp.init),
            let window = schedule["catch_up_window"]?.duration, let jitter = schedule["jitter"]?.duration,
            let isSuspended = schedule["suspended"]?.boolean
        else { return nil }
        return ScheduleSpecification(
            name: name, timing: timing, overlap: overlap, catchUp: catchUp, catchUpWindow: window, jitter: jitter,
            isSuspended: isSuspended, job: schedule["job"]?.string ?? "{}")
    }

    private func retries(_ retries: ConfigurationObject) -> RetryPolicy? {
        guard let attempts = retries["max_attempts"]?.integer, let reasons = retries["on"]?.list,
            let backoff = retries["backoff"]?.duration
        else { return nil }
        return RetryPolicy(
            maxAttempts: Int(attempts), on: Set(reasons.compactMap { $0.string.flatMap(RetryPolicy.Reason.init) }),
            backoff: backoff)
    }

    private func proxy(_ api: ConfigurationObject) -> ProxyPolicy? {
        guard let queueLength = api["pod"]?.object?["max_queue_length"]?.integer,
            let timeout = api["timeout"]?.duration, let queueTime = api["max_queue_time"]?.duration,
            let retries = api["retries"]?.object.flatMap(retries)
        else { return nil }
        return ProxyPolicy(
            maxQueueLength: Int(queueLength), timeout: timeout, idleTimeout: api["idle_timeout"]?.duration,
            maxQueueTime: queueTime, maxPayload: api["max_payload"]?.integer, retries: retries,
            sticky: api["sticky"]?.object.flatMap(sticky))
    }

    private func sticky(_ sticky: ConfigurationObject) -> Stickiness? {
        if let name = sticky["cookie"]?.string { return .cookie(name) }
        return sticky["header"]?.string.map { .header($0) }
    }

    // MARK: TrafficSplitter

    fileprivate func splitter(_ api: ConfigurationObject) -> KindSpecification? {
        guard let apis = api["apis"]?.list, let allowsOverride = api["allow_override"]?.boolean,
            let hasFallback = api["fallback"]?.boolean
        else { return nil }
        return .trafficSplitter(
            SplitterSpecification(
                targets: apis.compactMap { $0.object.flatMap(target) }, sticky: api["sticky"]?.object.flatMap(sticky),
                matches: (api["match"]?.list ?? []).compactMap { $0.object.flatMap(match) },
                allowsOverride: allowsOverride, hasFallback: hasFallback,
                guarding: api["guard"]?.object.flatMap(guarding)))
    }

    private func target(_ share: ConfigurationObject) -> SplitterSpecification.Target? {
        guard let name = share["name"]?.string, let weight = share["weight"]?.integer,
            let isShadow = share["shadow"]?.boolean
        else { return nil }
        return SplitterSpecification.Target(api: name, weight: Int(weight), isShadow: isShadow)
    }

    private func match(_ match: ConfigurationObject) -> SplitterSpecification.Match? {
        guard let header = match["header"]?.string, let api = match["api"]?.string else { return nil }
        if let value = match["value"]?.string { return .init(header: header, rule: .value(value), api: api) }
        return match["prefix"]?.string.map { .init(header: header, rule: .prefix($0), api: api) }
    }

    private func guarding(_ condition: ConfigurationObject) -> SplitterSpecification.Guard? {
        guard let api = condition["api"]?.string, let window = condition["window"]?.duration,
            let requests = condition["min_requests"]?.integer, let rate = condition["max_error_rate"]?.number,
            let factor = condition["baseline_factor"]?.number
        else { return nil }
        return SplitterSpecification.Guard(
            api: api, window: window, minRequests: Int(requests), maxErrorRate: rate,
            maxP99: condition["max_p99"]?.duration, baselineFactor: factor)
    }
}

extension APIKind {
    /// The kinds that this release serves; the only place that decides it. APIs of other kinds are checked too, and
    /// refused when they are deployed.
    package static let served = Set(APIKind.allCases)

    /// Builds the part of a specification that depends on the kind; `nil` if a value is wrong.
    fileprivate var builder: (inout SpecificationBuilder, ConfigurationObject) -> KindSpecification? {
        switch self {
        case .async: { builder, api in builder.async(api) }
        case .realtime: { builder, api in builder.realtime(api) }
        case .trafficSplitter: { builder, api in builder.splitter(api) }
        case .batch: { builder, api in builder.batch(api) }
        case .task: { builder, api in builder.task(api) }
        }
    }
}
