import Core

/// Decides when and how a run is over (contract T2, T3, T9). Pure.
///
/// The attempt is over when the first of its containers exits; the others are stopped then. The platform may decide
/// earlier: a stop, a timeout, a liveness probe, the disk. A container that had exited before such a decision was made
/// counts all the same.
struct RunMachine: Sendable, Hashable {
    enum State: Sendable, Hashable {
        /// It is not known yet whether the engine has its pod.
        ///
        /// - Parameter mayStart: whether it starts when there is no pod. Otherwise it was started before, and is lost.
        case declared(mayStart: Bool)
        /// It waits for space, or its start is under way or has failed.
        case starting
        case running
        /// Its end is decided, containers still run. `decidedAt` is the time of the platform's decision; `nil` after
        /// the exit of a container.
        case ending(RunEnd, decidedAt: Timestamp?)
        case over(RunEnd)
        /// Acknowledged.
        case removing(RunEnd)
    }

    enum Event: Sendable, Hashable {
        /// The engine listed its pods; `nil`: this one is not among them.
        case listed(ObservedPod?)
        /// All containers were started.
        case started
        /// A start was cancelled, and nothing of it is left.
        case startCancelled
        case stopRequested(grace: Duration)
        case timedOut
        /// The reason names container and probe.
        case livenessFailed(reason: String)
        /// The pod stored too much.
        case evicted(RunEnd.Cause, reason: String)
        case acknowledged
    }

    enum Action: Sendable, Hashable {
        /// Start the pod when there is space.
        case begin
        case cancelStart
        /// Take over a pod that an earlier process of the platform started.
        case adopt
        /// May be repeated while an earlier one is under way.
        case stopContainers([String], grace: Duration)
        case remove
    }

    private(set) var state: State
    private(set) var startedAt: Timestamp?
    /// In the order of the file.
    private let containers: [String]
    /// The grace period of the API.
    private var grace: Duration
    private let timeout: Duration?
    /// A stop was requested before it was known whether there is a pod.
    private var isStopRequested = false

    init(_ plan: RunPlan, mayStart: Bool) {
        self.state = .declared(mayStart: mayStart)
        self.startedAt = plan.startedAt
        self.containers = plan.api.specification.pod.containers.map(\.name)
        self.grace = plan.api.specification.pod.terminationGracePeriod
        self.timeout = plan.timeout
    }

    /// Whether containers may still run, or be started.
    var occupiesMachine: Bool {
        switch state {
        case .declared, .starting, .running, .ending: true
        case .over, .removing: false
        }
    }

    /// When ``Event/timedOut`` is due.
    var deadline: Timestamp? {
        guard state == .running, let timeout, let startedAt else { return nil }
        return startedAt + timeout
    }

    mutating func handle(_ event: Event, now: Timestamp) -> [Action] {
        switch (state, event) {
        case (.declared(let mayStart), .listed(let pod)): return firstListed(pod, mayStart: mayStart, now: now)
        case (.running, .listed(let pod)), (.ending, .listed(let pod)): return observe(pod, now: now)
        case (.starting, .started):
            state = .running
            startedAt = now
            return []
        case (.declared, .stopRequested(let grace)):
            self.grace = grace
            isStopRequested = true
            return []
        case (.starting, .stopRequested):
            state = .ending(Self.stopped(at: now), decidedAt: now)
            return [.cancelStart]
        case (.ending(let end, _), .startCancelled):
            state = .over(end)
            return []
        case (.running, .stopRequested(let grace)):
            self.grace = grace
            return decide(Self.stopped(at: now), grace: grace)
        case (.running, .timedOut):
            let limit = timeout.map { " of \($0.secondsText) s" } ?? ""
            return decide(
                RunEnd(cause: .timeout, reason: "it ran longer than its timeout\(limit)", endedAt: now), grace: grace)
        case (.running, .livenessFailed(let reason)):
            return decide(RunEnd(cause: .exit, reason: reason, endedAt: now), grace: grace)
        case (.running, .evicted(let cause, let reason)):
            return decide(RunEnd(cause: cause, reason: reason, endedAt: now), grace: .zero)
        case (.over(let end), .acknowledged):
            state = .removing(end)
            return [.remove]
        default:
            return []
        }
    }

