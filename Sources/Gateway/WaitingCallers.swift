import Core
import HTTPServing
import Synchronization

/// All callers that wait for a request to end (contract A5). The store's hints wake them; a waiting caller costs one
/// object and two table entries here. Safe from any thread.
///
/// Times are kept in slots of a tenth of a second, so thousands of waiting callers need no timer each.
final class WaitingCallers: Sendable {
    /// A waiting caller in the tables. Woken by whatever happens first; a wake-up that comes before the wait is kept.
    ///
    /// An object of its own, because the tables keep it alive: a ``WaitingCaller`` ends with its connection, and then
    /// removes its entry.
    final class Entry: Sendable {
        enum Wakeup: Sendable {
            /// The store reports that the request ended.
            case ended
            /// The time to read the request again, or the end of the wait, has come.
            case time
            /// The caller has closed its sending side, or the server is shutting down.
            case over
        }

        private struct State {
            var wakeup: Wakeup?
            var action: (@Sendable () -> Void)?
            /// The time slot in which the entry stands. Changed only while the lock of the tables is held.
            var slot: Int64?
        }

        let id: RequestID
        /// Its key within a time slot.
        let number: UInt64
        private let state = Mutex(State())

        fileprivate init(id: RequestID, number: UInt64) {
            self.id = id
            self.number = number
        }

        func wake(_ wakeup: Wakeup) {
            let action = state.withLock { state -> (@Sendable () -> Void)? in
                if state.wakeup != .over { state.wakeup = wakeup }
                return state.action.take()
            }
            action?()
        }

        /// Calls `action` once when there is a wake-up to take; at once if there is one.
        func whenWoken(_ action: @escaping @Sendable () -> Void) {
            let isWoken = state.withLock { state -> Bool in
                guard state.wakeup == nil else { return true }
                state.action = action
                return false
            }
            if isWoken { action() }
        }

        /// The wake-up, if there is one. `over` remains.
        func take() -> Wakeup? {
            state.withLock { state in
                defer { if state.wakeup != .over { state.wakeup = nil } }
                return state.wakeup
            }
        }

        /// - Returns: the slot before.
        fileprivate func move(to slot: Int64?) -> Int64? {
            state.withLock { state in
                defer { state.slot = slot }
                return state.slot
            }
        }
    }

    private struct Tables {
        var isClosed = false
        var lastNumber: UInt64 = 0
        var byRequest: [RequestID: [Entry]] = [:]
        var bySlot: [Int64: [UInt64: Entry]] = [:]

        mutating func clearSlot(of entry: Entry) {
            guard let slot = entry.move(to: nil) else { return }
            bySlot[slot]?[entry.number] = nil
            if bySlot[slot]?.isEmpty == true { bySlot[slot] = nil }
        }
    }

    /// The step of ``tick(now:)``.
    static let step: Duration = .milliseconds(100)

    let store: any Store
    let clock: any PlatformClock
    let reads = ReadLimiter(limit: 64)
    private let tables = Mutex(Tables())

    init(store: any Store, clock: any PlatformClock) {
        self.store = store
        self.clock = clock
    }

    /// The number of waiting callers.
    var count: Int { tables.withLock { $0.byRequest.values.reduce(0) { $0 + $1.count } } }

    /// A caller that waits for a request to end, from now on.
    func enter(
        _ id: RequestID, api: String, within duration: Duration, caller: CallerPresence, form: AnswerForm = .init()
    ) -> WaitingCaller {
        WaitingCaller(register(id), api: api, within: duration, caller: caller, form: form, waiting: self)
    }

    /// From now on the end of `id` is noticed. Each entry needs a ``remove(_:)``.
    func register(_ id: RequestID) -> Entry {
        let (entry, isClosed) = tables.withLock { tables in
            tables.lastNumber += 1
            let entry = Entry(id: id, number: tables.lastNumber)
            tables.byRequest[id, default: []].append(entry)
            return (entry, tables.isClosed)
        }
        if isClosed { entry.wake(.over) }
        return entry
    }

    func remove(_ entry: Entry) {
        tables.withLock { tables in
            tables.byRequest[entry.id]?.removeAll { $0 === entry }
            if tables.byRequest[entry.id]?.isEmpty == true { tables.byRequest[entry.id] = nil }
            tables.clearSlot(of: entry)
        }
    }

    /// Wakes the entry at `deadline` too; replaces an earlier deadline.
    func wake(_ entry: Entry, at deadline: Instant) {
        tables.withLock { tables in
            tables.clearSlot(of: entry)
            // Rounded up: never woken before its time.
            let slot = Self.slot(of: deadline) + 1
            _ = entry.move(to: slot)
            tables.bySlot[slot, default: [:]][entry.number] = entry
        }
    }

    /// Wakes the callers that wait for one of these requests.
    func ended(_ ids: Set<RequestID>) {
        let woken = tables.withLock { tables -> [Entry] in
            guard !tables.byRequest.isEmpty else { return [] }
            return ids.flatMap { tables.byRequest[$0] ?? [] }
        }
        for entry in woken { entry.wake(.ended) }
    }

    /// Wakes all callers: hints may have been lost.
    func wakeAll() {
        let all = tables.withLock { tables in tables.byRequest.values.flatMap { $0 } }
        for entry in all { entry.wake(.time) }
    }

    /// Wakes the callers whose time has come.
    func tick(now: Instant) {
        let due = tables.withLock { tables -> [Entry] in
            let present = Self.slot(of: now)
            let slots = tables.bySlot.keys.filter { $0 <= present }
            return slots.flatMap { slot -> [Entry] in
                let entries = Array(tables.bySlot.removeValue(forKey: slot)?.values ?? [:].values)
                for entry in entries { _ = entry.move(to: nil) }
                return entries
            }
        }
        for entry in due { entry.wake(.time) }
    }

    /// Ends all waiting, now and later: the server is shutting down.
    func close() {
        let all = tables.withLock { tables -> [Entry] in
            tables.isClosed = true
            return tables.byRequest.values.flatMap { $0 }
        }
        for entry in all { entry.wake(.over) }
    }

    private static func slot(of time: Instant) -> Int64 {
        time.microseconds / step.wholeMicroseconds
    }
}
