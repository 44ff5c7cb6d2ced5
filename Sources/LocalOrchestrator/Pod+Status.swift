import Core

/// How a pod shows in `cortex describe` (reference: cortex.md §11).
extension Pod {
    /// A replica that waits for room longer than this is stalled.
    static let stalledAfter: Duration = .seconds(15 * 60)

    func status(isCurrent: Bool, now: Instant) -> ReplicaStatus {
        ReplicaStatus(
            id: id, state: state(isCurrent: isCurrent, now: now), reason: isReady ? nil : shownReason,
            restarts: restarts, startedAt: createdAt, inFlight: activity.inFlight,
            lastLines: isReady || phase == .stopping ? [] : lastLines)
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

    /// A probe that fails after a restart does not hide why the container was restarted.
    private var shownReason: String? {
        guard let lastExit, lastExit != reason else { return reason }
        guard let reason else { return lastExit }
        return "\(reason); before that, \(lastExit)"
    }
}

extension ContainerExit {
    /// In one line, for people.
    func sentence(of container: String) -> String {
        if outOfMemory { return "container \(container) ran out of memory (raise compute.mem)" }
        return "container \(container) exited with code \(code) (see its logs)"
    }
}
