package import Core
package import NIOCore
import NIOHTTP1

/// A request's body, read piece by piece; one task at a time. Reading is what asks a caller that sent `Expect:
/// 100-continue` for its body.
package struct IncomingBody {
    /// What `Content-Length` says; `nil` for a chunked body; 0 for none.
    package let declaredLength: Int64?
    /// Whether all of it was read.
    package private(set) var isComplete = false
    /// Whether the caller waits for a request to send it.
    private(set) var awaitsContinue: Bool
    /// Whether the rest of it cannot be read: it is broken, too slow or refused.
    private(set) var isBroken = false
    private let stream: ConnectionStream

    init(head: HTTPRequestHead, stream: ConnectionStream) {
        self.stream = stream
        if let length = head.headers.first(name: "content-length") {
            self.declaredLength = Int64(HeaderValue.trimmed(length))
        } else {
            self.declaredLength = head.headers.contains(name: "transfer-encoding") ? nil : 0
        }
        self.awaitsContinue = head.headers.contains(name: "expect") && !head.version.isBefore11
    }

    /// The next piece; `nil` at the end.
    ///
    /// - Throws: ``CallerGone``; ``HTTPFault`` for broken chunks, a body that comes too slowly, or too many bodies in
    ///   memory.
    package nonisolated(nonsending) mutating func next() async throws -> ByteBuffer? {
        guard !isComplete else { return nil }
        if awaitsContinue {
            awaitsContinue = false
            if declaredLength != 0 {
                try await stream.writeContinue()
            }
        }
        do {
            while let part = try await stream.next() {
                switch part {
                case .body(let bytes):
                    if bytes.readableBytes > 0 { return bytes }
                case .end:
                    isComplete = true
                    return nil
                case .head:
                    throw PlatformError(.internal, "a request began inside another")
                }
            }
        } catch let fault as HTTPFault {
            isBroken = true
            throw fault
        }
        throw CallerGone()
    }

    /// Says that the last `count` bytes that were read are not in memory any more, which makes room for other bodies.
    /// What is not released so is released when the handler returns.
    package func release(_ count: Int) { stream.release(count) }

    /// The whole body.
    ///
    /// - Throws: ``PlatformError`` `payload_too_large` as soon as it is known to have more than `limit` bytes.
    package mutating func collect(upTo limit: Int) async throws -> ByteBuffer {
        if let declaredLength, declaredLength > limit { throw Self.tooLarge(limit: Int64(limit)) }
        guard let first = try await next() else { return ByteBuffer() }
        var all = first
        while let piece = try await next() {
            guard all.readableBytes + piece.readableBytes <= limit else { throw Self.tooLarge(limit: Int64(limit)) }
            all.writeImmutableBuffer(piece)
        }
        guard all.readableBytes <= limit else { throw Self.tooLarge(limit: Int64(limit)) }
        return all
    }

    /// What a body of more than `limit` bytes is refused with.
    package static func tooLarge(limit: Int64) -> PlatformError {
        PlatformError(.payloadTooLarge, "the body has more than the \(limit) bytes that are allowed here")
    }
}
