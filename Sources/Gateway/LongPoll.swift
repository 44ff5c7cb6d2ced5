import Core
import HTTPServing

/// Waits for a request to end, without asking the store again and again: hints wake it, and a slow look makes up for a lost hint.
struct LongPoll: Sendable {
    let store: any Store
    let clock: any PlatformClock
    let hub: WaiterHub

    /// Between two looks without a hint.
    static let recheck: Duration = .seconds(30)

    /// The request as it stands when it ends, when the time is over, when the caller leaves or when the server shuts down.
    ///
    /// - Parameters:
    ///   - waiter: registered before `record` was true, so that no end falls between the two.
    ///   - record: the request as it was last seen.
    /// - Returns: `nil` when it does not exist any more.
    func end(
        of record: RequestRecord, waiter: Waiter, within duration: Duration, caller: CallerPresence
    ) async throws -> RequestRecord? {
        var deadline = clock.now() + duration
        let watch = caller.onGone { waiter.wake(.over) }
        defer { caller.forget(watch) }
        var record = record
        while !record.status.isEnded {
            let now = clock.now()
            // Further away only after the clock was set back.
            deadline = min(deadline, now + duration)
            guard now < deadline else { break }
            let wakeup = await hub.wait(waiter, until: min(deadline, now + Self.recheck))
            if caller.isGone { throw CallerGone() }
            guard let fresh = try await store.read(record.id, api: record.api, now: clock.now()) else { return nil }
            record = fresh
            if wakeup == .over { break }
        }
        return record
    }
}
