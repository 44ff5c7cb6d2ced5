import Foundation
import Logging

/// Lets this process open as many descriptors as the system allows it to: a caller that waits and a request inside a container each take one.
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
