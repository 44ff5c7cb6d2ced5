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

/// Releases memory that the C library keeps, once a minute. After a burst of requests the memory is fragmented in the
/// arenas of many threads; glibc lets it grow by several MiB with every million requests although no more is in use.
struct MemoryTrim: Service {
    static let period: Duration = .seconds(60)

    /// `malloc_trim` of the C library; `nil` if it has none.
    static let system: (@Sendable () -> Void)? = dlsym(nil, "malloc_trim").map { symbol in
        let trim = unsafeBitCast(symbol, to: (@convention(c) (Int) -> CInt).self)
        return { _ = trim(0) }
    }

    let clock: any PlatformClock
    var trim = Self.system

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while (try? await clock.sleep(for: Self.period)) != nil {
                // Takes some milliseconds, in which threads that allocate may wait: not on the cooperative pool.
                try? await blocking { trim?() }
            }
        }
    }
}

/// Raises the limit of open files of this process to the maximum: each waiting caller and each request inside a
/// container needs a descriptor.
enum DescriptorLimit {
    /// - Returns: the current limit.
    @discardableResult
    static func raise(logger: Logger) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        let before = Int(clamping: limit.rlim_cur)
        guard limit.rlim_cur < limit.rlim_max else { return before }
        limit.rlim_cur = limit.rlim_max
        if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) != 0 {
            logger.warning("the limit of open files stays low; many simultaneous callers may be refused")
            return before
        }
        return Int(clamping: limit.rlim_max)
    }
}