    private static func stopped(at now: Timestamp) -> RunEnd {
        RunEnd(cause: .stopped, reason: "it was stopped", endedAt: now)
    }

    private static func lost(_ how: String, at now: Timestamp) -> RunEnd {
        RunEnd(cause: .lost, reason: how, endedAt: now)
    }

    private mutating func decide(_ end: RunEnd, grace: Duration) -> [Action] {
        self.grace = grace
        state = .ending(end, decidedAt: end.endedAt)
        return [.stopContainers(containers, grace: grace)]
    }

    // MARK: What the engine lists

    private mutating func firstListed(_ pod: ObservedPod?, mayStart: Bool, now: Timestamp) -> [Action] {
        guard let pod else {
            if isStopRequested {
                state = .over(Self.stopped(at: now))
            } else if mayStart {
                state = .starting
                return [.begin]
            } else {
                state = .over(
                    Self.lost(
                        "its pod is gone: the platform was stopped, or the machine or the container engine was restarted",
                        at: now))
            }
            return []
        }
        startedAt = startedAt ?? pod.createdAt
        let wasInterrupted = pod.containers.contains { $0.state == .created }
        if wasInterrupted, mayStart, !isStopRequested {
            // The platform ended during the start, which the engine repeats from the beginning.
            startedAt = nil
            state = .starting
            return [.begin]
        }
        state = .running
        if isStopRequested {
            state = .ending(Self.stopped(at: now), decidedAt: now)
        } else if wasInterrupted {
            state = .ending(Self.lost("the platform ended during its start", at: now), decidedAt: now)
        }
        return [.adopt] + observe(pod, now: now)
    }

    private mutating func observe(_ pod: ObservedPod?, now: Timestamp) -> [Action] {
        guard let pod else {
            state = .over(decided ?? Self.lost("its pod is gone", at: now))
            return []
        }
        let left = pod.containers.filter { !$0.hasExited && $0.state != .created }.map(\.name)
        guard let end = end(of: pod, now: now) else { return decided == nil ? [] : stop(left) }
        guard !left.isEmpty else {
            state = .over(end)
            return []
        }
        if case .ending(_, let decidedAt) = state {
            state = .ending(end, decidedAt: decidedAt)
        } else {
            state = .ending(end, decidedAt: nil)
        }
        return pod.isAlive ? stop(left) : [.stopContainers(left, grace: .zero)]
    }

    private func stop(_ containers: [String]) -> [Action] { [.stopContainers(containers, grace: grace)] }

    /// The end that is decided already.
    private var decided: RunEnd? {
        if case .ending(let end, _) = state { end } else { nil }
    }

    /// How the run ended; `nil` while all of its containers run.
    private func end(of pod: ObservedPod, now: Timestamp) -> RunEnd? {
        let first = firstExit(in: pod, now: now)
        guard case .ending(var end, let decidedAt) = state else {
            guard let first else {
                return pod.isAlive ? nil : Self.lost("the supervisor process of its pod died", at: now)
            }
            return first
        }
        // The exits of the other containers do not count.
        guard let decidedAt else { return end }
        guard let first else { return pod.isAlive ? nil : end }
        if first.endedAt < decidedAt { return first }
        end.exit = first.exit
        end.container = first.container
        end.endedAt = first.endedAt
        return end
    }

    /// The end by the container that exited first. In a pod that is not alive only those with a time exited by
    /// themselves.
    private func firstExit(in pod: ObservedPod, now: Timestamp) -> RunEnd? {
        let exits = pod.containers.compactMap { container -> (order: Int, end: RunEnd)? in
            guard case .exited(let exit) = container.state, pod.isAlive || container.endedAt != nil else { return nil }
            let reason = exit.code == 0 ? nil : exit.sentence(of: container.name)
            let end = RunEnd(
                cause: exit.outOfMemory ? .outOfMemory : .exit, exit: exit, container: container.name, reason: reason,
                endedAt: container.endedAt ?? now)
            return (containers.firstIndex(of: container.name) ?? .max, end)
        }
        return exits.min { ($0.end.endedAt, $0.order) < ($1.end.endedAt, $1.order) }?.end
    }
}
