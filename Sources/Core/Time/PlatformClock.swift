/// Civil time, passing time and waiting, handed to everything below `Commands`, so that tests and the simulation own both.
package protocol PlatformClock: Sendable {
    /// The present moment by the calendar. Whoever keeps the machine may set it forward or back at any time.
    func now() -> Timestamp

    /// The present moment on a clock that only runs: what deadlines inside this process go by.
    func instant() -> Instant

    /// Returns after `duration`, however the calendar is set meanwhile.
    ///
    /// - Throws: `CancellationError` as soon as the calling task is cancelled.
    func sleep(for duration: Duration) async throws
}
