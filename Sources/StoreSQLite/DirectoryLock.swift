import Core
import Foundation
import Synchronization

/// The right to use a data directory: a lock of the operating system on a file in it, released with the end of the
/// process.
final class DirectoryLock: Sendable {
    private let descriptor: Mutex<Int32?>

    init(_ directory: DataDirectory) throws {
        let descriptor = Glibc.open(directory.lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw PlatformError(
                .setup,
                "The data directory cannot be written. Check its permissions and its disk, or choose another with --data-dir.",
                cause: StoreFailure.SystemCall("open lock"))
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let cause = StoreFailure.SystemCall("flock")
            let holder = Self.holder(descriptor)
            Glibc.close(descriptor)
            throw PlatformError(
                .setup,
                "Another cortex\(holder) uses this data directory. Stop it first, or choose another directory with --data-dir.",
                cause: cause)
        }
        // The number is only for people, so a failure to write it is no reason to refuse.
        let text = Array("\(getpid())\n".utf8)
        if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.count, 0) }
        self.descriptor = Mutex(descriptor)
    }

    /// Releases the lock. A second call does nothing.
    func release() {
        descriptor.withLock { descriptor in
            if let open = descriptor { Glibc.close(open) }
            descriptor = nil
        }
    }

    deinit { release() }

    private static func holder(_ descriptor: Int32) -> String {
        var bytes = [UInt8](repeating: 0, count: 20)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        let digits = bytes.prefix(max(0, count)).prefix { $0 >= 48 && $0 <= 57 }
        return digits.isEmpty ? "" : " (process \(String(decoding: digits, as: UTF8.self)))"
    }
}
