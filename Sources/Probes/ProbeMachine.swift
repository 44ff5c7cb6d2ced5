package import Core

/// The thresholds of one probe: decides when to check, and what the results mean. Pure.
///
/// Perform the actions that ``start()`` returns, and pass their results to ``handle(_:now:)``, which returns the next
/// actions.
package struct ProbeMachine: Sendable {
    /// What happened since the last action.
    package enum Event: Sendable, Hashable {
        /// The time of the next check has come.
        case tick
        /// The check passed.
        case success
        /// The check failed, with the reason in one line.
        case failure(String)
    }

    /// What the caller does next.
    package enum Action: Sendable, Hashable {
        /// Begin a check now.
        case check
        /// Send ``Event/tick`` at this moment.
        case wait(until: Instant)
        /// From now on the probe passes.
        case becameHealthy
        /// From now on the probe fails, with the reason of the last failure.
        case becameUnhealthy(reason: String)
    }

    /// The settings of the probe.
    package let probe: Probe
    /// Whether the probe passes. A readiness probe begins with `false`, a liveness probe with `true`.
    package private(set) var isHealthy: Bool
    /// Why the last check failed; `nil` when it passed or none has ended.
    package private(set) var lastFailure: String?

    private var successes = 0
    private var failures = 0
    private var startedAt: Instant
    private var isChecking = false

    /// - Parameters:
    ///   - startsHealthy: the first value of ``isHealthy``.
    ///   - now: when the container started. The first check is due after the initial delay.
    package init(_ probe: Probe, startsHealthy: Bool, now: Instant) {
        self.probe = probe
        self.isHealthy = startsHealthy
        self.startedAt = now
    }

    /// The first actions.
    package mutating func start() -> [Action] {
        [.wait(until: startedAt + max(.zero, probe.initialDelay))]
    }

    /// Notes what happened and returns the next actions, in their order.
    package mutating func handle(_ event: Event, now: Instant) -> [Action] {
        switch event {
        case .tick:
            guard !isChecking else { return [] }
            isChecking = true
            startedAt = now
            return [.check]
        case .success:
            lastFailure = nil
            failures = 0
            successes = min(successes, .max - 1) + 1
            return ended(flip: !isHealthy && successes >= max(1, probe.successThreshold), .becameHealthy, now)
        case .failure(let reason):
            lastFailure = reason
            successes = 0
            failures = min(failures, .max - 1) + 1
            let flip = isHealthy && failures >= max(1, probe.failureThreshold)
            return ended(flip: flip, .becameUnhealthy(reason: reason), now)
        }
    }

    /// Checks begin a period apart. A check that took longer is followed by the next one at once, never by two.
    private mutating func ended(flip: Bool, _ change: Action, _ now: Instant) -> [Action] {
        isChecking = false
        let period = max(Self.shortestPeriod, probe.period)
        let next = Action.wait(until: max(now, startedAt + period))
        guard flip else { return [next] }
        isHealthy.toggle()
        return [change, next]
    }

    /// The period used for shorter ones, so that a period of zero is not a busy loop.
    static let shortestPeriod: Duration = .milliseconds(100)
}
