package import Core

/// A deployed version as a store keeps it: the bytes of this record outlive the program that wrote them (architecture
/// decision 13).
///
/// Its keys and their meaning are fixed and do not follow the types that the program works with. Within a format, new
/// fields may be added; they have a default, and a field that is not known is passed over. A change of meaning is a new
/// format. What releases before formats wrote has no format and is format 1. A field that is added to a type here must
/// be added to its record too: `RecordTests` counts the fields.
package struct DeployedAPIRecord: Codable, Sendable {
    package static let format = 1

    package var api: DeployedAPI

    package init(_ api: DeployedAPI) {
        self.api = api
    }

    private enum Key: String, CodingKey {
        case format, specification, id, specID, podID, deploymentID, initialDeployment, lastUpdated, submitted, fileName
    }

    /// - Throws: ``NewerFormat`` for a record of a newer release.
    package init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        try NewerFormat.check(record.decodeIfPresent(Int.self, forKey: .format), latest: Self.format)
        let lastUpdated = try record.decode(Timestamp.self, forKey: .lastUpdated)
        api = DeployedAPI(
            specification: try record.decode(SpecificationRecord.self, forKey: .specification).value,
            id: try record.decode(String.self, forKey: .id), specID: try record.decode(String.self, forKey: .specID),
            podID: try record.decode(String.self, forKey: .podID),
            deploymentID: try record.decode(String.self, forKey: .deploymentID),
            initialDeployment: try record.value(.initialDeployment, or: lastUpdated), lastUpdated: lastUpdated,
            submitted: try record.value(.submitted, or: "{}"), fileName: try record.value(.fileName, or: "cortex.yaml"))
    }

    package func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(Self.format, forKey: .format)
        try record.encode(SpecificationRecord(value: api.specification), forKey: .specification)
        try record.encode(api.id, forKey: .id)
        try record.encode(api.specID, forKey: .specID)
        try record.encode(api.podID, forKey: .podID)
        try record.encode(api.deploymentID, forKey: .deploymentID)
        try record.encode(api.initialDeployment, forKey: .initialDeployment)
        try record.encode(api.lastUpdated, forKey: .lastUpdated)
        try record.encode(api.submitted, forKey: .submitted)
        try record.encode(api.fileName, forKey: .fileName)
    }
}

/// A durable record was written by a newer release, in a way that this one does not know. Nothing may be changed or
/// removed because of it.
package enum NewerFormat: Error, Sendable, Hashable, CustomStringConvertible {
    case format(Int, latest: Int)
    /// An API of a kind that this release does not know.
    case kind(String)

    package var description: String {
        switch self {
        case .format(let found, let latest):
            "format \(found) is newer than \(latest), the newest that this release reads"
        case .kind(let kind): "APIs of kind \(kind) are not known to this release"
        }
    }

    /// - Parameter found: the format that a record states; `nil` for one that was written before formats were.
    package static func check(_ found: Int?, latest: Int) throws(NewerFormat) {
        if let found, found > latest { throw .format(found, latest: latest) }
    }
}

extension KeyedDecodingContainer {
    /// The value of a field, or its default where the field is missing.
    func value<Value: Decodable>(_ key: Key, or fallback: @autoclosure () -> Value) throws -> Value {
        try decodeIfPresent(Value.self, forKey: key) ?? fallback()
    }
}

// MARK: Parts

/// The record has a field for each part of any kind, and `kind` says which of them are present.
private struct SpecificationRecord: Codable {
    var value: APISpecification

    private enum Key: String, CodingKey {
        case name, kind, networking, pod, autoscaling, updateStrategy, requests, proxy, splitter, jobs, batch, task
    }
    private enum NetworkingKey: String, CodingKey { case endpoint, allowOrigins }

