import Core
import Synchronization

/// All callers that wait for a request to end (contract A5). One hub hears the store's hints; a waiter costs one object
/// and two table entries.
///
/// Times are kept in slots of a tenth of a second, so thousands of waiters need no timer each.
final class WaiterHub: Sendable {
    private struct State {
        var isClosed = false
        var lastNumber: UInt64 = 0
        var byRequest: [RequestID: [Waiter]] = [:]
        var bySlot: [Int64: [UInt64: Waiter]] = [:]
    }

    /// The step of ``tick(now:)``.
    static let step: Duration = .milliseconds(100)

    private let state = Mutex(State())

    /// How many wait now.
    var count: Int { state.withLock { $0.byRequest.values.reduce(0) { $0 + $1.count } } }

    /// From now on `id`'s end is noticed. Each waiter needs a `remove`.
    func register(_ id: RequestID) -> Waiter {
        let (waiter, isClosed) = state.withLock { state in
            state.lastNumber += 1
            let waiter = Waiter(id: id, number: state.lastNumber)
            state.byRequest[id, default: []].append(waiter)
            return (waiter, state.isClosed)
        }
        if isClosed { waiter.wake(.over) }
        return waiter
    }

    func remove(_ waiter: Waiter) {
        state.withLock { state in
            state.byRequest[waiter.id]?.removeAll { $0 === waiter }
            if state.byRequest[waiter.id]?.isEmpty == true { state.byRequest[waiter.id] = nil }
            Self.clearSlot(of: waiter, in: &state)
        }
    }

    /// From now on the waiter is woken at `deadline` too, in place of an earlier wish.
    func wake(_ waiter: Waiter, at deadline: Instant) {
        state.withLock { state in
            Self.clearSlot(of: waiter, in: &state)
            // Rounded up: never woken before its time.
            let slot = Self.slot(of: deadline) + 1
            waiter.slot.withLock { $0 = slot }
            state.bySlot[slot, default: [:]][waiter.number] = waiter
        }
    }

    /// Wakes the callers that wait for one of these.
    func ended(_ ids: Set<RequestID>) {
        let woken = state.withLock { state -> [Waiter] in
            guard !state.byRequest.isEmpty else { return [] }
            return ids.flatMap { state.byRequest[$0] ?? [] }
        }
        for waiter in woken { waiter.wake(.ended) }
    }

    /// Wakes all waiters: hints may have been lost.
    func lookAll() {
        let all = state.withLock { state in state.byRequest.values.flatMap { $0 } }
        for waiter in all { waiter.wake(.time) }
    }

    /// Wakes the callers whose time has come.
    func tick(now: Instant) {
        let due = state.withLock { state -> [Waiter] in
            let present = Self.slot(of: now)
            let slots = state.bySlot.keys.filter { $0 <= present }
            return slots.flatMap { slot -> [Waiter] in
                let waiters = Array(state.bySlot.removeValue(forKey: slot)?.values ?? [:].values)
                for waiter in waiters { waiter.slot.withLock { $0 = nil } }
                return waiters
            }
        }
        for waiter in due { waiter.wake(.time) }
    }

    /// Ends all waiting, now and later: the server is shutting down.
    func close() {
        let all = state.withLock { state -> [Waiter] in
            state.isClosed = true
            return state.byRequest.values.flatMap { $0 }
        }
        for waiter in all { waiter.wake(.over) }
    }

    private static func clearSlot(of waiter: Waiter, in state: inout State) {
        let slot = waiter.slot.withLock { slot in
            defer { slot = nil }
            return slot
        }
        guard let slot else { return }
        state.bySlot[slot]?[waiter.number] = nil
        if state.bySlot[slot]?.isEmpty == true { state.bySlot[slot] = nil }
    }

    private static func slot(of time: Instant) -> Int64 {
        time.microseconds / step.wholeMicroseconds
    }
}
