import Core
import Crypto
import HTTPServing
import NIOCore

/// The body of a submission: in memory, or written to the store.
struct Payload {
    let body: Body
    private let writer: (any BodyWriter)?

    /// Refuses a body by its declared length, before any byte of it is requested.
    ///
    /// A body that is too large for the API is refused for that reason also while the disk is nearly full, because a
    /// later attempt would fail too.
    ///
    /// - Throws: ``PlatformError`` `payload_too_large`, `disk_low`.
    static func check(_ declaredLength: Int64?, limit: Int64, spareDisk: Int64) throws {
        let length = declaredLength ?? 0
        guard length <= limit else { throw tooLarge(limit) }
        guard length < spareDisk else { throw diskLow }
    }

    /// Reads the body with bounded memory: a small one stays in memory, a large one is written as it arrives
    /// (contract A9).
    ///
    /// - Parameters:
    ///   - spareDisk: how many bytes of disk submissions may still take.
    ///   - fingerprint: updated with the body, where there is one.
    /// - Throws: ``PlatformError`` `payload_too_large`; `store_unavailable`; `disk_low`; ``CallerGone``.
    ///   Nothing remains in the store then.
    nonisolated(nonsending) static func read(
        _ body: inout IncomingBody, limit: Int64, into store: any Store, spareDisk: @Sendable () -> Int64,
        fingerprint: inout Fingerprint?
    ) async throws -> Payload {
        var gathered: [UInt8] = []
        var size: Int64 = 0
        var writer: (any BodyWriter)?
        do {
            while let piece = try await body.next() {
                size += Int64(piece.readableBytes)
                guard size <= limit else { throw tooLarge(limit) }
                fingerprint?.update(piece)
                // Reserved for the declared length, so the array does not grow by copying.
                if gathered.isEmpty {
                    gathered.reserveCapacity(Int(min(body.declaredLength ?? 0, Int64(Limits.bodyPiece))))
                }
                piece.withUnsafeReadableBytes { gathered.append(contentsOf: $0) }
                guard gathered.count >= Limits.bodyPiece else { continue }
                guard spareDisk() > 0 else { throw diskLow }
                let target = if let writer { writer } else { try await store.makeBodyWriter() }
                writer = target
                try await target.write(gathered)
                body.release(gathered.count)
                gathered = []
            }
            if writer == nil, gathered.count <= Limits.inlineBody {
                return Payload(body: .inline(gathered), writer: nil)
            }
            let target = if let writer { writer } else { try await store.makeBodyWriter() }
            writer = target
            if !gathered.isEmpty { try await target.write(gathered) }
            gathered = []
            return Payload(body: try await target.finish(), writer: target)
        } catch {
            await writer?.discard()
            throw error
        }
    }

    /// Removes a body that no request refers to.
    func discard() async {
        await writer?.discard()
    }

    /// The error of submissions while the free space is below the reserve (contract N7).
    static let diskLow = PlatformError(
        .diskLow,
        "the platform's disk is nearly full, and nothing was accepted. Stored results can still be fetched; submit again when there is space"
    )

    private static func tooLarge(_ limit: Int64) -> PlatformError {
        PlatformError(
            .payloadTooLarge,
            "the body has more than the \(limit) bytes that this API takes. Raise max_payload in cortex.yaml, or send a link to the data"
        )
    }
}

/// A digest of content type, query and body: submissions with the same digest are the same (contract A6). The length of
/// each part is included, so the parts cannot be confused.
struct Fingerprint {
    private var hash = SHA256()

    init(contentTypes: [String], query: String?) {
        add(contentTypes.count)
        for type in contentTypes { add(type) }
        add(query == nil ? 0 : 1)
        add(query ?? "")
    }

    /// Adds the next piece of the body.
    mutating func update(_ bytes: ByteBuffer) {
        bytes.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
    }

    func finish() -> [UInt8] { Array(hash.finalize()) }

    private mutating func add(_ text: String) {
        add(text.utf8.count)
        hash.update(data: Array(text.utf8))
    }

    private mutating func add(_ number: Int) {
        withUnsafeBytes(of: UInt64(number).littleEndian) { hash.update(bufferPointer: $0) }
    }
}
