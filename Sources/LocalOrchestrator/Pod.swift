import Core
import Support

/// What the orchestrator knows of one pod: an entry of its table.
struct Pod: Sendable {
    enum Phase: Sendable, Hashable {
        /// It waits for space on the machine; nothing of it exists.
        case pending(since: Instant)
        /// Its images are being pulled or its containers started.
        case starting
        /// It could not be started. The next attempt begins at `retryAt`.
        case startFailed(retryAt: Instant)
        case running
        case stopping
    }

    /// Why a start failed, as far as `describe` distinguishes it.
    enum StartFailure: Sendable, Hashable {
        case image
        /// The engine had less free capacity than was declared.
        case room
        case other
    }

    let id: String
    /// The version it was started from, or a later one that changed nothing about pods. See ``isVersionKnown``.
    var api: DeployedAPI
    /// The worker of a job that it is; `nil` for a replica of an API.
    var worker: PodOwner.Worker?
    /// Whether it is a run of a Task, which ``RunMachine`` controls.
    var isRun = false
    /// Whether the version of an adopted pod is still recorded. Otherwise `api` is the declared version without probes
    /// and hooks.
    var isVersionKnown = true
    /// The engine's labels, which tell whether the pod is of the declared version.
    var podID: String
    var deploymentID: String
    let createdAt: Timestamp
    let plan: PodPlan
    var phase: Phase
    let activity: any ReplicaActivity = LocalReplicaActivity()
    var startBackoff = RestartBackoff()
    var containers: [String: Container] = [:]
    /// One entry per gating probe; ready means all are true.
    var probes: [Bool] = []
    /// The last reason why it is not ready.
    var reason: String?
    /// How a container last ended since the pod was ready.
    var lastExit: String?
    /// Exits of its containers since the pod was ready.
    var exitsInRow = 0
    /// Why a container is being stopped for its liveness probe.
    var livenessFailure: String?
    /// The last log lines while it is not ready.
    var lastLines: [String] = []
    /// The last log lines by container, as they were read.
    var excerpts: [String: LogExcerpt] = [:]
    /// When the last lines were read; `nil` when they are due.
    var linesReadAt: Instant?
    /// Its `PodInit` died, or it was cut off: there is nothing to drain.
    var isLost = false
    /// Whether it was ever ready. A pod that never was has no requests that a long grace period could save.
    var wasReady = false
    /// Since when it is not ready; `nil` while it is.
    var unreadySince: Instant?
    /// Why its last start failed.
    var startFailure: StartFailure?
    /// The engine's operations on this pod. Stopping the pod cancels them.
    let operations = PodOperations()
    /// Ends the probes of this pod.
    var probing: AsyncStream<Never>.Continuation?
    /// The number of the present round of probing. Late results of an earlier round are ignored.
    var probeRound = 0

    struct Container: Sendable, Hashable {
        var state: ObservedContainer.State
        var backoff = RestartBackoff()
        var startedAt: Instant
        /// When it is started again; `nil` while it runs or a start is under way, and if it is not started again.
        var restartAt: Instant?
        var isRestarting = false

        /// Notes that it exited, and when it is started again by the policy of its pod.
        mutating func exited(_ exit: ContainerExit, _ policy: RestartPolicy, now: Instant) {
            state = .exited(exit)
            if policy.restarts(after: exit) { restartAt = backoff.ended(startedAt: startedAt, now: now) }
        }
    }

    /// The name of the set that it belongs to: of its API, or of its job's workers.
    var set: String { worker?.set ?? api.name }

    var isReady: Bool {
        phase == .running && !probes.isEmpty && probes.allSatisfy { $0 } && !activity.isClosed
            && containersRun
    }

    var containersRun: Bool { containers.values.allSatisfy { $0.state == .running } }

    var isPending: Bool {
        if case .pending = phase { return true }
        return false
    }

    /// When the pod or one of its containers is started next.
    var nextDue: Instant? {
        switch phase {
        case .startFailed(let retryAt): retryAt
        case .running: containers.values.filter { !$0.isRestarting }.compactMap(\.restartAt).min()
        case .pending, .starting, .stopping: nil
        }
    }

