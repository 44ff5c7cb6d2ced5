/// Civil time and waiting, handed to everything below `Commands`, so that tests and the simulation own both.
package protocol PlatformClock: Sendable {
    /// The present moment.
    func now() -> Timestamp

    /// Returns after `duration` of this clock's time.
    ///
    /// - Throws: `CancellationError` as soon as the calling task is cancelled.
    func sleep(for duration: Duration) async throws
}
