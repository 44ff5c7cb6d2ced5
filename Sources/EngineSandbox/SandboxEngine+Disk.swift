import CPodInit
package import Core
import Foundation
import Support

/// What pods store in the data directory (contract N7).
extension SandboxEngine {
    /// One pod is measured at a time, on a thread that does nothing else.
    private static let pool = BlockingPool(threads: 1)

    package func diskUsage(pod: String, limit: Int64, upTo time: Duration?) async throws -> DiskUsage? {
        guard Self.isName(pod) else { return nil }
        let folder = folder(pod)
        return try await Self.pool.run {
            let deadline = time.map { cx_milliseconds() + $0.wholeMicroseconds / 1000 }
            var sum: Int64 = 0
            for path in [folder.shared, folder.path + "/rw", folder.client] where sum <= limit {
                let bytes = cx_tree_usage(path, limit - sum, deadline ?? .max)
                guard access(folder.path, F_OK) == 0 else { return nil }
                switch CInt(clamping: -bytes) {
                case ELOOP, EACCES, EPERM: return .unknown
                case 1...:
                    throw PlatformError(
                        .engineUnavailable,
                        "A pod's folder cannot be measured: \(String(cString: strerror(CInt(clamping: -bytes)))).")
                default: sum += bytes
                }
            }
            return .bytes(sum)
        }
    }
}
