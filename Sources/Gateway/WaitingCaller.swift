import Core
import DequeModule
import HTTPServing
import Synchronization

/// A caller that waits for a request to end (contract A5). It does not poll the store: hints wake it, and an occasional
/// read makes up for a lost hint.
///
/// Used by one task at a time, and holds no task while it waits: its connection is parked. Ends its waiting when it is
/// released.
final class WaitingCaller: PendingReply {
    /// Between two reads without a hint.
    static let recheck: Duration = .seconds(30)

    /// Its permission of the ``ReadLimiter``.
    private enum Permission {
        case none
        /// It was refused one; to be asked for before the next read.
        case refused
        case held
    }

    private let waiting: WaitingCallers
    private let entry: WaitingCallers.Entry
    private let api: String
    private let deadline: Instant
    private let caller: CallerPresence
    private let presence: Int
    private let form: AnswerForm
    private let permission = Mutex(Permission.none)

    /// - Parameter form: how the request is answered when the wait is over.
    init(
        _ entry: WaitingCallers.Entry, api: String, within duration: Duration, caller: CallerPresence,
        form: AnswerForm, waiting: WaitingCallers
    ) {
        self.waiting = waiting
        self.entry = entry
        self.api = api
        self.deadline = waiting.clock.instant() + duration
        self.caller = caller
        self.presence = caller.onEndOfInput { entry.wake(.over) }
        self.form = form
    }

    deinit {
        leave()
        caller.forget(presence)
        waiting.remove(entry)
    }

    /// The answer, or another wait.
    ///
    /// - Throws: ``CallerGone``; ``PlatformError`` `not_found`; errors of the store.
    nonisolated(nonsending) func reply() async throws -> HTTPReply {
        switch try await look() {
        case .record(let record): .response(try await form.response(record, from: waiting.store))
        case .gone: throw AsyncAPI.unknownRequest
        case .stillWaiting: .pending(self)
        }
    }

    /// Calls `action` once, from any thread, when it is time to read the request again.
    func whenReady(_ action: @escaping @Sendable () -> Void) {
        let wasRefused = permission.withLock { permission in
            guard permission == .refused else { return false }
            permission = .none
            return true
        }
        guard !wasRefused else {
            return waiting.reads.whenEntered {
                self.permission.withLock { $0 = .held }
                action()
            }
        }
        waiting.wake(entry, at: nextRead() ?? waiting.clock.instant())
        entry.whenWoken(action)
    }

    /// The result of reading the request.
    enum Finding: Sendable {
        /// The request as it stands: it has ended, the time is over, the caller has closed its sending side, or the
        /// server is shutting down.
        case record(RequestRecord)
        /// It does not exist any more.
        case gone
        case stillWaiting
    }

    /// Reads the request, unless too many other callers read at the moment.
    ///
    /// - Throws: ``CallerGone``; errors of the store.
    nonisolated(nonsending) func look() async throws -> Finding {
        if caller.isGone { throw CallerGone() }
        guard enter() else { return .stillWaiting }
        defer { leave() }
        let wakeup = entry.take()
        guard let record = try await waiting.store.read(entry.id, api: api, now: waiting.clock.now()) else {
            return .gone
        }
        guard !record.status.isEnded, wakeup != .over, nextRead() != nil else { return .record(record) }
        return .stillWaiting
    }

    private func enter() -> Bool {
        permission.withLock { permission in
            if permission != .held { permission = waiting.reads.enter() ? .held : .refused }
            return permission == .held
        }
    }

    private func leave() {
        let wasHeld = permission.withLock { permission in
            guard permission == .held else { return false }
            permission = .none
            return true
        }
        if wasHeld { waiting.reads.leave() }
    }

    /// `nil` when the time is over.
    private func nextRead() -> Instant? {
        let now = waiting.clock.instant()
        return now < deadline ? min(deadline, now + Self.recheck) : nil
    }
}

/// Limits concurrent reads of the store by waiting callers; an excess caller is called back, and holds no task until
/// then.
///
/// Without it thousands of callers that begin to wait at once, or whose requests end at once, would have a task each
/// for that moment. Safe from any thread.
final class ReadLimiter: Sendable {
    private struct State {
        var free: Int
        /// In the order of asking.
        var waiting: Deque<@Sendable () -> Void> = []
    }

    private let state: Mutex<State>

    init(limit: Int) {
        self.state = Mutex(State(free: limit))
    }

    /// Takes a permission, to be returned with ``leave()``.
    ///
    /// - Returns: whether there was one.
    func enter() -> Bool {
        state.withLock { state in
            guard state.free > 0 else { return false }
            state.free -= 1
            return true
        }
    }

    /// Calls `action` once with a permission that was taken for it, at once or later, in the order of asking.
    func whenEntered(_ action: @escaping @Sendable () -> Void) {
        let isFree = state.withLock { state -> Bool in
            guard state.free > 0 else {
                state.waiting.append(action)
                return false
            }
            state.free -= 1
            return true
        }
        if isFree { action() }
    }

    func leave() {
        let action = state.withLock { state -> (@Sendable () -> Void)? in
            if let next = state.waiting.popFirst() { return next }
            // Releases the memory of a long queue.
            state.waiting = []
            state.free += 1
            return nil
        }
        action?()
    }
}
