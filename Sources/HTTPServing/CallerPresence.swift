import Synchronization

/// Whether the caller at the other end of a connection can still send, and whether it can still be answered.
///
/// A caller that has closed its sending side may still read an answer (contract A5). Until something is written to it,
/// it cannot be told from one that has closed both sides. Safe from any thread.
package final class CallerPresence: Sendable {
    private struct Action {
        let id: Int
        let isForEndOfInput: Bool
        let run: @Sendable () -> Void
    }

    private struct State {
        var isGone = false
        var hasFinished = false
        var isLeaving = false
        var next = 0
        /// Hardly ever more than one.
        var actions: [Action] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// Whether the connection is closed: no answer can reach the caller.
    package var isGone: Bool { state.withLock { $0.isGone } }

    /// Whether the caller has closed its sending side, or the connection.
    package var hasFinished: Bool { state.withLock { $0.hasFinished } }

    /// Whether this server is shutting down and closes the connection after the present answer.
    var isLeaving: Bool { state.withLock { $0.isLeaving } }

    /// Runs `action` once when the connection is closed; at once if it is. It must not block.
    ///
    /// - Returns: what `forget` takes.
    package func onGone(_ action: @escaping @Sendable () -> Void) -> Int {
        add(action, isForEndOfInput: false)
    }

    /// Runs `action` once when the caller closes its sending side or the connection; at once if it has. It must not
    /// block.
    ///
    /// For answers that could wait without end: a caller that has finished gets what there is.
    ///
    /// - Returns: what `forget` takes.
    package func onEndOfInput(_ action: @escaping @Sendable () -> Void) -> Int {
        add(action, isForEndOfInput: true)
    }

    /// Withdraws the action of that id.
    package func forget(_ id: Int) {
        state.withLock { state in state.actions.removeAll { $0.id == id } }
    }

    func leave() {
        state.withLock { $0.isLeaving = true }
    }

    /// The caller closed its sending side.
    func finish() {
        let actions = state.withLock { state -> [Action] in
            state.hasFinished = true
            let due = state.actions.filter(\.isForEndOfInput)
            state.actions.removeAll(where: \.isForEndOfInput)
            return due
        }
        for action in actions { action.run() }
    }

    /// The connection is closed.
    func goAway() {
        let actions = state.withLock { state -> [Action] in
            state.hasFinished = true
            state.isGone = true
            defer { state.actions = [] }
            return state.actions
        }
        for action in actions { action.run() }
    }

    private func add(_ action: @escaping @Sendable () -> Void, isForEndOfInput: Bool) -> Int {
        let (id, isDue) = state.withLock { state -> (Int, Bool) in
            state.next += 1
            let isDue = isForEndOfInput ? state.hasFinished : state.isGone
            if !isDue { state.actions.append(Action(id: state.next, isForEndOfInput: isForEndOfInput, run: action)) }
            return (state.next, isDue)
        }
        if isDue { action() }
        return id
    }
}

/// The caller closed the connection before it had sent its request. There is no caller left to answer.
package struct CallerGone: Error, Sendable {
    package init() {}
}
