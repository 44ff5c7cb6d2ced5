import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Wire

extension RequestText {
    /// The answer; a large result is streamed from the store.
    ///
    /// - Throws: ``PlatformError`` `not_found` where the result was erased since the record was read.
    nonisolated(nonsending) func response(from store: any Store, headersOnly: Bool) async throws -> OutgoingResponse {
        guard case .file(_, let size) = result, let result else {
            var document = ByteBuffer()
            document.reserveCapacity(head.count + tail.count + Int(result?.size ?? 0))
            document.writeBytes(head)
            if case .inline(let bytes) = result { document.writeBytes(bytes) }
            document.writeBytes(tail)
            return .json(document)
        }
        let length = Int64(head.count) + size + Int64(tail.count)
        // Opened before the status is sent: a result that is gone is a 404, not a broken answer.
        let reader = try await store.reader(of: result)
        guard !headersOnly else {
            await reader.close()
            return OutgoingResponse(
                status: .ok, headers: ["Content-Type": "application/json"],
                body: .stream(length: length, write: { _ in }))
        }
        let streaming = ResultStream(head: head, reader: reader, size: size, tail: tail)
        return OutgoingResponse(
            status: .ok, headers: ["Content-Type": "application/json"],
            body: .stream(length: length, write: { try await streaming.write(to: $0) }))
    }
}

/// A document whose result comes from a file, a piece at a time.
private struct ResultStream: Sendable {
    let head: [UInt8]
    let reader: any BodyReader
    let size: Int64
    let tail: [UInt8]

    func write(to body: OutgoingBody) async throws {
        do {
            try await body.write(head)
            var sent: Int64 = 0
            while let bytes = try await reader.read(upTo: Limits.bodyPiece) {
                sent += Int64(bytes.count)
                try await body.write(bytes)
            }
            guard sent == size else {
                throw PlatformError(.internal, "a stored result has \(sent) bytes instead of \(size)")
            }
            try await body.write(tail)
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
    }
}
