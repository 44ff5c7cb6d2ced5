import Synchronization

/// Whether the caller at the other end of a connection is still there.
///
/// A caller that has closed its sending side counts as gone, as it does for other servers: nobody can tell the two apart before writing.
package final class CallerPresence: Sendable {
    private struct State {
        var isGone = false
        var isLeaving = false
        var next = 0
        /// Hardly ever more than one.
        var actions: [(id: Int, run: @Sendable () -> Void)] = []
    }

    private let state = Mutex(State())

    package init() {}

    package var isGone: Bool { state.withLock { $0.isGone } }

    /// Whether this server is shutting down and closes the connection after the present answer.
    var isLeaving: Bool { state.withLock { $0.isLeaving } }

    /// Runs `action` once when the caller goes; at once if it has gone. It must not block.
    ///
    /// - Returns: what `forget` takes.
    package func onGone(_ action: @escaping @Sendable () -> Void) -> Int {
        let (id, now) = state.withLock { state -> (Int, Bool) in
            state.next += 1
            if !state.isGone { state.actions.append((state.next, action)) }
            return (state.next, state.isGone)
        }
        if now { action() }
        return id
    }

    package func forget(_ id: Int) {
        state.withLock { state in state.actions.removeAll { $0.id == id } }
    }

    func leave() {
        state.withLock { $0.isLeaving = true }
    }

    func goAway() {
        let actions = state.withLock { state -> [@Sendable () -> Void] in
            state.isGone = true
            defer { state.actions = [] }
            return state.actions.map(\.run)
        }
        for action in actions { action() }
    }
}

/// The caller closed the connection before it had sent its request. There is nobody left to answer.
package struct CallerGone: Error, Sendable {
    package init() {}
}
