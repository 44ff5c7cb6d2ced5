import ContainerHTTP
import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Synchronization

/// What all endpoints of the proxy share.
struct ProxyServices: Sendable {
    let clock: any PlatformClock
    let loops: ProxyLoops
    let transport: any ContainerTransport
    /// The id of a new request.
    let makeID: @Sendable (Timestamp) -> RequestID
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
    private let samples = Mutex<[Int]>([])
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
        let route = Route(Route.Target(endpoint: self, policy: policy, key: nil), services: services)
        return ExchangeStart.make(request, head, rest: rest, prefix: policy.path, policy: policy, route, caller)
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
        gate.update(replicas: ready, now: services.clock.instant())
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
                replica.connections.closeAll()
            } else {
                replica.connections.closeIdle(since: now - Limits.proxyIdleConnection)
            }
        }
    }

    // MARK: Load

    /// How many samples the load is the mean of: those since the autoscaler's last round.
    private static let sampleCount = 10

    /// Once a second.
    func takeSample() {
        let load = gate.load
        samples.withLock { samples in
            samples.append(load.waiting + load.inside)
            if samples.count > Self.sampleCount { samples.removeFirst() }
        }
    }

    var load: APILoad {
        let now = gate.load
        let mean = samples.withLock { samples in
            samples.isEmpty
                ? Double(now.waiting + now.inside) : Double(samples.reduce(0, +)) / Double(samples.count)
        }
        return APILoad(now: now.waiting + now.inside, mean: mean)
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

/// Where a request goes: a RealtimeAPI, by itself or as the target of a TrafficSplitter. One for each exchange, used on
/// its event loop.
final class Route {
    /// A RealtimeAPI as the present target.
    struct Target {
        let endpoint: RealtimeEndpoint
        let policy: EndpointPolicy
        /// The hash of what makes the request sticky.
        let key: UInt64?
    }

    let services: ProxyServices
    private(set) var target: Target

    init(_ target: Target, services: ProxyServices) {
        self.target = target
        self.services = services
    }

    var endpoint: RealtimeEndpoint { target.endpoint }
    var gate: Gate { target.endpoint.gate }
    var policy: EndpointPolicy { target.policy }
    var key: UInt64? { target.key }

    func use(_ next: Target) { target = next }

    /// The target that takes a request that the present one refuses (contract X6).
    func fallback(after refusal: GateRefusal) -> Target? { nil }

    func fallbackUnreachable() -> Target? { nil }

    /// The fields of a response that depend on the route.
    func responseFields(attempts: Int) -> [(String, String)] {
        attempts > 1 ? [("X-Cortex-Attempts", String(attempts))] : []
    }

    func exchangeEnded() {}
}

/// Makes the exchange of a request, or one that refuses it.
enum ExchangeStart {
    static func make(
        _ incoming: IncomingRequest, _ head: HTTPRequestHead, rest: Substring, prefix: String,
        policy: EndpointPolicy, _ route: Route, _ caller: ExchangeCaller
    ) -> Exchange {
        let services = route.services
        let id = services.makeID(services.clock.now()).description
        let additions = RequestHead.Additions(id: id, peer: caller.peer, prefix: prefix)
        let target = RequestHead.target(rest: rest, query: incoming.query)
        var refusal: ProxyFailure?
        let request: RequestHead
        do {
            request = try RequestHead(head, target: target, adding: additions)
        } catch {
            refusal = error
            request = RequestHead(refused: head)
        }
        if refusal == nil, case .length(let length) = request.framing, let limit = policy.proxy.maxPayload,
            length > limit
        {
            refusal = .payloadTooLarge(limit: limit)
        }
        var cors: HTTPHeaders?
        if let rules = policy.cors {
            cors = rules.headers(for: incoming)
            if rules.forbids(incoming) { refusal = refusal ?? .foreignOrigin }
            if CORS.isPreflight(incoming) {
                // Not one of the container's responses: the platform answers it (contract R4).
                refusal = .preflight(rules.preflight(incoming))
                cors = [:]
            }
        }
        return Exchange(request, refusal: refusal, id: id, route: route, cors: cors, caller: caller)
    }
}
