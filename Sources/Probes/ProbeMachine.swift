package import Core

/// When to check and what the checks add up to: a probe's thresholds as a value, without clock or network.
///
/// Ask `nextStep` for what to do, tell it with `handle` what came of it.
package struct ProbeMachine: Sendable {
    /// What happened to a probe.
    package enum Event: Sendable, Hashable {
        /// The time of the next check has come.
        case tick
        case success
        /// With the reason, for people.
        case failure(String)
    }

    /// What is to be done next.
    package enum Action: Sendable, Hashable {
        /// Begin a check now.
        case check
        /// Send `tick` at this moment.
        case wait(until: Instant)
        /// From now on the probe passes.
        case becameHealthy
        /// From now on it fails; with the last failure.
        case becameUnhealthy(reason: String)
    }

    package let probe: Probe
    /// What the probe says now. A readiness probe begins with `false`, a liveness probe with `true`.
    package private(set) var isHealthy: Bool
    /// Why the last check failed; `nil` when it passed or none has ended.
    package private(set) var lastFailure: String?

    private var successes = 0
    private var failures = 0
    private var startedAt: Instant
    private var isChecking = false

    /// - Parameter now: when the container started; the first check is due after the initial delay.
    package init(_ probe: Probe, startsHealthy: Bool, now: Instant) {
        self.probe = probe
        self.isHealthy = startsHealthy
        self.startedAt = now
    }

    /// What to do first.
    package mutating func start() -> [Action] {
        [.wait(until: startedAt + max(.zero, probe.initialDelay))]
    }

    /// Takes an event and returns what is to be done, in this order.
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

    /// Checks begin a period apart; one that took longer is followed at once by the next, but never by two.
    private mutating func ended(flip: Bool, _ change: Action, _ now: Instant) -> [Action] {
        isChecking = false
        let period = max(Self.shortestPeriod, probe.period)
        let next = Action.wait(until: max(now, startedAt + period))
        guard flip else { return [next] }
        isHealthy.toggle()
        return [change, next]
    }

    /// A period of zero must not become a busy loop.
    static let shortestPeriod: Duration = .milliseconds(100)
}
