import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Synchronization

/// One TrafficSplitter: chooses a RealtimeAPI for each request (contract X).
final class SplitterEndpoint: ExchangeHandler {
    /// What a deploy determines. An object, because every request takes a reference to it.
    private final class Plan: Sendable {
        let path: String
        let specification: SplitterSpecification
        let targets: [String: RealtimeEndpoint]

        init(_ api: DeployedAPI, _ specification: SplitterSpecification, _ targets: [String: RealtimeEndpoint]) {
            path = api.specification.networking.endpoint
            self.specification = specification
            self.targets = targets
        }
    }

    let splitter: SplitterState
    private let services: ProxyServices
    private let current: Mutex<Plan>

    /// - Parameter targets: the RealtimeAPIs that are deployed.
    init(
        _ api: DeployedAPI, _ specification: SplitterSpecification, splitter: SplitterState,
        targets: [String: RealtimeEndpoint], services: ProxyServices
    ) {
        self.splitter = splitter
        self.services = services
        current = Mutex(Plan(api, specification, targets))
    }

    func update(_ api: DeployedAPI, _ specification: SplitterSpecification, targets: [String: RealtimeEndpoint]) {
        let plan = Plan(api, specification, targets)
        splitter.apply(api, specification)
        current.withLock { $0 = plan }
    }

    func exchange(
        for request: IncomingRequest, _ head: HTTPRequestHead, at rest: Substring, caller: ExchangeCaller
    ) -> any ServerExchange {
        let plan = current.withLock { $0 }
        let sticky = StickyKey(plan.specification.sticky, in: head.headers, path: plan.path)
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
            chosen = plan.specification.targets.first { !$0.isShadow }?.api ?? ""
        }
        var found = plan.targets[chosen]
        if found == nil {
            // A target of the splitter that is not deployed any more.
            refusal = refusal ?? .missingTarget(chosen)
            found = plan.targets.values.first
        }
        guard let endpoint = found else { return NoTarget(caller, splitter: splitter.name) }
        let split = Route.Split(
            splitter: splitter, sticky: sticky, first: endpoint.name, ranked: splitter.ranked, targets: plan.targets,
            headers: head.headers, path: plan.path)
        let shadow = refusal == nil ? copyTo.flatMap { plan.targets[$0] } : nil
        let route = Route(
            split.target(endpoint), services: services, split: split,
            shadow: shadow.map { ShadowCopy(to: $0, of: splitter, services: services) })
        return route.exchange(for: request, head, at: rest, prefix: plan.path, caller: caller, refusal: refusal)
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