    /// The resources that it reserves on the machine.
    var amount: ComputeAmount { ComputeAmount(reservedBy: api.specification.pod) }

    var restarts: Int { containers.values.reduce(0) { $0 + $1.backoff.count } }

    func isCurrent(_ declared: DeployedAPI) -> Bool {
        worker != nil || podID == declared.podID && deploymentID == declared.deploymentID
    }

    /// The pod as the rollout sees it.
    ///
    /// A pod whose version is not recorded is probed as the declared version is, so it may fail its probes without
    /// being broken. It is always expected to recover.
    func rolloutReplica(isCurrent: Bool, now: Instant) -> RolloutReplica {
        // A container that exited is restarted soon.
        let mayRecover = phase == .running && wasReady && !isReady
        return RolloutReplica(
            id: id, isCurrent: isCurrent, isReady: isReady, isPending: isPending,
            unreadySince: mayRecover ? (isVersionKnown ? unreadySince : now) : nil,
            inFlight: activity.inFlight, youngestStart: activity.youngestStart, createdAt: createdAt)
    }
}

/// How `cortex describe` shows a pod (reference: cortex.md §11).
extension Pod {
    /// A replica that waits for space for longer than this is stalled.
    static let stalledAfter: Duration = .seconds(15 * 60)

    func status(isCurrent: Bool, now: Instant) -> ReplicaStatus {
        ReplicaStatus(
            id: id, state: state(isCurrent: isCurrent, now: now), reason: isReady ? nil : shownReason,
            restarts: restarts, startedAt: createdAt, inFlight: activity.inFlight,
            lastLines: isReady || phase == .stopping ? [] : lastLines,
            exitsInRow: exitsInRow, nextStart: nextDue.map { max(.zero, $0 - now) })
    }

    func state(isCurrent: Bool, now: Instant) -> ReplicaState {
        switch phase {
        case .pending(let since): return now - since > Self.stalledAfter ? .stalled : .pending
        case .stopping: return .terminating
        case .starting: return .creating
        case .startFailed:
            switch startFailure {
            case .image: return .errImagePull
            case .room: return .pending
            case .other, nil: return .failed
            }
        case .running: break
        }
        if isReady { return isCurrent ? .ready : .readyOutOfDate }
        let exits = containers.values.compactMap { container -> ContainerExit? in
            guard case .exited(let exit) = container.state else { return nil }
            return exit
        }
        if exits.contains(where: \.outOfMemory) { return .killedOOM }
        if exits.contains(where: { [129, 130, 137, 143].contains($0.code) }) { return .killed }
        return exits.isEmpty ? .notReady : .failed
    }

    /// The reason, and the exit of a container before it: a failing probe must not hide why the container was
    /// restarted.
    private var shownReason: String? {
        guard let lastExit, lastExit != reason else { return reason }
        guard let reason else { return lastExit }
        return "\(reason); before that, \(lastExit)"
    }
}

extension ContainerExit {
    /// The exit in one line, for messages.
    func sentence(of container: String) -> String {
        if outOfMemory { return "container \(container) ran out of memory (raise compute.mem)" }
        return "container \(container) exited with code \(code) (see its logs)"
    }
}

/// The delay before something that ended starts again: 1 s, doubling to 5 minutes, and 1 s again after it ran for 10
/// minutes (contract C14).
struct RestartBackoff: Sendable, Hashable {
    /// What ran for this long begins with the first delay again.
    static let healthy: Duration = .seconds(600)

    /// The number of ends so far.
    private(set) var count = 0
    private var backoff = Backoff(first: .seconds(1), longest: .seconds(300))

    /// Notes an end and returns the moment of the next start.
    ///
    /// - Parameter startedAt: when what ended had started; `nil` if it never did.
    mutating func ended(startedAt: Instant?, now: Instant) -> Instant {
        if let startedAt, now - startedAt >= Self.healthy { backoff.reset() }
        count += 1
        return now + backoff.next()
    }
}