    init(value: APISpecification) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let networking = try record.nestedContainer(keyedBy: NetworkingKey.self, forKey: .networking)
        let kindName = try record.value(.kind, or: APIKind.async.rawValue)
        guard let name = APIKind(rawValue: kindName) else { throw NewerFormat.kind(kindName) }
        let kind: KindSpecification
        switch name {
        case .async:
            kind = .async(
                AsyncSpecification(
                    workload: try Self.workload(of: record),
                    requests: try record.value(.requests, or: RequestsRecord(value: .init())).value))
        case .realtime:
            kind = .realtime(
                RealtimeSpecification(
                    workload: try Self.workload(of: record),
                    proxy: try record.value(.proxy, or: ProxyRecord(value: .init())).value))
        case .trafficSplitter:
            kind = .trafficSplitter(try record.decode(SplitterRecord.self, forKey: .splitter).value)
        case .batch:
            kind = .batch(
                try record.decode(BatchRecord.self, forKey: .batch).value(
                    pod: try record.decode(PodRecord.self, forKey: .pod).value,
                    jobs: try record.value(.jobs, or: JobsRecord(value: .init())).value))
        case .task:
            kind = .task(
                try record.decode(TaskRecord.self, forKey: .task).value(
                    pod: try record.decode(PodRecord.self, forKey: .pod).value,
                    jobs: try record.value(.jobs, or: JobsRecord(value: .init())).value))
        }
        value = APISpecification(
            name: try record.decode(String.self, forKey: .name),
            networking: .init(
                endpoint: try networking.decode(String.self, forKey: .endpoint),
                allowOrigins: try networking.value(.allowOrigins, or: ["*"])),
            kind: kind)
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.name, forKey: .name)
        try record.encode(value.kind.name, forKey: .kind)
        var networking = record.nestedContainer(keyedBy: NetworkingKey.self, forKey: .networking)
        try networking.encode(value.networking.endpoint, forKey: .endpoint)
        try networking.encode(value.networking.allowOrigins, forKey: .allowOrigins)
        switch value.kind {
        case .async(let api):
            try Self.encode(api.workload, to: &record)
            try record.encode(RequestsRecord(value: api.requests), forKey: .requests)
        case .realtime(let api):
            try Self.encode(api.workload, to: &record)
            try record.encode(ProxyRecord(value: api.proxy), forKey: .proxy)
        case .batch(let api):
            try record.encode(PodRecord(value: api.pod), forKey: .pod)
            try record.encode(JobsRecord(value: api.jobs), forKey: .jobs)
            try record.encode(BatchRecord(api), forKey: .batch)
        case .task(let api):
            try record.encode(PodRecord(value: api.pod), forKey: .pod)
            try record.encode(JobsRecord(value: api.jobs), forKey: .jobs)
            try record.encode(TaskRecord(api), forKey: .task)
        case .trafficSplitter(let splitter):
            try record.encode(SplitterRecord(value: splitter), forKey: .splitter)
        }
    }

    private static func workload(of record: KeyedDecodingContainer<Key>) throws -> Workload {
        Workload(
            pod: try record.decode(PodRecord.self, forKey: .pod).value,
            autoscaling: try record.value(.autoscaling, or: AutoscalingRecord(value: .init())).value,
            updateStrategy: try record.value(.updateStrategy, or: StrategyRecord(value: .init())).value)
    }

    private static func encode(_ workload: Workload, to record: inout KeyedEncodingContainer<Key>) throws {
        try record.encode(PodRecord(value: workload.pod), forKey: .pod)
        try record.encode(AutoscalingRecord(value: workload.autoscaling), forKey: .autoscaling)
        try record.encode(StrategyRecord(value: workload.updateStrategy), forKey: .updateStrategy)
    }
}

private struct PodRecord: Codable {
    var value: PodSpecification

    private enum Key: String, CodingKey {
        case port, maxConcurrency, terminationGracePeriod, operatorAccess, containers
    }

    init(value: PodSpecification) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        value = PodSpecification(
            port: try record.value(.port, or: 8080), maxConcurrency: try record.value(.maxConcurrency, or: 1),
            terminationGracePeriod: try record.value(.terminationGracePeriod, or: .seconds(60)),
            operatorAccess: try record.value(.operatorAccess, or: .read),
            containers: try record.decode([ContainerRecord].self, forKey: .containers).map(\.value))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.port, forKey: .port)
        try record.encode(value.maxConcurrency, forKey: .maxConcurrency)
        try record.encode(value.terminationGracePeriod, forKey: .terminationGracePeriod)
        try record.encode(value.operatorAccess, forKey: .operatorAccess)
        try record.encode(value.containers.map(ContainerRecord.init(value:)), forKey: .containers)
    }
}

private struct ContainerRecord: Codable {
    var value: ContainerSpecification

    private enum Key: String, CodingKey {
        case name, image, env, command, args, compute, readinessProbe, livenessProbe, preStop, volumes
    }

