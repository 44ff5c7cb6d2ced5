import Core
import ServiceLifecycle
import Support

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Gives memory back to the system that the C library keeps for later, once a minute. What a burst of requests leaves lies in pieces in the arenas of
/// many threads, where glibc lets it grow by several MiB with every million requests although nothing more is in use.
struct MemoryTrim: Service {
    static let period: Duration = .seconds(60)

    /// `malloc_trim` of the C library; `nil` where it has none.
    static let system: (@Sendable () -> Void)? = dlsym(nil, "malloc_trim").map { symbol in
        let trim = unsafeBitCast(symbol, to: (@convention(c) (Int) -> CInt).self)
        return { _ = trim(0) }
    }

    let clock: any PlatformClock
    var trim = Self.system

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while (try? await clock.sleep(for: Self.period)) != nil {
                // Some milliseconds, in which threads that allocate may wait: not on a thread of the pool for tasks.
                try? await blocking { trim?() }
            }
        }
    }
}
