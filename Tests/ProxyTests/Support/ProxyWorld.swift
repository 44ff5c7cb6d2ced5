import Core
import Gateway
import HTTPServing
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import StoreMemory
import Support
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// A gateway with a proxy whose replicas are containers of the test.
final class ProxyWorld: Sendable {
    let store = MemoryStore()
    let clock: any PlatformClock
    let orchestrator = StubOrchestrator()
    let proxy: Proxy
    let services: ServiceGroup
    private let gateway: Gateway
    private let boundPort = Mutex(0)

    var port: Int { boundPort.withLock { $0 } }

    private init(clock: any PlatformClock, limits: HTTPServerLimits) {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        let makeID = { @Sendable (now: Timestamp) in
            var generator = SystemRandomNumberGenerator()
            return RequestID(now: now, using: &generator)
        }
        let proxy = Proxy(
            store: store, orchestrator: orchestrator, clock: clock, logger: logger, makeSeed: { 1 }, makeID: makeID)
        gateway = Gateway(
            store: store, listeners: [.tcp(host: "127.0.0.1", port: 0)], limits: limits, clock: clock, logger: logger,
            exchanges: { try await proxy.update($0) }, onShutdown: { proxy.beginShutdown() })
        self.clock = clock
        self.proxy = proxy
        // They end in reverse order: the proxy serves until the gateway has ended.
        services = ServiceGroup(configuration: .init(services: [proxy, gateway], logger: logger))
    }

