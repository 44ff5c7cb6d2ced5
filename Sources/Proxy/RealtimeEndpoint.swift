import ContainerHTTP
import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Synchronization

/// What all endpoints of the proxy share. An object, because every request takes a reference to it.
final class ProxyServices: Sendable {
    let clock: any PlatformClock
    let loops: ProxyLoops
    let transport: any ContainerTransport
    /// The id of a new request.
    let makeID: @Sendable (Timestamp) -> RequestID

    init(
        clock: any PlatformClock, loops: ProxyLoops, transport: any ContainerTransport,
        makeID: @escaping @Sendable (Timestamp) -> RequestID
    ) {
        self.clock = clock
        self.loops = loops
        self.transport = transport
        self.makeID = makeID
    }
}

/// What an exchange needs of a version of a RealtimeAPI. Replaced when another version is deployed.
final class EndpointPolicy: Sendable {
    let path: String
    let port: Int
    let maxConcurrency: Int
    let terminationGracePeriod: Duration
    let proxy: ProxyPolicy
    /// `nil`: containers answer browsers themselves.
    let cors: CORS?

    init(_ networking: APISpecification.Networking, _ specification: RealtimeSpecification) {
        path = networking.endpoint
        port = specification.workload.pod.port
        maxConcurrency = specification.workload.pod.maxConcurrency
        terminationGracePeriod = specification.workload.pod.terminationGracePeriod
        proxy = specification.proxy
        cors = networking.allowOrigins.isEmpty ? nil : CORS(networking.allowOrigins)
    }
}

extension CORS {
    fileprivate init(_ origins: [String]) {
        self.init(
            allowedOrigins: origins, methods: [.GET, .HEAD, .POST, .PUT, .PATCH, .DELETE])
    }
}

/// One RealtimeAPI: its gate, its rules, and the figures of its traffic. It exists as long as the API is deployed, over
/// all its versions.
final class RealtimeEndpoint: ExchangeHandler {
    let name: String
    let gate: Gate
    let services: ProxyServices
    private let current: Mutex<EndpointPolicy>
    private let replicas = Mutex<[ReadyReplica]>([])
    private let samples = Mutex(LoadRing())
    private let retries = Atomic<Int>(0)

    init(
        _ api: DeployedAPI, _ specification: RealtimeSpecification, services: ProxyServices,
        onArrival: @escaping @Sendable () -> Void
    ) {
        let policy = EndpointPolicy(api.specification.networking, specification)
        name = api.name
        self.services = services
        current = Mutex(policy)
        gate = Gate(
            api: api.name, maxConcurrency: policy.maxConcurrency, maxQueueLength: policy.proxy.maxQueueLength,
            onArrival: onArrival)
    }

    /// The rules of the present version.
    var policy: EndpointPolicy { current.withLock { $0 } }

    func update(_ api: DeployedAPI, _ specification: RealtimeSpecification) {
        let policy = EndpointPolicy(api.specification.networking, specification)
        current.withLock { $0 = policy }
        gate.update(
            maxConcurrency: policy.maxConcurrency, maxQueueLength: policy.proxy.maxQueueLength,
            now: services.clock.instant())
    }

    func exchange(
        for request: IncomingRequest, _ head: HTTPRequestHead, at rest: Substring, caller: ExchangeCaller
    ) -> any ServerExchange {
        let policy = policy
        let route = Route(
            Route.Target(self, policy, headers: head.headers, prefix: policy.path), services: services)
        return route.exchange(for: request, head, at: rest, prefix: policy.path, caller: caller)
    }

    // MARK: Replicas

    /// Whether a replica is ready.
    var hasReplica: Bool { replicas.withLock { !$0.isEmpty } }

    /// The ready replicas, whenever that changes.
    func update(replicas ready: [ReadyReplica]) {
        let new = replicas.withLock { known -> [ReadyReplica] in
            let before = Set(known.map(\.id))
            known = ready
            return ready.filter { !before.contains($0.id) }
        }
        let before = gate.loadAndReplicas.replicas.map(\.replica)
        gate.update(replicas: ready, now: services.clock.instant())
        // One that becomes ready again may be counted as a new one: connections from before would be too many for it
        // (contract R10).
        for replica in before {
            replica.connections.setKept(ready.contains { $0.activity === replica.ready.activity })
        }
        for replica in new {
            let activity = replica.activity
            activity.onCut { [weak self, weak activity] in
                guard let self, let activity else { return }
                self.services.loops.forEachExchange { if $0.isInside(activity) { $0.cut() } }
            }
        }
    }

    /// Ends all requests inside replicas.
    func cutAll() {
        services.loops.forEachExchange { if $0.isOf(self) { $0.cut() } }
    }

    func closeIdleConnections(now: Instant) {
        for (replica, _) in gate.loadAndReplicas.replicas {
            if replica.ready.activity.isClosed {
                replica.connections.setKept(false)
            } else {
                replica.connections.closeIdle(since: now - Limits.proxyIdleConnection)
            }
        }
    }

    // MARK: Load

    /// Once a second.
    func takeSample(now: Instant) {
        let load = gate.load
        samples.withLock { $0.add(load.waiting + load.inside, at: now) }
    }

    /// Requests waiting and inside.
    func load(now: Instant) -> APILoad {
        let load = gate.load
        let count = load.waiting + load.inside
        return APILoad(now: count, mean: samples.withLock { $0.mean(at: now) } ?? Double(count))
    }

    // MARK: Retries

    /// Whether one more request may be retried: at most a fifth of those inside the API, and at least 3 (contract R15).
    func beginRetry() -> Bool {
        let limit = max(3, gate.load.inside / 5)
        guard retries.add(1, ordering: .relaxed).newValue > limit else { return true }
        retries.subtract(1, ordering: .relaxed)
        return false
    }

    func endRetry() { retries.subtract(1, ordering: .relaxed) }
}
