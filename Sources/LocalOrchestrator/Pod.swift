import Core
import Support

/// What the orchestrator knows of one pod: an entry of its table. All changes happen on the orchestrator's actor.
struct Pod: Sendable {
    enum Phase: Sendable, Hashable {
        /// It waits for room on the machine; nothing of it exists.
        case pending(since: Instant)
        /// Images are being pulled or containers made.
        case starting
        /// It could not be started; another try begins at `retryAt`.
        case startFailed(retryAt: Instant)
        case running
        case stopping
    }

    /// Why a start failed, as far as its state shows it.
    enum StartFailure: Sendable, Hashable {
        case image
        /// The engine found less free than was declared.
        case room
        case other
    }

    let id: String
    /// The version it was started from, or a later one that changed nothing about pods. See ``isVersionKnown``.
    var api: DeployedAPI
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
    /// Why it is not ready, as the last thing that went wrong said it.
    var reason: String?
    /// How its containers last ended since it was ready.
    var lastExit: String?
    /// What went wrong with the container that is being stopped for its liveness probe.
    var livenessFailure: String?
    /// What its container wrote last, while it is not ready.
    var lastLines: [String] = []
    /// The same by container, as they were read.
    var excerpts: [String: LogExcerpt] = [:]
    /// When those were read; `nil` when they are to be read anew.
    var linesReadAt: Instant?
    /// Its `PodInit` died: there is nothing left to drain.
    var isLost = false
    /// Whether it was ever ready: one that never was holds no work that a long grace period could save.
    var wasReady = false
    /// Since when it is not ready.
    var unreadySince: Instant?
    /// Why its last start failed.
    var startFailure: StartFailure?
    /// Operations of the engine on this pod that are under way. Stopping the pod cancels them.
    var operations: [Int: Task<Void, any Error>] = [:]
    /// Ends the probes of this pod.
    var probing: AsyncStream<Never>.Continuation?
    /// Counts the rounds of probing, so that a late answer of an old round is not believed.
    var probeRound = 0

    struct Container: Sendable, Hashable {
        var state: ObservedContainer.State
        var backoff = RestartBackoff()
        var startedAt: Instant
        /// When it is started again; `nil` while it runs or a start is under way.
        var restartAt: Instant?
        var isRestarting = false
    }

    var isReady: Bool {
        phase == .running && !probes.isEmpty && probes.allSatisfy { $0 } && !activity.isClosed
            && containersRun
    }

    var containersRun: Bool { containers.values.allSatisfy { $0.state == .running } }

    var isPending: Bool {
        if case .pending = phase { return true }
        return false
    }

    /// When something about it is to be started next.
    var nextDue: Instant? {
        switch phase {
        case .startFailed(let retryAt): retryAt
        case .running: containers.values.filter { !$0.isRestarting }.compactMap(\.restartAt).min()
        case .pending, .starting, .stopping: nil
        }
    }

    /// What it reserves of the machine.
    var amount: ComputeAmount { ComputeAmount(reservedBy: api.specification.pod) }

    var restarts: Int { containers.values.reduce(0) { $0 + $1.backoff.count } }

    func isCurrent(_ declared: DeployedAPI) -> Bool {
        podID == declared.podID && deploymentID == declared.deploymentID
    }

    /// The pod as the rollout sees it.
    ///
    /// A pod whose version is not recorded may be unready only because it is probed by guess: it is never taken for
    /// broken.
    func rolloutReplica(isCurrent: Bool, now: Instant) -> RolloutReplica {
        // A container that exited is restarted soon.
        let isWavering = phase == .running && wasReady && !isReady
        return RolloutReplica(
            id: id, isCurrent: isCurrent, isReady: isReady, isPending: isPending,
            unreadySince: isWavering ? (isVersionKnown ? unreadySince : now) : nil,
            inFlight: activity.inFlight, youngestStart: activity.youngestStart, createdAt: createdAt)
    }
}