    init(value: ContainerSpecification) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        value = ContainerSpecification(
            name: try record.decode(String.self, forKey: .name),
            image: try record.decodeIfPresent(String.self, forKey: .image), env: try record.value(.env, or: [:]),
            command: try record.decodeIfPresent([String].self, forKey: .command),
            args: try record.decodeIfPresent([String].self, forKey: .args),
            compute: try record.value(.compute, or: ComputeRecord(value: .init())).value,
            readinessProbe: try record.decodeIfPresent(ProbeRecord.self, forKey: .readinessProbe)?.value,
            livenessProbe: try record.decodeIfPresent(ProbeRecord.self, forKey: .livenessProbe)?.value,
            preStop: try record.decodeIfPresent(PreStopRecord.self, forKey: .preStop)?.value,
            volumes: try record.value(.volumes, or: [VolumeRecord]()).map(\.value))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.name, forKey: .name)
        try record.encodeIfPresent(value.image, forKey: .image)
        try record.encode(value.env, forKey: .env)
        try record.encodeIfPresent(value.command, forKey: .command)
        try record.encodeIfPresent(value.args, forKey: .args)
        try record.encode(ComputeRecord(value: value.compute), forKey: .compute)
        try record.encodeIfPresent(value.readinessProbe.map(ProbeRecord.init(value:)), forKey: .readinessProbe)
        try record.encodeIfPresent(value.livenessProbe.map(ProbeRecord.init(value:)), forKey: .livenessProbe)
        try record.encodeIfPresent(value.preStop.map(PreStopRecord.init(value:)), forKey: .preStop)
        try record.encode(value.volumes.map(VolumeRecord.init(value:)), forKey: .volumes)
    }
}

/// A quantity that is missing is none; the default of `cpu` was filled in before.
struct ComputeRecord: Codable {
    var value: Compute

    private enum Key: String, CodingKey { case cpu, mem, shm, disk, gpu }

    init(value: Compute) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        value = Compute(
            cpu: try record.decodeIfPresent(Quantity.self, forKey: .cpu),
            mem: try record.decodeIfPresent(Quantity.self, forKey: .mem),
            shm: try record.decodeIfPresent(Quantity.self, forKey: .shm),
            disk: try record.decodeIfPresent(Quantity.self, forKey: .disk), gpu: try record.value(.gpu, or: 0))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encodeIfPresent(value.cpu, forKey: .cpu)
        try record.encodeIfPresent(value.mem, forKey: .mem)
        try record.encodeIfPresent(value.shm, forKey: .shm)
        try record.encodeIfPresent(value.disk, forKey: .disk)
        try record.encode(value.gpu, forKey: .gpu)
    }
}

struct VolumeRecord: Codable {
    var value: ContainerSpecification.Volume

    private enum Key: String, CodingKey { case source, target, readOnly }

    init(value: ContainerSpecification.Volume) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        value = ContainerSpecification.Volume(
            source: try record.decode(String.self, forKey: .source),
            target: try record.decode(String.self, forKey: .target), readOnly: try record.value(.readOnly, or: false))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.source, forKey: .source)
        try record.encode(value.target, forKey: .target)
        try record.encode(value.readOnly, forKey: .readOnly)
    }
}

/// A value in an object of its own: `{"_0": …}`.
private struct Boxed<Value: Codable>: Codable {
    var value: Value

    private enum Key: String, CodingKey { case value = "_0" }

    init(_ value: Value) { self.value = value }

    init(from decoder: any Decoder) throws {
        value = try decoder.container(keyedBy: Key.self).decode(Value.self, forKey: .value)
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value, forKey: .value)
    }
}

private struct HTTPGetRecord: Codable {
    var port: Int
    var path: String?

    init(_ get: HTTPGet) { (port, path) = (get.port, get.path) }

    var value: HTTPGet { HTTPGet(port: port, path: path ?? "/") }
}

private struct PortRecord: Codable {
    var port: Int
}

private struct CommandRecord: Codable {
    var command: [String]
}

private struct PreStopRecord: Codable {
    var value: ContainerSpecification.PreStop

    private enum Key: String, CodingKey { case httpGet, exec }

    init(value: ContainerSpecification.PreStop) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        if let get = try record.decodeIfPresent(Boxed<HTTPGetRecord>.self, forKey: .httpGet) {
            value = .httpGet(get.value.value)
        } else {
            value = .exec(command: try record.decode(CommandRecord.self, forKey: .exec).command)
        }
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        switch value {
        case .httpGet(let get): try record.encode(Boxed(HTTPGetRecord(get)), forKey: .httpGet)
        case .exec(let command): try record.encode(CommandRecord(command: command), forKey: .exec)
        }
    }
}

