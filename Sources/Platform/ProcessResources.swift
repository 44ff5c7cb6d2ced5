import Core
import Logging
import ServiceLifecycle
import Support

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Gives memory back to the system that the C library keeps for later, once a minute. What a burst of requests leaves
/// lies in pieces in the arenas of many threads, where glibc lets it grow by several MiB with every million requests
/// although nothing more is in use.
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

/// Lets this process open as many descriptors as the system allows it to: a caller that waits and a request inside a
/// container each take one.
enum DescriptorLimit {
    /// - Returns: the limit that holds now.
    @discardableResult
    static func raise(logger: Logger) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        let before = Int(clamping: limit.rlim_cur)
        guard limit.rlim_cur < limit.rlim_max else { return before }
        limit.rlim_cur = limit.rlim_max
        if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
            logger.warning("the limit of open files stays low; many callers at once may be refused")
            return before
        }
        return Int(clamping: limit.rlim_max)
    }
}
