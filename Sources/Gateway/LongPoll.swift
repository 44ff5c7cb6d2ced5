import Core
import HTTPServing
import Synchronization

/// What all waiting callers share.
final class WaitingRoom: Sendable {
    let store: any Store
    let clock: any PlatformClock
    let hub = WaiterHub()

    init(store: any Store, clock: any PlatformClock) {
        self.store = store
        self.clock = clock
    }

    /// A caller that waits for a request to end, from now on.
    func enter(_ id: RequestID, api: String, within duration: Duration, caller: CallerPresence) -> LongPoll {
        LongPoll(id, api: api, within: duration, caller: caller, room: self)
    }
}

/// Waits for a request to end, without asking the store again and again: hints wake it, and a slow look makes up for a lost hint.
///
/// One task at a time. It holds no task while it waits: `look`, and where that gives nothing, look again after `whenReady`.
final class LongPoll: Sendable {
    /// Between two looks without a hint.
    static let recheck: Duration = .seconds(30)

    private let room: WaitingRoom
    private let api: String
    private let duration: Duration
    private let caller: CallerPresence
    private let watch: Int
    private let waiter: Waiter
    private let deadline: Mutex<Timestamp>

    fileprivate init(
        _ id: RequestID, api: String, within duration: Duration, caller: CallerPresence, room: WaitingRoom
    ) {
        let waiter = room.hub.register(id)
        self.room = room
        self.api = api
        self.duration = duration
        self.caller = caller
        self.watch = caller.onGone { waiter.wake(.over) }
        self.waiter = waiter
        self.deadline = Mutex(room.clock.now() + duration)
    }

    deinit {
        caller.forget(watch)
        room.hub.remove(waiter)
    }

    /// What a look at the request finds.
    enum Finding: Sendable {
        /// The request as it stands, when it has ended, when the time is over, or when the server shuts down.
        case record(RequestRecord)
        /// It does not exist any more.
        case gone
        case stillWaiting
    }

    /// Reads the request.
    ///
    /// - Throws: ``CallerGone``.
    nonisolated(nonsending) func look() async throws -> Finding {
        let wakeup = waiter.take()
        if caller.isGone { throw CallerGone() }
        guard let record = try await room.store.read(waiter.id, api: api, now: room.clock.now()) else { return .gone }
        guard !record.status.isEnded, wakeup != .over, nextLook() != nil else { return .record(record) }
        return .stillWaiting
    }

    /// Calls `action` once, from any thread, when it is time for another look.
    func whenReady(_ action: @escaping @Sendable () -> Void) {
        room.hub.wake(waiter, at: nextLook() ?? room.clock.now())
        waiter.whenWoken(action)
    }

    /// `nil` when the time is over.
    private func nextLook() -> Timestamp? {
        let now = room.clock.now()
        let deadline = deadline.withLock { deadline in
            // Further away only after the clock was set back.
            deadline = min(deadline, now + duration)
            return deadline
        }
        return now < deadline ? min(deadline, now + Self.recheck) : nil
    }
}
