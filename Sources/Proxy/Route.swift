import Core
import HTTPServing
import NIOCore
import NIOHTTP1

/// Where a request goes: a RealtimeAPI, by itself or as the target of a TrafficSplitter. One for each exchange, used on
/// its event loop.
final class Route {
    /// A RealtimeAPI as the present target.
    struct Target {
        let endpoint: RealtimeEndpoint
        let policy: EndpointPolicy
        let sticky: StickyKey

        init(_ endpoint: RealtimeEndpoint, _ policy: EndpointPolicy, headers: HTTPHeaders, prefix: String) {
            self.endpoint = endpoint
            self.policy = policy
            self.sticky = StickyKey(policy.proxy.sticky, in: headers, path: prefix)
        }
    }

    /// The part of a TrafficSplitter. An object, because a request reads it several times.
    final class Split {
        let splitter: SplitterState
        /// What makes the request sticky at the splitter.
        let sticky: StickyKey
        /// The target that was chosen.
        let first: String
        /// The targets, in the order in which they take a request that another has refused (contract X6).
        private var ranked: [String]
        private let targets: [String: RealtimeEndpoint]
        private let headers: HTTPHeaders
        private let path: String

        /// - Parameters:
        ///   - ranked: see ``SplitMachine/ranked``.
        ///   - targets: the RealtimeAPIs that are deployed.
        ///   - headers: of the request.
        ///   - path: the splitter's endpoint.
        init(
            splitter: SplitterState, sticky: StickyKey, first: String, ranked: [String],
            targets: [String: RealtimeEndpoint], headers: HTTPHeaders, path: String
        ) {
            self.splitter = splitter
            self.sticky = sticky
            self.first = first
            self.ranked = ranked
            self.targets = targets
            self.headers = headers
            self.path = path
        }

        /// The API that takes the request next; `nil`: there is none.
        func next() -> RealtimeEndpoint? {
            while !ranked.isEmpty {
                let name = ranked.removeFirst()
                if name != first, let endpoint = targets[name] { return endpoint }
            }
            return nil
        }

        /// The target that an API is for this request.
        func target(_ endpoint: RealtimeEndpoint) -> Target {
            Target(endpoint, endpoint.policy, headers: headers, prefix: path)
        }
    }

    let services: ProxyServices
    private(set) var target: Target
    private let split: Split?
    /// The copy for a splitter's shadow.
    private(set) var shadow: ShadowCopy?

    init(_ target: Target, services: ProxyServices, split: Split? = nil, shadow: ShadowCopy? = nil) {
        self.target = target
        self.services = services
        self.split = split
        self.shadow = shadow
    }

    var endpoint: RealtimeEndpoint { target.endpoint }
    var gate: Gate { target.endpoint.gate }
    var policy: EndpointPolicy { target.policy }
    var key: UInt64? { target.sticky.key }

    func use(_ next: Target) { target = next }

    /// The exchange of a request, or one that refuses it.
    func exchange(
        for incoming: IncomingRequest, _ head: HTTPRequestHead, at rest: Substring, prefix: String,
        caller: ExchangeCaller, refusal: ProxyFailure? = nil
    ) -> Exchange {
        let id = services.makeID(services.clock.now()).description
        let additions = RequestHead.Additions(id: id, peer: caller.peer, prefix: prefix)
        let target = RequestHead.target(rest: rest, query: incoming.query)
        var refusal = refusal
        let request: RequestHead
        do {
            request = try RequestHead(head, target: target, adding: additions)
        } catch {
            refusal = refusal ?? error
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
        return Exchange(request, refusal: refusal, id: id, route: self, cors: cors, caller: caller)
    }

    /// The request enters its gate.
    func begin(_ request: RequestHead, on exchange: Exchange) {
        guard let shadow else { return }
        if request.offersUpgrade { shadow.giveUp() } else { shadow.begin(request.forContainer, on: exchange.loop) }
    }

    /// The target that takes a request that the present one cannot take, and that no container has seen (contract X6).
    ///
    /// - Parameter status: the status of the response that the caller would get; it is counted for the present target.
    func nextTarget(failed status: HTTPResponseStatus, arrival: Instant, now: Instant) -> Target? {
        guard let split, let next = split.next() else { return nil }
        split.splitter.record(
            target: endpoint.name, status: Int(status.code), isByPlatform: true, arrival: arrival, now: now)
        return split.target(next)
    }

    /// The fields of a response that depend on the route.
    func responseFields(attempts: Int) -> [(String, String)] {
        var fields: [(String, String)] = []
        if attempts > 1 { fields.append(("X-Cortex-Attempts", String(attempts))) }
        if let cookie = target.sticky.newCookie { fields.append(("Set-Cookie", cookie)) }
        guard let split else { return fields }
        fields.append(("X-Cortex-API", endpoint.name))
        if split.first != endpoint.name { fields.append(("X-Cortex-Fallback", split.first)) }
        if let cookie = split.sticky.newCookie { fields.append(("Set-Cookie", cookie)) }
        return fields
    }

    /// Counts a response, once its head has been sent on.
    func record(status: Int, isByPlatform: Bool, slot: ReplicaSlot?, arrival: Instant, now: Instant) {
        gate.record(status: status, isByPlatform: isByPlatform, slot: slot, arrival: arrival, now: now)
        split?.splitter.record(
            target: endpoint.name, status: status, isByPlatform: isByPlatform, arrival: arrival, now: now)
    }
}

/// What makes a request sticky (contract R22, X4).
struct StickyKey {
    /// The hash of its value; `nil` for a request that is not sticky.
    let key: UInt64?
    /// The value of `Set-Cookie` for a request without the cookie.
    let newCookie: String?

    /// - Parameter path: the endpoint, for which the cookie is valid.
    init(_ sticky: Stickiness?, in headers: HTTPHeaders, path: String) {
        switch sticky {
        case nil:
            (key, newCookie) = (nil, nil)
        case .header(let name):
            let values = headers[name]
            key = values.isEmpty ? nil : StableHash.of(values.joined(separator: ","))
            newCookie = nil
        case .cookie(let name):
            if let value = Self.cookie(name, in: headers) {
                (key, newCookie) = (StableHash.of(value), nil)
            } else {
                var generator = SystemRandomNumberGenerator()
                let value = String(generator.next(), radix: 36)
                key = StableHash.of(value)
                newCookie = "\(name)=\(value); Path=\(path); HttpOnly; SameSite=Lax"
            }
        }
    }

    /// The first cookie of a name. There may be several `Cookie` fields.
    private static func cookie(_ name: String, in headers: HTTPHeaders) -> String? {
        for field in headers["cookie"] {
            for pair in field.split(separator: ";") {
                guard let equals = pair.firstIndex(of: "=") else { continue }
                if String(pair[..<equals]).trimmedOfSpaces == name {
                    return String(pair[pair.index(after: equals)...]).trimmedOfSpaces
                }
            }
        }
        return nil
    }
}
