import Core
import HTTPServing
import Synchronization

/// What all waiting callers share.
final class WaitingCallers: Sendable {
    let store: any Store
    let clock: any PlatformClock
    let hub = WaiterHub()
    let gate = ReadLimiter(places: 64)

    init(store: any Store, clock: any PlatformClock) {
        self.store = store
        self.clock = clock
    }

    /// A caller that waits for a request to end, from now on.
    func enter(_ id: RequestID, api: String, within duration: Duration, caller: CallerPresence) -> LongPoll {
        LongPoll(id, api: api, within: duration, caller: caller, waiting: self)
    }
}

/// Waits for a request to end, without asking the store again and again: hints wake it, and a slow look makes up for a
/// lost hint.
///
/// One task at a time. It holds no task while it waits: `look`, and where that gives nothing, look again after
/// `whenReady`.
final class LongPoll: Sendable {
    /// Between two looks without a hint.
    static let recheck: Duration = .seconds(30)

    private let waiting: WaitingCallers
    private let api: String
    private let deadline: Instant
    private let caller: CallerPresence
    private let watch: Int
    private let waiter: Waiter
    private struct State {
        /// Whether it waits for a place at the gate, not for its request.
        var isQueued = false
        /// Whether it has a place at the gate.
        var hasPlace = false
    }
    private let state: Mutex<State>

    fileprivate init(
        _ id: RequestID, api: String, within duration: Duration, caller: CallerPresence, waiting: WaitingCallers
    ) {
        let waiter = waiting.hub.register(id)
        self.waiting = waiting
        self.api = api
        self.deadline = waiting.clock.instant() + duration
        self.caller = caller
        self.watch = caller.onEndOfInput { waiter.wake(.over) }
        self.waiter = waiter
        self.state = Mutex(State())
    }

    deinit {
        leave()
        caller.forget(watch)
        waiting.hub.remove(waiter)
    }

    /// What a look at the request finds.
    enum Finding: Sendable {
        /// The request as it stands: it has ended, the time is over, the caller has closed its sending side, or the
        /// server shuts down.
        case record(RequestRecord)
        /// It does not exist any more.
        case gone
        case stillWaiting
    }

    /// Reads the request, unless too many others do just now.
    ///
    /// - Throws: ``CallerGone``.
    nonisolated(nonsending) func look() async throws -> Finding {
        if caller.isGone { throw CallerGone() }
        guard enter() else { return .stillWaiting }
        defer { leave() }
        let wakeup = waiter.take()
        guard let record = try await waiting.store.read(waiter.id, api: api, now: waiting.clock.now()) else {
            return .gone
        }
        guard !record.status.isEnded, wakeup != .over, nextLook() != nil else { return .record(record) }
        return .stillWaiting
    }

    /// Calls `action` once, from any thread, when it is time for another look.
    func whenReady(_ action: @escaping @Sendable () -> Void) {
        let isQueued = state.withLock { state in
            defer { state.isQueued = false }
            return state.isQueued
        }
        guard !isQueued else {
            return waiting.gate.whenEntered {
                self.state.withLock { $0.hasPlace = true }
                action()
            }
        }
        waiting.hub.wake(waiter, at: nextLook() ?? waiting.clock.instant())
        waiter.whenWoken(action)
    }

    private func enter() -> Bool {
        state.withLock { state in
            if !state.hasPlace { state.hasPlace = waiting.gate.enter() }
            state.isQueued = !state.hasPlace
            return state.hasPlace
        }
    }

    private func leave() {
        let hadPlace = state.withLock { state in
            defer { state.hasPlace = false }
            return state.hasPlace
        }
        if hadPlace { waiting.gate.leave() }
    }

    /// `nil` when the time is over.
    private func nextLook() -> Instant? {
        let now = waiting.clock.instant()
        return now < deadline ? min(deadline, now + Self.recheck) : nil
    }
}
