import Core

/// What the orchestrator knows of one pod: an entry of its table. All changes happen on the orchestrator's actor.
struct Pod: Sendable {
    enum Phase: Sendable, Hashable {
        /// Images are being pulled or containers made.
        case starting
        /// It could not be started; another try begins at `retryAt`.
        case startFailed(retryAt: Timestamp)
        case running
        case stopping
    }

    let id: String
    /// The version it was made from; for an adopted pod of an older one, the declared version stands in.
    var api: DeployedAPI
    /// The engine's labels, which tell whether the pod is of the declared version.
    var podID: String
    var deploymentID: String
    let createdAt: Timestamp
    let plan: PodPlan
    var phase: Phase
    let activity = ReplicaActivity()
    var startBackoff = RestartBackoff()
    var containers: [String: Container] = [:]
    /// One entry per gating probe; ready means all are true.
    var probes: [Bool] = []
    /// Why it is not ready, as the last thing that went wrong said it.
    var reason: String?
    /// Its `PodInit` died: there is nothing left to drain.
    var isLost = false
    /// Whether it was ever ready: one that never was holds no work that a long grace period could save.
    var wasReady = false
    /// Distinguishes the failure to get an image from other failures to start.
    var imageFailed = false
    /// Ends the probes of this pod.
    var probing: AsyncStream<Never>.Continuation?
    /// Counts the rounds of probing, so that a late answer of an old round is not believed.
    var probeRound = 0

    struct Container: Sendable, Hashable {
        var state: ObservedContainer.State
        var backoff = RestartBackoff()
        var startedAt: Timestamp
        /// When it is started again; `nil` while it runs or a start is under way.
        var restartAt: Timestamp?
        var isRestarting = false
    }

    var isReady: Bool {
        phase == .running && !probes.isEmpty && probes.allSatisfy { $0 } && !activity.isClosed
            && containers.values.allSatisfy { $0.state == .running }
    }

    var restarts: Int { containers.values.reduce(0) { $0 + $1.backoff.count } }

    func isCurrent(_ declared: DeployedAPI) -> Bool {
        podID == declared.podID && deploymentID == declared.deploymentID
    }

    /// The state that `cortex describe` shows (reference: cortex.md §11).
    func state(isCurrent: Bool) -> ReplicaState {
        switch phase {
        case .stopping: return .terminating
        case .starting: return .creating
        case .startFailed: return imageFailed ? .errImagePull : .failed
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
}