private struct ProbeRecord: Codable {
    var value: Probe

    private enum Key: String, CodingKey {
        case handler, initialDelay, timeout, period, successThreshold, failureThreshold
    }
    private enum HandlerKey: String, CodingKey { case httpGet, tcpSocket, exec }

    init(value: Probe) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let handler = try record.nestedContainer(keyedBy: HandlerKey.self, forKey: .handler)
        let found: Probe.Handler
        if let get = try handler.decodeIfPresent(Boxed<HTTPGetRecord>.self, forKey: .httpGet) {
            found = .httpGet(get.value.value)
        } else if let exec = try handler.decodeIfPresent(CommandRecord.self, forKey: .exec) {
            found = .exec(command: exec.command)
        } else {
            found = .tcpSocket(port: try handler.decode(PortRecord.self, forKey: .tcpSocket).port)
        }
        value = Probe(
            handler: found, initialDelay: try record.value(.initialDelay, or: .zero),
            timeout: try record.value(.timeout, or: .seconds(1)), period: try record.value(.period, or: .seconds(10)),
            successThreshold: try record.value(.successThreshold, or: 1),
            failureThreshold: try record.value(.failureThreshold, or: 3))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        var handler = record.nestedContainer(keyedBy: HandlerKey.self, forKey: .handler)
        switch value.handler {
        case .httpGet(let get): try handler.encode(Boxed(HTTPGetRecord(get)), forKey: .httpGet)
        case .tcpSocket(let port): try handler.encode(PortRecord(port: port), forKey: .tcpSocket)
        case .exec(let command): try handler.encode(CommandRecord(command: command), forKey: .exec)
        }
        try record.encode(value.initialDelay, forKey: .initialDelay)
        try record.encode(value.timeout, forKey: .timeout)
        try record.encode(value.period, forKey: .period)
        try record.encode(value.successThreshold, forKey: .successThreshold)
        try record.encode(value.failureThreshold, forKey: .failureThreshold)
    }
}

private struct AutoscalingRecord: Codable {
    var value: AutoscalingPolicy

    private enum Key: String, CodingKey {
        case minReplicas, maxReplicas, initReplicas, targetInFlight, window, downscaleStabilizationPeriod,
            upscaleStabilizationPeriod, maxDownscaleFactor, maxUpscaleFactor, downscaleTolerance, upscaleTolerance
    }

    init(value: AutoscalingPolicy) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let standard = AutoscalingPolicy()
        value = AutoscalingPolicy(
            minReplicas: try record.value(.minReplicas, or: standard.minReplicas),
            maxReplicas: try record.value(.maxReplicas, or: standard.maxReplicas),
            initReplicas: try record.decodeIfPresent(Int.self, forKey: .initReplicas),
            targetInFlight: try record.value(.targetInFlight, or: standard.targetInFlight),
            window: try record.value(.window, or: standard.window),
            downscaleStabilizationPeriod: try record.value(
                .downscaleStabilizationPeriod, or: standard.downscaleStabilizationPeriod),
            upscaleStabilizationPeriod: try record.value(
                .upscaleStabilizationPeriod, or: standard.upscaleStabilizationPeriod),
            maxDownscaleFactor: try record.value(.maxDownscaleFactor, or: standard.maxDownscaleFactor),
            maxUpscaleFactor: try record.value(.maxUpscaleFactor, or: standard.maxUpscaleFactor),
            downscaleTolerance: try record.value(.downscaleTolerance, or: standard.downscaleTolerance),
            upscaleTolerance: try record.value(.upscaleTolerance, or: standard.upscaleTolerance))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.minReplicas, forKey: .minReplicas)
        try record.encode(value.maxReplicas, forKey: .maxReplicas)
        try record.encode(value.initReplicas, forKey: .initReplicas)
        try record.encode(value.targetInFlight, forKey: .targetInFlight)
        try record.encode(value.window, forKey: .window)
        try record.encode(value.downscaleStabilizationPeriod, forKey: .downscaleStabilizationPeriod)
        try record.encode(value.upscaleStabilizationPeriod, forKey: .upscaleStabilizationPeriod)
        try record.encode(value.maxDownscaleFactor, forKey: .maxDownscaleFactor)
        try record.encode(value.maxUpscaleFactor, forKey: .maxUpscaleFactor)
        try record.encode(value.downscaleTolerance, forKey: .downscaleTolerance)
        try record.encode(value.upscaleTolerance, forKey: .upscaleTolerance)
    }
}

