import Core
import Logging
import Synchronization

/// A TrafficSplitter at work: chooses targets, counts their responses and rolls a failing one back (contract X3 … X8,
/// X11).
///
/// Safe from any thread. Functions that are not `async` never wait.
final class SplitterState: Sendable {
    enum Choice: Sendable, Hashable {
        /// - Parameter copyTo: the shadow that gets a copy of the request (contract X7).
        case target(String, copyTo: String?)
        /// The caller named a target that does not exist: 400 (contract X5).
        case unknown(String)
    }

    /// How a copy to the shadow ended.
    enum CopyOutcome: Sendable, Hashable {
        case givenUp
        /// Whether status and body were those of the served response.
        case compared(sameStatus: Bool, sameBody: Bool)
    }

    private struct Copies: Sendable {
        var total = 0
        var givenUp = 0
        var compared = 0
        var sameStatus = 0
        var sameBody = 0
    }

    private struct Target: Sendable {
        /// Of the last minute.
        let traffic = TrafficRecorder()
        /// Of the guard's window.
        var judged: TrafficRecorder?
    }

    private struct State: Sendable {
        var version: String
        var machine: SplitMachine
        var generator: FastGenerator
        var targets: [String: Target] = [:]
        var copies = Copies()
        var rollBack: SplitState.RollBack?
        /// Since when neither version nor roll-back have changed.
        var since: Timestamp
        /// Whether the store lacks the owners of the sticky keys.
        var needsSaving = false
        var hasFailed = false

        var guarding: SplitterSpecification.Guard? { machine.specification.guarding }

        var owners: [String]? { machine.hasInitialOwners ? nil : machine.bucketOwners }

        /// Chooses by key or weight, without the rules.
        mutating func choose(key: UInt64?) -> Choice {
            let copyTo = machine.nextCopy(using: &generator)
            if let key { return .target(machine.target(of: key), copyTo: copyTo) }
            return .target(machine.next(using: &generator), copyTo: copyTo)
        }

        mutating func prepareTargets(keepingJudged: Bool) {
            let old = targets
            targets = [:]
            for target in machine.specification.targets {
                var prepared = old[target.api] ?? Target()
                if !keepingJudged { prepared.judged = nil }
                if let guarding, !target.isShadow, prepared.judged == nil {
                    prepared.judged = TrafficRecorder(
                        TrafficRing(window: guarding.window, slowLimit: guarding.maxP99))
                }
                targets[target.api] = prepared
            }
        }

        /// What has to be saved now.
        mutating func change(now: Instant, time: Timestamp) -> SplitState? {
            if let reason = failure(now: now), let guarding {
                let weight = machine.specification.targets.first { $0.api == guarding.api }?.weight ?? 0
                return SplitState(
                    rollBack: .init(api: guarding.api, weight: weight, reason: reason, since: time), owners: owners)
            }
            return needsSaving ? SplitState(rollBack: rollBack, owners: owners) : nil
        }

        /// The figures for which the guarded target has to be rolled back.
        private func failure(now: Instant) -> String? {
            guard rollBack == nil, let guarding, machine.names.count > 1,
                let judged = targets[guarding.api]?.judged
            else { return nil }
            var others = GuardRule.Figures()
            for name in machine.names where name != guarding.api {
                if let judged = targets[name]?.judged { others.add(.init(judged.figures(now: now))) }
            }
            let verdict = GuardRule(rule: guarding).verdict(target: .init(judged.figures(now: now)), others: others)
            guard case .rollBack(let reason) = verdict else { return nil }
            return reason
        }
    }

    /// The splitter's name.
    let name: String
    private let store: any Store
    private let clock: any PlatformClock
    private let logger: Logger
    private let state: Mutex<State>

