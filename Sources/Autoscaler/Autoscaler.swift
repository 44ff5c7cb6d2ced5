package import Core
package import Logging
import ServiceLifecycle

/// Keeps the number of replicas in step with the load: a thin loop around ``ScalingRule``.
///
/// What cannot be read holds the present scale until the next look.
package actor Autoscaler: Service {
    /// From the end of one look to the beginning of the next.
    package static let interval: Duration = .seconds(10)

    private let store: any Store
    private let orchestrator: any Orchestrator
    private let clock: any PlatformClock
    private let logger: Logger
    private var histories: [String: ScalingHistory] = [:]
    private var isBlind = false

    package init(store: any Store, orchestrator: any Orchestrator, clock: any PlatformClock, logger: Logger) {
        self.store = store
        self.orchestrator = orchestrator
        self.clock = clock
        self.logger = logger
    }

    /// Runs until shutdown; returns normally then.
    package func run() async throws {
        // Asked for before the first look, so that no change falls between the two.
        let changes = store.changes()
        await cancelWhenGracefulShutdown {
            await withTaskGroup { group in
                group.addTask { await self.lookRegularly() }
                group.addTask {
                    for await change in changes where !change.queued.isEmpty { await self.wake(change.queued) }
                }
            }
        }
    }

    private func lookRegularly() async {
        while !Task.isCancelled {
            await look()
            do { try await clock.sleep(for: Self.interval) } catch { return }
        }
    }

    /// Looks at every API once.
    package func look() async {
        guard let (apis, counts) = await observe() else { return }
        let names = Set(apis.map(\.name))
        histories = histories.filter { names.contains($0.key) }
        for api in apis {
            guard let current = await orchestrator.status(api: api.name)?.requested else { continue }
            let decision = ScalingRule.decide(
                api.specification.autoscaling, sample: counts[api.name]?.total, current: current, now: clock.now(),
                history: &histories[api.name, default: ScalingHistory()])
            await carryOut(decision, of: api.name, from: current)
            // A request may have come just before its last replica was taken away: its hint found one still there.
            if decision.replicas == 0, current > 0 { await wake([api.name]) }
        }
    }

    /// Gives a replica to those of `names` that have none and a request that waits.
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
            await carryOut(decision, of: api.name, from: current)
        }
    }

    /// `nil` when the store does not answer: unknown is not zero.
    private func observe() async -> (apis: [DeployedAPI], counts: [String: QueueCounts])? {
        do {
            let observed = (try await store.deployedAPIs(), try await store.counts())
            isBlind = false
            return observed
        } catch {
            // Said once, not at every look.
            if !isBlind, !(error is CancellationError) {
                logger.warning("autoscaling holds: the load cannot be read", metadata: ["error": "\(error)"])
            }
            isBlind = true
            return nil
        }
    }

    private func carryOut(_ decision: ScalingDecision, of api: String, from current: Int) async {
        guard decision.replicas != current else { return }
        do {
            try await store.saveRequestedReplicas(decision.replicas, of: api)
        } catch {
            logger.warning(
                "autoscaling holds: the decision cannot be saved", metadata: ["api": "\(api)", "error": "\(error)"])
            return
        }
        await orchestrator.scale(api: api, replicas: decision.replicas)
        logger.info(
            "autoscaling event: \(current) -> \(decision.replicas)",
            metadata: ["api": "\(api)", "reason": "\(decision.reason.rawValue)"])
    }
}

extension QueueCounts {
    fileprivate var total: Int { inQueue + inProgress }
}