private struct StrategyRecord: Codable {
    var value: UpdateStrategy

    private enum Key: String, CodingKey { case maxSurge, maxUnavailable }

    init(value: UpdateStrategy) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let standard = UpdateStrategy()
        value = UpdateStrategy(
            maxSurge: try record.value(.maxSurge, or: AmountRecord(value: standard.maxSurge)).value,
            maxUnavailable: try record.value(.maxUnavailable, or: AmountRecord(value: standard.maxUnavailable)).value)
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(AmountRecord(value: value.maxSurge), forKey: .maxSurge)
        try record.encode(AmountRecord(value: value.maxUnavailable), forKey: .maxUnavailable)
    }

    struct AmountRecord: Codable {
        var value: UpdateStrategy.Amount

        private enum Key: String, CodingKey { case count, percent }

        init(value: UpdateStrategy.Amount) { self.value = value }

        init(from decoder: any Decoder) throws {
            let record = try decoder.container(keyedBy: Key.self)
            if let count = try record.decodeIfPresent(Boxed<Int>.self, forKey: .count) {
                value = .count(count.value)
            } else {
                value = .percent(try record.decode(Boxed<Int>.self, forKey: .percent).value)
            }
        }

        func encode(to encoder: any Encoder) throws {
            var record = encoder.container(keyedBy: Key.self)
            switch value {
            case .count(let count): try record.encode(Boxed(count), forKey: .count)
            case .percent(let percent): try record.encode(Boxed(percent), forKey: .percent)
            }
        }
    }
}

private struct RequestsRecord: Codable {
    var value: RequestPolicy

    private enum Key: String, CodingKey {
        case timeout, retention, keepFailed, maxPayload, maxResult, maxQueueLength, maxQueueTime, retries
    }

    init(value: RequestPolicy) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let standard = RequestPolicy()
        value = RequestPolicy(
            timeout: try record.value(.timeout, or: standard.timeout),
            retention: try record.value(.retention, or: standard.retention),
            keepFailed: try record.value(.keepFailed, or: standard.keepFailed),
            maxPayload: try record.value(.maxPayload, or: standard.maxPayload),
            maxResult: try record.value(.maxResult, or: standard.maxResult),
            maxQueueLength: try record.decodeIfPresent(Int.self, forKey: .maxQueueLength),
            maxQueueTime: try record.decodeIfPresent(Duration.self, forKey: .maxQueueTime),
            retries: try record.decodeIfPresent(RetriesRecord.self, forKey: .retries)?.value(standard.retries)
                ?? standard.retries)
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.timeout, forKey: .timeout)
        try record.encode(value.retention, forKey: .retention)
        try record.encode(value.keepFailed, forKey: .keepFailed)
        try record.encode(value.maxPayload, forKey: .maxPayload)
        try record.encode(value.maxResult, forKey: .maxResult)
        try record.encodeIfPresent(value.maxQueueLength, forKey: .maxQueueLength)
        try record.encodeIfPresent(value.maxQueueTime, forKey: .maxQueueTime)
        try record.encode(RetriesRecord(value.retries), forKey: .retries)
    }
}

struct RetriesRecord: Codable {
    var maxAttempts: Int?
    var on: [RetryPolicy.Reason]?
    var backoff: Duration?

    init(_ retries: RetryPolicy) {
        maxAttempts = retries.maxAttempts
        // In order: a set's own order changes from run to run.
        on = retries.on.sorted { $0.rawValue < $1.rawValue }
        backoff = retries.backoff
    }

    func value(_ standard: RetryPolicy) -> RetryPolicy {
        RetryPolicy(
            maxAttempts: maxAttempts ?? standard.maxAttempts, on: on.map(Set.init) ?? standard.on,
            backoff: backoff ?? standard.backoff)
    }
}

/// `{"cookie": NAME}` or `{"header": NAME}`.
private struct StickinessRecord: Codable {
    var cookie: String?
    var header: String?

    init(_ value: Stickiness) {
        switch value {
        case .cookie(let name): cookie = name
        case .header(let name): header = name
        }
    }