    /// - Parameters:
    ///   - specification: that of `api`.
    ///   - saved: what the store has for this version; it is in force at once.
    ///   - seed: of the random numbers.
    init(
        _ api: DeployedAPI, _ specification: SplitterSpecification, saved: SplitState?, store: any Store,
        clock: any PlatformClock, seed: UInt64, logger: Logger
    ) {
        name = api.name
        self.store = store
        self.clock = clock
        self.logger = logger
        var machine = SplitMachine(specification, owners: saved?.owners)
        var rollBack = saved?.rollBack
        if let target = rollBack?.api, !machine.rollBack(target) { rollBack = nil }
        var state = State(
            version: api.id, machine: machine, generator: FastGenerator(seed: seed), rollBack: rollBack,
            since: api.lastUpdated)
        state.prepareTargets(keepingJudged: false)
        self.state = Mutex(state)
    }

    /// Another version was deployed: its weights hold for the next request, and a roll-back is over. Without effect for
    /// the present version.
    func apply(_ api: DeployedAPI, _ specification: SplitterSpecification) {
        state.withLock { state in
            guard state.version != api.id else { return }
            let isSameGuard = state.guarding == specification.guarding
            let wasRolledBack = state.rollBack != nil
            state.machine = SplitMachine(specification, owners: state.machine.bucketOwners)
            state.version = api.id
            state.since = api.lastUpdated
            state.rollBack = nil
            state.needsSaving = !state.machine.hasInitialOwners
            // The failures that led to the roll-back would lead to another one.
            state.prepareTargets(keepingJudged: isSameGuard && !wasRolledBack)
        }
    }

    // MARK: Requests

    /// Chooses the target of a request.
    ///
    /// - Parameters:
    ///   - key: the ``StableHash`` of what makes the request sticky; `nil` for one that is not.
    ///   - override: the value of `X-Cortex-Target`; `nil` without one. Read only where the splitter permits it.
    ///   - values: the values of a header field, by its name in any case.
    func choose(key: UInt64?, override: @autoclosure () -> String?, values: (String) -> [String]) -> Choice {
        if let choice = state.withLock({ $0.machine.hasRules ? nil : $0.choose(key: key) }) { return choice }
        // A copy, so that headers are not searched inside the lock.
        let rules = state.withLock { $0.machine }
        let route = rules.route(override: override(), values: values)
        if case .unknown(let name)? = route { return .unknown(name) }
        return state.withLock { state in
            guard case .target(let name)? = route else { return state.choose(key: key) }
            return .target(name, copyTo: state.machine.nextCopy(using: &state.generator))
        }
    }

    /// See ``SplitMachine/ranked``.
    var ranked: [String] { state.withLock { $0.machine.ranked } }

    /// Counts a response of a target, once its head has been sent on. A target whose refusal another one makes good
    /// (contract X6) is counted with that refusal too: the guard judges it.
    ///
    /// - Parameters:
    ///   - isByPlatform: whether the platform wrote it. Its 5xx are failures of the platform.
    ///   - arrival: when the request arrived.
    func record(target: String, status: Int, isByPlatform: Bool, arrival: Instant, now: Instant) {
        guard let target = state.withLock({ $0.targets[target] }) else { return }
        target.traffic.record(status: status, isByPlatform: isByPlatform, since: arrival, now: now)
        target.judged?.record(status: status, isByPlatform: isByPlatform, since: arrival, now: now)
    }

    /// Counts a copy to the shadow.
    func record(copy outcome: CopyOutcome) {
        state.withLock { state in
            state.copies.total += 1
            switch outcome {
            case .givenUp: state.copies.givenUp += 1
            case .compared(let sameStatus, let sameBody):
                state.copies.compared += 1
                if sameStatus { state.copies.sameStatus += 1 }
                if sameBody { state.copies.sameBody += 1 }
            }
        }
    }

    // MARK: The guard

