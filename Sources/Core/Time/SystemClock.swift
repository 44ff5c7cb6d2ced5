#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The machine's own clock. Only `Commands` and tests that talk to real processes make one.
package struct SystemClock: PlatformClock {
    package init() {}

    package func now() -> Timestamp { Timestamp(microseconds: Self.read(CLOCK_REALTIME)) }

    package func instant() -> Instant { Instant(microseconds: Self.read(CLOCK_MONOTONIC)) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }

    package func sleep(for duration: Duration) async throws {
        try await Task.sleep(for: duration, clock: .continuous)
    }
}