    var value: Stickiness? { cookie.map(Stickiness.cookie) ?? header.map(Stickiness.header) }
}

private struct ProxyRecord: Codable {
    var value: ProxyPolicy

    private enum Key: String, CodingKey {
        case maxQueueLength, timeout, idleTimeout, maxQueueTime, maxPayload, retries, sticky
    }

    init(value: ProxyPolicy) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let standard = ProxyPolicy()
        value = ProxyPolicy(
            maxQueueLength: try record.value(.maxQueueLength, or: standard.maxQueueLength),
            timeout: try record.value(.timeout, or: standard.timeout),
            idleTimeout: try record.decodeIfPresent(Duration.self, forKey: .idleTimeout),
            maxQueueTime: try record.value(.maxQueueTime, or: standard.maxQueueTime),
            maxPayload: try record.decodeIfPresent(Int64.self, forKey: .maxPayload),
            retries: try record.decodeIfPresent(RetriesRecord.self, forKey: .retries)?.value(standard.retries)
                ?? standard.retries,
            sticky: try record.decodeIfPresent(StickinessRecord.self, forKey: .sticky)?.value)
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(value.maxQueueLength, forKey: .maxQueueLength)
        try record.encode(value.timeout, forKey: .timeout)
        try record.encodeIfPresent(value.idleTimeout, forKey: .idleTimeout)
        try record.encode(value.maxQueueTime, forKey: .maxQueueTime)
        try record.encodeIfPresent(value.maxPayload, forKey: .maxPayload)
        try record.encode(RetriesRecord(value.retries), forKey: .retries)
        try record.encodeIfPresent(value.sticky.map(StickinessRecord.init), forKey: .sticky)
    }
}

private struct SplitterRecord: Codable {
    var value: SplitterSpecification

    private enum Key: String, CodingKey { case targets, sticky, matches, allowsOverride, hasFallback, guarding }

    private struct TargetRecord: Codable {
        var api: String
        var weight: Int
        var isShadow: Bool?
    }

    private struct MatchRecord: Codable {
        var header: String
        var value: String?
        var prefix: String?
        var api: String
    }

    private struct GuardRecord: Codable {
        var api: String
        var window: Duration
        var minRequests: Int
        var maxErrorRate: Double
        var maxP99: Duration?
        var baselineFactor: Double
    }

    init(value: SplitterSpecification) { self.value = value }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        value = SplitterSpecification(
            targets: try record.decode([TargetRecord].self, forKey: .targets).map {
                .init(api: $0.api, weight: $0.weight, isShadow: $0.isShadow ?? false)
            },
            sticky: try record.decodeIfPresent(StickinessRecord.self, forKey: .sticky)?.value,
            matches: try record.value(.matches, or: [MatchRecord]()).map {
                .init(
                    header: $0.header, rule: $0.value.map { .value($0) } ?? .prefix($0.prefix ?? ""), api: $0.api)
            },
            allowsOverride: try record.value(.allowsOverride, or: false),
            hasFallback: try record.value(.hasFallback, or: true),
            guarding: try record.decodeIfPresent(GuardRecord.self, forKey: .guarding).map {
                .init(
                    api: $0.api, window: $0.window, minRequests: $0.minRequests, maxErrorRate: $0.maxErrorRate,
                    maxP99: $0.maxP99, baselineFactor: $0.baselineFactor)
            })
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(
            value.targets.map { TargetRecord(api: $0.api, weight: $0.weight, isShadow: $0.isShadow) }, forKey: .targets)
        try record.encodeIfPresent(value.sticky.map(StickinessRecord.init), forKey: .sticky)
        try record.encode(
            value.matches.map { match in
                switch match.rule {
                case .value(let text): MatchRecord(header: match.header, value: text, api: match.api)
                case .prefix(let text): MatchRecord(header: match.header, prefix: text, api: match.api)
                }
            }, forKey: .matches)
        try record.encode(value.allowsOverride, forKey: .allowsOverride)
        try record.encode(value.hasFallback, forKey: .hasFallback)
        try record.encodeIfPresent(
            value.guarding.map {
                GuardRecord(
                    api: $0.api, window: $0.window, minRequests: $0.minRequests, maxErrorRate: $0.maxErrorRate,
                    maxP99: $0.maxP99, baselineFactor: $0.baselineFactor)
            }, forKey: .guarding)
    }
}