    /// Judges the guarded target, and saves what must survive a restart. Call it every second, one call at a time.
    ///
    /// A roll-back is in force, logged and reported only after it is durable. While the store fails, the next call
    /// tries again.
    func tick() async {
        let (version, change) = state.withLock { state in
            (state.version, state.change(now: clock.instant(), time: clock.now()))
        }
        guard let change else { return }
        do {
            // Where another version is present, it is applied soon.
            guard try await store.saveSplitState(change, of: name, version: version) else { return }
        } catch {
            let isFirst = state.withLock { state in
                defer { state.hasFailed = true }
                return !state.hasFailed
            }
            if isFirst {
                logger.warning(
                    "the state of a TrafficSplitter cannot be saved; trying again every second",
                    metadata: ["api": "\(name)", "error": "\(error)"])
            }
            return
        }
        let isRolledBack = state.withLock { state in
            state.hasFailed = false
            guard state.version == version else { return false }
            state.needsSaving = false
            guard state.rollBack == nil, let rollBack = change.rollBack else { return false }
            state.rollBack = rollBack
            return state.machine.rollBack(rollBack.api)
        }
        if isRolledBack, let rollBack = change.rollBack {
            logger.warning(
                "a target of a TrafficSplitter was rolled back",
                metadata: [
                    "api": "\(name)", "target": "\(rollBack.api)", "weight": "\(rollBack.weight)",
                    "reason": "\(rollBack.reason)",
                ])
        }
    }

    /// Ends a roll-back: the declared weights are in force again, and the guard judges later responses only.
    ///
    /// - Returns: whether a target was rolled back.
    /// - Throws: ``PlatformError`` when that cannot be saved; nothing has changed then.
    func resume() async throws -> Bool {
        let before = state.withLock { state in
            state.rollBack == nil ? nil : (version: state.version, saved: SplitState(owners: state.owners))
        }
        guard let before else { return false }
        guard try await store.saveSplitState(before.saved, of: name, version: before.version) else {
            throw PlatformError(
                .conflict, "\(name) was changed at the same time; look at it with cortex describe and try again.")
        }
        state.withLock { state in
            guard state.version == before.version, state.rollBack != nil else { return }
            state.rollBack = nil
            state.machine.resume()
            state.since = clock.now()
            state.prepareTargets(keepingJudged: false)
        }
        logger.notice("a TrafficSplitter was resumed", metadata: ["api": "\(name)"])
        return true
    }

    /// The state, and the traffic of the last minute (contract X11).
    func report(now: Instant) -> SplitReport {
        let (machine, targets, copies, rollBack, since) = state.withLock {
            ($0.machine, $0.targets, $0.copies, $0.rollBack, $0.since)
        }
        let specification = machine.specification
        let weights = Dictionary(uniqueKeysWithValues: zip(machine.names, machine.weights))
        let figures = targets.mapValues { $0.traffic.figures(now: now) }
        let served = machine.names.reduce(0) { $0 + (figures[$1]?.counts.served ?? 0) }
        var report = SplitReport(
            state: rollBack != nil ? .rolledBack : specification.guarding != nil ? .guarded : .fixed,
            api: rollBack?.api, weight: rollBack?.weight, reason: rollBack?.reason, since: rollBack?.since ?? since)
        for target in specification.targets {
            var entry = SplitReport.Target(
                api: target.api, weight: weights[target.api] ?? target.weight, isShadow: target.isShadow)
            if let figures = figures[target.api] {
                if served > 0 { entry.served = Double(figures.counts.served) / Double(served) }
                if figures.counts.total > 0 { entry.errorRate = GuardRule.Figures(figures).errorRate }
                entry.p99 = figures.times.quantile(0.99)
            }
            if target.isShadow {
                entry.copies = copies.total
                entry.givenUp = copies.givenUp
                if copies.compared > 0 {
                    entry.agreedStatus = Double(copies.sameStatus) / Double(copies.compared)
                    entry.agreedBody = Double(copies.sameBody) / Double(copies.compared)
                }
            }
            report.targets.append(entry)
        }
        return report
    }
}

extension TrafficReport.Counts {
    /// Responses of containers, and refusals that are the caller's fault.
    fileprivate var served: Int { total - platformErrors }
}
