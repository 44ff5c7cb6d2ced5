import Core
import HTTPServing
import NIOCore

/// A caller's body, on its way into the store.
struct Payload {
    let body: Body
    private let writer: (any BodyWriter)?

    /// Reads the body with bounded memory: a small one stays in memory, a large one is written as it comes (contract A9).
    ///
    /// - Parameter fingerprint: takes in the body where one is wanted.
    /// - Throws: ``PlatformError`` `payload_too_large`, before any byte where `Content-Length` says so; `store_unavailable`; ``CallerGone``. Nothing is left behind then.
    nonisolated(nonsending) static func read(
        _ body: inout IncomingBody, limit: Int64, into store: any Store, fingerprint: inout Fingerprint?
    ) async throws -> Payload {
        if let length = body.declaredLength, length > limit { throw tooLarge(limit) }
        var gathered = ByteBuffer()
        var size: Int64 = 0
        var writer: (any BodyWriter)?
        do {
            while let piece = try await body.next() {
                size += Int64(piece.readableBytes)
                guard size <= limit else { throw tooLarge(limit) }
                fingerprint?.update(piece)
                if gathered.readableBytes == 0 { gathered = piece } else { gathered.writeImmutableBuffer(piece) }
                guard gathered.readableBytes > Limits.inlineBody else { continue }
                let target = if let writer { writer } else { try await store.makeBodyWriter() }
                writer = target
                try await target.write(Array(gathered.readableBytesView))
                gathered = ByteBuffer()
            }
            guard let writer else { return Payload(body: .inline(Array(gathered.readableBytesView)), writer: nil) }
            if gathered.readableBytes > 0 { try await writer.write(Array(gathered.readableBytesView)) }
            return Payload(body: try await writer.finish(), writer: writer)
        } catch {
            await writer?.discard()
            throw error
        }
    }

    /// Forgets a body that no request refers to.
    func discard() async {
        await writer?.discard()
    }

    private static func tooLarge(_ limit: Int64) -> PlatformError {
        PlatformError(
            .payloadTooLarge,
            "the body has more than the \(limit) bytes that this API takes. Raise max_payload in cortex.yaml, or send a link to the data"
        )
    }
}
