package import Core
package import Logging
import ServiceLifecycle

/// Keeps the requested number of replicas in step with the load: a loop around ``ScalingRule``. It saves each
/// decision in the store and has it applied.
///
/// When the load cannot be read, the number of replicas stays until the next decision.
package actor Autoscaler: Service {
    /// From the end of one round to the beginning of the next.
    package static let interval: Duration = .seconds(10)
    /// How long to wait before a stream of hints that ended is opened again.
    static let reopening: Duration = .seconds(1)

    private let store: any Store
    private let sources: [any LoadSource]
    private let reconciler: any Reconciling
    private let clock: any PlatformClock
    private let logger: Logger
    private var histories: [String: ScalingHistory] = [:]
    /// Oldest first.
    private var decisions: [String: [ScalingDecision]] = [:]
    private var lacksData = false

    /// - Parameter sources: whose loads add up.
    package init(
        store: any Store, sources: [any LoadSource], reconciler: any Reconciling, clock: any PlatformClock,
        logger: Logger
    ) {
        self.store = store
        self.sources = sources
        self.reconciler = reconciler
        self.clock = clock
        self.logger = logger
    }

    /// Runs until shutdown; returns normally then.
    package func run() async throws {
        // Subscribed before the first round, so that no arrival between the two is missed.
        let arrivals = sources.map { ($0, $0.arrivals()) }
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await self.decideRegularly() }
                for (source, stream) in arrivals { group.addTask { await self.follow(source, stream) } }
            }
        }
    }

    private func decideRegularly() async {
        while !Task.isCancelled {
            await decideOnce()
            do { try await clock.sleep(for: Self.interval) } catch { return }
        }
    }

    /// Wakes APIs on hints, until cancelled. A stream that ends is opened again; the regular rounds find what was
    /// missed.
    private func follow(_ source: any LoadSource, _ arrivals: any AsyncSequence<Set<String>, Never> & Sendable) async {
        var arrivals = arrivals
        while true {
            for await names in arrivals { await wake(names) }
            // Only cancellation makes the sleep throw.
            guard (try? await clock.sleep(for: Self.reopening)) != nil else { return }
            arrivals = source.arrivals()
        }
    }

    /// The last decisions about an API, oldest first: the reasons for its number of replicas. Empty for an unknown API.
    package func decisions(of api: String) -> [ScalingDecision] { decisions[api] ?? [] }

    /// Decides once for every API that has replicas.
    package func decideOnce() async {
        guard let (apis, load) = await observe() else { return }
        let names = Set(apis.map(\.name))
        histories = histories.filter { names.contains($0.key) }
        decisions = decisions.filter { names.contains($0.key) }
        for api in apis where api.specification.hasReplicas && reconciler.reasonHeldBack(api.name) == nil {
            guard let current = await replicas(of: api) else { continue }
            let decision = ScalingRule.decide(
                api.specification.autoscaling, load: load[api.name], current: current.count,
                now: clock.now(), history: &histories[api.name, default: ScalingHistory()])
            await carryOut(decision, of: api, replacing: current)
            // A request may have arrived just before the last replica was removed: its hint found a replica then.
            if decision.replicas == 0, current.count > 0 { await wake([api.name]) }
        }
    }

    /// Starts a replica for those of `names` that have none and a waiting request.
    package func wake(_ names: Set<String>) async {
        var asleep: Set<String> = []
        for name in names where await isAsleep(name) { asleep.insert(name) }
        guard !asleep.isEmpty, let (apis, load) = await observe() else { return }
        for api in apis
        where asleep.contains(api.name) && api.specification.hasReplicas && reconciler.reasonHeldBack(api.name) == nil {
            guard let current = await replicas(of: api), let waiting = load[api.name]?.now,
                let decision = ScalingRule.wake(
                    api.specification.autoscaling, waiting: waiting, current: current.count, now: clock.now(),
                    history: &histories[api.name, default: ScalingHistory()])
            else { continue }
            await carryOut(decision, of: api, replacing: current)
        }
    }

    /// The number of replicas that is requested of an API.
    private struct Requested {
        /// Within the bounds of the present version.
        var count: Int
        /// As the store has it; `nil` before the first decision.
        var saved: Int?
    }

    /// `nil` when the store does not answer.
    private func replicas(of api: DeployedAPI) async -> Requested? {
        guard let saved = await read({ try await self.store.requestedReplicas(of: api.name) }) else { return nil }
        return Requested(count: api.replicas(requested: saved), saved: saved)
    }

    /// Whether an API may have no replica. Called for every hint, so it reads one number only.
    private func isAsleep(_ name: String) async -> Bool {
        guard let saved = await read({ try await self.store.requestedReplicas(of: name) }) else { return false }
        return saved ?? 0 == 0
    }

    /// What is deployed and the load of each API. `nil` when the store or one of the sources does not answer: a part
    /// of the load is not the load.
    private func observe() async -> (apis: [DeployedAPI], load: [String: APILoad])? {
        await read {
            let apis = try await self.store.deployedAPIs()
            var load: [String: APILoad] = [:]
            for source in self.sources { load.merge(try await source.load(), uniquingKeysWith: +) }
            return (apis, load)
        }
    }

    /// `nil` when the store does not answer: unknown is not zero.
    private func read<Value: Sendable>(_ body: () async throws -> Value) async -> Value? {
        do {
            let value = try await body()
            lacksData = false
            return value
        } catch {
            // Logged once, not in every round.
            if !lacksData, !(error is CancellationError) {
                logger.warning("the load cannot be read: the number of replicas stays", metadata: ["error": "\(error)"])
            }
            lacksData = true
            return nil
        }
    }

    private func carryOut(_ decision: ScalingDecision, of deployed: DeployedAPI, replacing current: Requested) async {
        let api = deployed.name
        note(decision, of: api)
        guard decision.replicas != decision.current else { return }
        do {
            let isSaved = try await store.replaceRequestedReplicas(
                decision.replicas, of: api, version: deployed.id, expecting: current.saved ?? current.count)
            if isSaved {
                logger.info(
                    "autoscaling event: \(decision.current) -> \(decision.replicas)",
                    metadata: Self.metadata(decision, of: api))
            } else {
                // A deploy or a wake-up decided something else meanwhile. That holds until the next round.
                logger.debug(
                    "autoscaling decision dropped: another one was made first",
                    metadata: Self.metadata(decision, of: api))
            }
        } catch {
            logger.warning(
                "the scaling decision cannot be saved", metadata: ["api": "\(api)", "error": "\(error)"])
            return
        }
        await reconciler.reconcile(api)
    }

    private func note(_ decision: ScalingDecision, of api: String) {
        let last = decisions[api]?.last
        decisions[api, default: []].append(decision)
        let excess = (decisions[api]?.count ?? 0) - Limits.scalingDecisions
        if excess > 0 { decisions[api]?.removeFirst(excess) }
        // All decisions are kept; only those that differ from the previous one are logged at level info.
        let isNews = last?.replicas != decision.replicas || last?.reason != decision.reason
        logger.log(
            level: isNews ? .info : .debug, "autoscaling decision: \(decision.explanation)",
            metadata: Self.metadata(decision, of: api))
    }

    private static func metadata(_ decision: ScalingDecision, of api: String) -> Logger.Metadata {
        var metadata: Logger.Metadata = ["api": "\(api)", "reason": "\(decision.reason.rawValue)"]
        if let inFlight = decision.inFlight { metadata["in_flight"] = "\(inFlight)" }
        if let steps = decision.steps {
            metadata["average"] = "\(steps.average)"
            metadata["target"] = "\(steps.target)"
            metadata["recommended"] = "\(steps.bounds)"
        }
        return metadata
    }
}

/// The load of the request queues: what waits and what is in progress.
package struct QueueLoad: LoadSource {
    private let store: any Store

    package init(_ store: any Store) { self.store = store }

    package func load() async throws -> [String: APILoad] {
        try await store.counts().mapValues { APILoad($0.inQueue + $0.inProgress) }
    }

    package func arrivals() -> any AsyncSequence<Set<String>, Never> & Sendable {
        store.changes(.queued).map { $0.queued }
    }
}