    /// Runs a gateway with these APIs during `body`, and shuts it down afterwards.
    static func with(
        _ apis: [APISpecification], clock: any PlatformClock = SystemClock(),
        limits: HTTPServerLimits = HTTPServerLimits(lingerTime: .milliseconds(200)),
        replicas: [(api: String, connector: any Connector)] = [], _ body: (ProxyWorld) async throws -> Void
    ) async throws {
        let world = ProxyWorld(clock: clock, limits: limits)
        for api in apis { try await world.store.deploy(Self.deployed(api), now: clock.now()) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await world.services.run() }
            do {
                for case .tcp(_, let port) in try await world.gateway.addresses() {
                    world.boundPort.withLock { $0 = port }
                }
                try await world.setReplicas(replicas)
                try await body(world)
            } catch {
                group.cancelAll()
                throw error
            }
            // What is inside is of no interest any more.
            group.cancelAll()
        }
    }

    /// One RealtimeAPI named `api`, whose replicas are these.
    static func with(
        _ connectors: [any Connector], maxConcurrency: Int = 1, policy: ProxyPolicy = .init(),
        clock: any PlatformClock = SystemClock(),
        limits: HTTPServerLimits = HTTPServerLimits(lingerTime: .milliseconds(200)),
        _ body: (ProxyWorld) async throws -> Void
    ) async throws {
        try await with(
            [realtime("api", maxConcurrency: maxConcurrency, policy: policy)], clock: clock, limits: limits,
            replicas: connectors.map { ("api", $0) }, body)
    }

    /// The same with one container.
    static func with(
        container script: @escaping ScriptedContainer.Script, maxConcurrency: Int = 1, policy: ProxyPolicy = .init(),
        clock: any PlatformClock = SystemClock(),
        limits: HTTPServerLimits = HTTPServerLimits(lingerTime: .milliseconds(200)),
        _ body: (ProxyWorld, ScriptedContainer) async throws -> Void
    ) async throws {
        let container = try ScriptedContainer(script)
        defer { container.stop() }
        try await with(
            [LoopbackConnector(port: container.port)], maxConcurrency: maxConcurrency, policy: policy, clock: clock,
            limits: limits
        ) { try await body($0, container) }
    }

    /// The same with the defaults.
    static func with(
        _ script: @escaping ScriptedContainer.Script, _ body: (ProxyWorld, ScriptedContainer) async throws -> Void
    ) async throws {
        try await with(container: script, body)
    }

    static func realtime(
        _ name: String, maxConcurrency: Int = 1, policy: ProxyPolicy = .init(), grace: Duration = .seconds(60)
    ) -> APISpecification {
        APISpecification(
            name: name, networking: .init(endpoint: "/\(name)"),
            kind: .realtime(
                .init(
                    workload: Workload(
                        pod: PodSpecification(
                            maxConcurrency: maxConcurrency, terminationGracePeriod: grace, containers: [])),
                    proxy: policy)))
    }

    static func splitter(_ specification: SplitterSpecification) -> APISpecification {
        APISpecification(
            name: "split", networking: .init(endpoint: "/split"), kind: .trafficSplitter(specification))
    }

    static func deployed(_ specification: APISpecification) -> DeployedAPI {
        let time = Timestamp(seconds: 1)
        return DeployedAPI(
            specification: specification, id: "1", specID: "1", podID: "1", deploymentID: "1", initialDeployment: time,
            lastUpdated: time)
    }

    /// Replaces the ready replicas; returns when the proxy knows them.
    @discardableResult
    func setReplicas(_ replicas: [(api: String, connector: any Connector)]) async throws -> [ReadyReplica] {
        var ready: [ReadyReplica] = []
        for (index, replica) in replicas.enumerated() {
            guard let api = try await store.deployedAPIs().first(where: { $0.name == replica.api }) else { continue }
            ready.append(
                ReadyReplica(
                    id: "\(replica.api)-\(index)", api: api, connector: replica.connector,
                    activity: LocalReplicaActivity()))
        }
        try await setReplicas(ready)
        return ready
    }

    func setReplicas(_ ready: [ReadyReplica]) async throws {
        orchestrator.set(ready)
        for api in try await store.deployedAPIs() {
            let expected = Set(ready.filter { $0.api.name == api.name }.map(\.id))
            try await expectEventually("the proxy knows the replicas") {
                self.proxy.traffic(of: api.name).map { expected.isSubset(of: $0.replicas.keys) } ?? true
            }
        }
    }

    /// Requests waiting, and inside replicas.
    func load(_ api: String = "api") -> [Int] {
        proxy.traffic(of: api).map { [$0.waiting, $0.inside] } ?? []
    }

    func expectLoad(
        _ load: [Int], _ api: String = "api", within time: Duration = .seconds(20)
    ) async throws {
        try await expectEventually(within: time, "waiting and inside are \(self.load(api)), not \(load)") {
            self.load(api) == load
        }
    }

    /// Begins a shutdown; returns when every connection of a caller knows it.
    func beginShutdown() async throws {
        await services.triggerGracefulShutdown()
        try await expectEventually("the listener is closed") {
            do {
                try await RawConnection.open(port: port) { _ in }
                return false
            } catch {
                return true
            }
        }
        // The loop that closed the listener then tells the other connections on their own loops.
        for _ in 0..<2 {
            for loop in MultiThreadedEventLoopGroup.singleton.makeIterator() { try await loop.submit {}.get() }
        }
    }

    /// Sends a request on a connection of its own.
    func send(_ text: String) async throws -> RawResponse {
        try await RawConnection.open(port: port) { caller in
            try await caller.send(text)
            return try await caller.readResponse()
        }
    }

    func get(_ path: String = "/api", _ fields: String = "") async throws -> RawResponse {
        try await send("GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
    }
}

/// An orchestrator whose replicas and statuses are in the test's hands.
final class StubOrchestrator: Orchestrator {
    private struct State {
        var ready: [ReadyReplica] = []
        var statuses: [String: APIStatus] = [:]
        var streams: [AsyncStream<[ReadyReplica]>.Continuation] = []
    }

    private let state = Mutex(State())

    func set(_ ready: [ReadyReplica]) {
        let streams = state.withLock { state in
            state.ready = ready
            return state.streams
        }
        for stream in streams { stream.yield(ready) }
    }

    func set(_ status: APIStatus?, of api: String) { state.withLock { $0.statuses[api] = status } }

    func problems(with specification: APISpecification) async -> [String] { [] }
    func apply(_ api: DeployedAPI, replicas: Int) async {}
    func scale(api: String, replicas: Int) async {}
    func delete(api: String) async {}
    func status(api: String) async -> APIStatus? { state.withLock { $0.statuses[api] } }
    func logs(api: String, options: LogOptions) async throws -> LogStream<ReplicaLogBatch> {
        throw PlatformError(.notFound, "these replicas have no logs")
    }
    func readyReplicas() -> AsyncStream<[ReadyReplica]> {
        let (stream, continuation) = AsyncStream.makeStream(of: [ReadyReplica].self)
        state.withLock { state in
            state.streams.append(continuation)
            continuation.yield(state.ready)
        }
        return stream
    }
}
