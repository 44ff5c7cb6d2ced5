package import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Reads files that the kernel makes when they are read (`/proc`, `/sys`): their size is 0 beforehand.
///
/// Foundation of Swift 6.3 leaks a buffer for each such file that it reads, and a platform that starts and stops pods
/// reads thousands of them.
package enum KernelFile {
    private static let step = 4096

    /// The whole content; `nil` when it cannot be read.
    package static func read(_ path: String) -> Data? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        while true {
            var count = 0
            let piece = [UInt8](unsafeUninitializedCapacity: step) { buffer, initialized in
                count = readBytes(descriptor, buffer)
                initialized = max(0, count)
            }
            if count == 0 { return Data(bytes) }
            if count < 0 {
                guard errno == EINTR else { return nil }
                continue
            }
            bytes += piece
        }
    }
}

// The type's own function has this name too.
private func readBytes(_ descriptor: CInt, _ buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
    read(descriptor, buffer.baseAddress, buffer.count)
}
