import AsyncHTTPClient
import Core
import Foundation
package import NIOCore
import NIOPosix

/// The body of a submitted request.
package enum PayloadSource: Sendable {
    case bytes(ByteBuffer)
    /// A file or stream that is open for reading, sent from its present position. `length` is known for a regular file.
    case descriptor(CInt, length: Int64?)

    /// Opens a file. The caller closes the descriptor.
    ///
    /// - Throws: ``PlatformError`` `usage` when it cannot be read.
    package static func open(path: String) throws -> (payload: PayloadSource, descriptor: CInt) {
        let descriptor = Foundation.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw PlatformError(.notFound, "\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT != S_IFDIR else {
            close(descriptor)
            throw PlatformError(.notFound, "\(path) is a folder; name a file")
        }
        let isRegular = information.st_mode & S_IFMT == S_IFREG
        return (.descriptor(descriptor, length: isRegular ? Int64(information.st_size) : nil), descriptor)
    }

    var body: HTTPClientRequest.Body {
        switch self {
        case .bytes(let buffer): .bytes(buffer)
        case .descriptor(let descriptor, let length):
            .stream(
                FileChunks(descriptor: descriptor, length: length), length: length.map { .known($0) } ?? .unknown)
        }
    }
}

/// A file's bytes in chunks, read on a thread that may block. With a length, exactly that many bytes: one that shrinks
/// meanwhile is an error.
struct FileChunks: AsyncSequence, Sendable {
    let descriptor: CInt
    let length: Int64?

    static let chunk = 256 * 1024

    func makeAsyncIterator() -> Iterator {
        Iterator(descriptor: descriptor, rest: length)
    }

    struct Iterator: AsyncIteratorProtocol {
        let descriptor: CInt
        var rest: Int64?

        mutating func next() async throws -> ByteBuffer? {
            let wanted = Int(Swift.min(rest ?? .max, Int64(FileChunks.chunk)))
            guard wanted > 0 else { return nil }
            let descriptor = descriptor
            let buffer = try await NIOThreadPool.singleton.runIfActive { () throws -> ByteBuffer in
                var buffer = ByteBuffer()
                let count = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { space in
                    while true {
                        let count = read(descriptor, space.baseAddress, wanted)
                        if count < 0, errno == EINTR { continue }
                        guard count >= 0 else {
                            throw PlatformError(
                                .setup, "the payload cannot be read: \(String(cString: strerror(errno)))")
                        }
                        return count
                    }
                }
                _ = count
                return buffer
            }
            if buffer.readableBytes == 0 {
                guard (rest ?? 0) == 0 else {
                    throw PlatformError(.setup, "the payload's file became shorter while it was read; submit it again")
                }
                return nil
            }
            if let rest { self.rest = rest - Int64(buffer.readableBytes) }
            return buffer
        }
    }
}
