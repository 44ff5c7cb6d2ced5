import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Synchronization

/// One TrafficSplitter: chooses a RealtimeAPI for each request (contract X).
final class SplitterEndpoint: ExchangeHandler {
    private struct State {
        var path: String
        var specification: SplitterSpecification
        var targets: [String: RealtimeEndpoint]
    }

    let splitter: SplitterState
    private let services: ProxyServices
    private let state: Mutex<State>

    /// - Parameter targets: the RealtimeAPIs that are deployed.
    init(
        _ api: DeployedAPI, _ specification: SplitterSpecification, splitter: SplitterState,
        targets: [String: RealtimeEndpoint], services: ProxyServices
    ) {
        self.splitter = splitter
        self.services = services
        state = Mutex(
            State(path: api.specification.networking.endpoint, specification: specification, targets: targets))
    }

    func update(_ api: DeployedAPI, _ specification: SplitterSpecification, targets: [String: RealtimeEndpoint]) {
        splitter.apply(api, specification)
        state.withLock {
            $0 = State(path: api.specification.networking.endpoint, specification: specification, targets: targets)
        }
    }

    func exchange(
        for request: IncomingRequest, _ head: HTTPRequestHead, at rest: Substring, caller: ExchangeCaller
    ) -> any ServerExchange {
        let (path, specification, targets) = state.withLock { ($0.path, $0.specification, $0.targets) }
        let sticky = StickyKey(specification.sticky, in: head.headers, path: path)
        let choice = splitter.choose(
            key: sticky.key, override: head.headers.first(name: "x-cortex-target")?.trimmedOfSpaces
        ) { head.headers[$0].map(\.trimmedOfSpaces) }
        var refusal: ProxyFailure?
        let chosen: String
        var copyTo: String?
        switch choice {
        case .target(let name, copyTo: let shadow): (chosen, copyTo) = (name, shadow)
        case .unknown(let name):
            refusal = .unknownTarget(name)
            chosen = specification.targets.first { !$0.isShadow }?.api ?? ""
        }
        guard let endpoint = targets[chosen] ?? targets.values.first else {
            return NoTarget(caller, splitter: splitter.name)
        }
        // A target of the splitter that is not deployed any more.
        if targets[chosen] == nil { refusal = refusal ?? .missingTarget(chosen) }
        let headers = head.headers
        let target = { (endpoint: RealtimeEndpoint) in
            Route.Target(endpoint, endpoint.policy, headers: headers, prefix: path)
        }
        let fallbacks =
            specification.hasFallback ? splitter.fallbacks(after: endpoint.name).compactMap { targets[$0] } : []
        let split = Route.Split(
            splitter: splitter, sticky: sticky, first: endpoint.name, fallbacks: fallbacks, target: target)
        let shadow = refusal == nil ? copyTo.flatMap { targets[$0] } : nil
        let route = Route(
            target(endpoint), services: services, split: split,
            shadow: shadow.map { ShadowCopy(to: $0, of: splitter, services: services) })
        return route.exchange(for: request, head, at: rest, prefix: path, caller: caller, refusal: refusal)
    }
}

/// Answers for a splitter none of whose targets is deployed, which a deploy does not permit.
private final class NoTarget: ServerExchange {
    private let caller: ExchangeCaller
    private let splitter: String
    private var isOver = false

    init(_ caller: ExchangeCaller, splitter: String) {
        self.caller = caller
        self.splitter = splitter
    }

    func received(_ bytes: ByteBuffer) {}
    func receivedEnd(_ trailers: HTTPHeaders?) { answer() }
    func readEnded() { answer() }
    func requestFailed(_ fault: HTTPFault) { answer() }
    func callerGone() { isOver = true }
    func writabilityChanged() {}

    private func answer() {
        guard !isOver else { return }
        isOver = true
        let failure = ProxyFailure.missingTarget(splitter)
        let body = failure.body ?? ByteBuffer()
        var fields = failure.fields(length: body.readableBytes)
        fields.add(contentsOf: ["Connection": "close", "X-Cortex-Origin": "gateway", "Date": caller.date])
        caller.write(HTTPResponseHead(version: .http1_1, status: failure.status, headers: fields))
        caller.write(body)
        caller.writeEnd()
        caller.finish(keepAlive: false)
    }
}
