package import Core
package import Logging
import ServiceLifecycle

/// Keeps the number of replicas in step with the load: a loop around ``ScalingRule``.
///
/// When the load cannot be read, the number of replicas stays until the next decision.
package actor Autoscaler: Service {
    /// From the end of one round to the beginning of the next.
    package static let interval: Duration = .seconds(10)

    private let store: any Store
    private let orchestrator: any Orchestrator
    private let clock: any PlatformClock
    private let logger: Logger
    private var histories: [String: ScalingHistory] = [:]
    /// Oldest first.
    private var decisions: [String: [ScalingDecision]] = [:]
    private var lacksData = false

    package init(store: any Store, orchestrator: any Orchestrator, clock: any PlatformClock, logger: Logger) {
        self.store = store
        self.orchestrator = orchestrator
        self.clock = clock
        self.logger = logger
    }

    /// Runs until shutdown; returns normally then.
    package func run() async throws {
        // Subscribed before the first round, so that no change between the two is missed.
        let changes = store.changes()
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await self.decideRegularly() }
                group.addTask {
                    for await change in changes where !change.queued.isEmpty { await self.wake(change.queued) }
                }
            }
        }
    }

    private func decideRegularly() async {
        while !Task.isCancelled {
            await decideOnce()
            do { try await clock.sleep(for: Self.interval) } catch { return }
        }
    }

    /// The last decisions about an API, oldest first: the reasons for its number of replicas. Empty for an unknown API.
    package func decisions(of api: String) -> [ScalingDecision] { decisions[api] ?? [] }

    /// Decides for every API once.
    package func decideOnce() async {
        guard let (apis, counts) = await observe() else { return }
        let names = Set(apis.map(\.name))
        histories = histories.filter { names.contains($0.key) }
        decisions = decisions.filter { names.contains($0.key) }
        for api in apis {
            guard let current = await orchestrator.status(api: api.name)?.requested else { continue }
            let decision = ScalingRule.decide(
                api.specification.autoscaling, sample: counts[api.name]?.total, current: current, now: clock.now(),
                history: &histories[api.name, default: ScalingHistory()])
            await carryOut(decision, of: api)
            // A request may have arrived just before the last replica was removed: its hint found a replica then.
            if decision.replicas == 0, current > 0 { await wake([api.name]) }
        }
    }

    /// Starts a replica for those of `names` that have none and a waiting request.
    package func wake(_ names: Set<String>) async {
        var asleep: Set<String> = []
        for name in names where await orchestrator.status(api: name)?.requested == 0 { asleep.insert(name) }
        guard !asleep.isEmpty, let (apis, counts) = await observe() else { return }
        for api in apis where asleep.contains(api.name) {
            guard let current = await orchestrator.status(api: api.name)?.requested, let count = counts[api.name],
                let decision = ScalingRule.wake(
                    api.specification.autoscaling, waiting: count.total, current: current, now: clock.now(),
                    history: &histories[api.name, default: ScalingHistory()])
            else { continue }
            await carryOut(decision, of: api)
        }
    }

    /// `nil` when the store does not answer: unknown is not zero.
    private func observe() async -> (apis: [DeployedAPI], counts: [String: QueueCounts])? {
        do {
            let observed = (try await store.deployedAPIs(), try await store.counts())
            lacksData = false
            return observed
        } catch {
            // Logged once, not in every round.
            if !lacksData, !(error is CancellationError) {
                logger.warning("the load cannot be read: the number of replicas stays", metadata: ["error": "\(error)"])
            }
            lacksData = true
            return nil
        }
    }

    private func carryOut(_ decision: ScalingDecision, of deployed: DeployedAPI) async {
        let api = deployed.name
        note(decision, of: api)
        guard decision.replicas != decision.current else { return }
        do {
            let isSaved = try await store.replaceRequestedReplicas(
                decision.replicas, of: api, version: deployed.id, expecting: decision.current)
            guard isSaved else { return try await discard(decision, of: deployed) }
        } catch {
            logger.warning(
                "the scaling decision cannot be saved", metadata: ["api": "\(api)", "error": "\(error)"])
            return
        }
        await orchestrator.scale(api: api, replicas: decision.replicas)
        logger.info(
            "autoscaling event: \(decision.current) -> \(decision.replicas)", metadata: Self.metadata(decision, of: api)
        )
    }

    /// A deploy or a wake-up changed the number meanwhile. It stays until the next round, and the orchestrator is
    /// informed.
    private func discard(_ decision: ScalingDecision, of api: DeployedAPI) async throws {
        logger.debug(
            "autoscaling decision dropped: another one was made first", metadata: Self.metadata(decision, of: api.name))
        let versions = try await store.deployedAPIs()
        guard versions.contains(where: { $0.name == api.name && $0.id == api.id }),
            let saved = try await store.requestedReplicas(of: api.name), saved != decision.current
        else { return }
        await orchestrator.scale(api: api.name, replicas: saved)
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

extension QueueCounts {
    fileprivate var total: Int { inQueue + inProgress }
}
