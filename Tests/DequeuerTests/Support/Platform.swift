import ContainerHTTP
import Core
import Dequeuer
import Logging
import ServiceLifecycle
import StoreMemory
import Support
import Synchronization
import TestSupport

/// A dequeuer that runs between a memory store and one replica of an API called `api`.
final class Platform: Sendable {
    let store: FaultyStore
    let clock: any PlatformClock
    let connector: LoopbackConnector
    let activity: any ReplicaActivity
    let api: DeployedAPI
    let ready: AsyncStream<[ReadyReplica]>.Continuation
    let services: ServiceGroup
    let finished: Task<Void, any Error>
    private let generator = Mutex(SeededGenerator(seed: 1))

    struct Settings: Sendable {
        var maxConcurrency = 1
        var requests = RequestPolicy(retries: RetryPolicy(backoff: .milliseconds(1)))
        var configuration = DequeuerConfiguration(
            pollMin: .milliseconds(20), pollMax: .milliseconds(50), idleConnection: .seconds(60))
        var refusals = 0
        var transport: any ContainerTransport = SocketTransport()
        var clock: any PlatformClock = SystemClock()
        var prepare: @Sendable (FaultyStore) -> Void = { _ in }
    }

    static func api(_ settings: Settings = Settings()) -> DeployedAPI {
        let specification = APISpecification.async(
            name: "api", networking: .init(endpoint: "/api"),
            pod: PodSpecification(port: 8080, maxConcurrency: settings.maxConcurrency, containers: []),
            requests: settings.requests)
        let now = settings.clock.now()
        return DeployedAPI(
            specification: specification, id: "1", specID: "1", podID: "1", deploymentID: "1",
            initialDeployment: now, lastUpdated: now)
    }

    static func with(
        _ settings: Settings = Settings(),
        container handler: @escaping @Sendable (inout ContainerServer.Connection) async throws -> Void,
        _ body: (Platform, ContainerServer) async throws -> Void
    ) async throws {
        try await ContainerServer.with(handler) { server in
            try await with(settings, port: server.port) { try await body($0, server) }
        }
    }

    /// With a container that listens on `port` of this machine.
    static func with(_ settings: Settings, port: Int, _ body: (Platform) async throws -> Void) async throws {
        let store = FaultyStore()
        settings.prepare(store)
        let api = Self.api(settings)
        try await store.deploy(api, now: settings.clock.now())
        let (stream, ready) = AsyncStream.makeStream(of: [ReadyReplica].self)
        let dequeuer = Dequeuer(
            store: store, readyReplicas: { stream }, clock: settings.clock, random: SeededGenerator(seed: 42),
            logger: quiet, configuration: settings.configuration, transport: settings.transport)
        let group = ServiceGroup(services: [dequeuer], logger: quiet)
        let platform = Platform(
            store: store, clock: settings.clock,
            connector: LoopbackConnector(port: port, refusing: settings.refusals),
            activity: LocalReplicaActivity(), api: api, ready: ready, services: group,
            finished: Task { try await group.run() })
        ready.yield([platform.replica])
        do {
            try await body(platform)
            platform.finished.cancel()
            _ = await platform.finished.result
        } catch {
            platform.finished.cancel()
            _ = await platform.finished.result
            throw error
        }
    }

    init(
        store: FaultyStore, clock: any PlatformClock, connector: LoopbackConnector, activity: any ReplicaActivity,
        api: DeployedAPI,
        ready: AsyncStream<[ReadyReplica]>.Continuation, services: ServiceGroup, finished: Task<Void, any Error>
    ) {
        self.store = store
        self.clock = clock
        self.connector = connector
        self.activity = activity
        self.api = api
        self.ready = ready
        self.services = services
        self.finished = finished
    }

    var replica: ReadyReplica { ReadyReplica(id: "api-1", api: api, connector: connector, activity: activity) }

    func submit(_ payload: Body = .inline(Array("{}".utf8)), headers: [HeaderField] = [], query: String? = nil)
        async throws -> RequestID
    {
        let now = clock.now()
        let id = generator.withLock { RequestID(now: now, using: &$0) }
        let result = try await store.submit(
            Submission(id: id, api: "api", payload: payload, headers: headers, query: query), maxQueueLength: nil,
            now: now)
        guard result == .accepted else { throw PlatformError(.internal, "not accepted: \(result)") }
        return id
    }

    func read(_ id: RequestID) async throws -> RequestRecord {
        guard let record = try await store.read(id, api: "api", now: clock.now()) else {
            throw PlatformError(.notFound, "no such request")
        }
        return record
    }

    /// The request once it has ended.
    func end(of id: RequestID) async throws -> RequestRecord {
        _ = try await eventually { try await read(id).status.isEnded }
        return try await read(id)
    }

    func run(_ payload: Body = .inline(Array("{}".utf8)), headers: [HeaderField] = [], query: String? = nil)
        async throws -> RequestRecord
    {
        try await end(of: submit(payload, headers: headers, query: query))
    }

    func result(_ record: RequestRecord) async throws -> [UInt8] {
        guard let body = record.result else { throw PlatformError(.notFound, "no result: \(record)") }
        let reader = try await store.base.reader(of: body)
        var bytes: [UInt8] = []
        while let piece = try await reader.read(upTo: 1 << 20) { bytes += piece }
        return bytes
    }

    func file(_ bytes: [UInt8]) async throws -> Body {
        let writer = try await store.base.makeBodyWriter()
        try await writer.write(bytes)
        return try await writer.finish()
    }
}

private let quiet: Logger = {
    var logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    logger.logLevel = .critical
    return logger
}()

/// What was seen, in order, by any task.
final class Journal<Element: Sendable>: Sendable {
    private let state = Mutex<[Element]>([])
    func append(_ element: Element) { state.withLock { $0.append(element) } }
    var all: [Element] { state.withLock { $0 } }
}

/// Opens once; waiting tasks continue then.
final class Gate: Sendable {
    private let state = Mutex<(isOpen: Bool, waiters: [CheckedContinuation<Void, Never>])>((false, []))

    func open() {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.isOpen = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func wait() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isOpen = state.withLock { state -> Bool in
                if !state.isOpen { state.waiters.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
