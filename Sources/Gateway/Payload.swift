import Core
import HTTPServing
import NIOCore

/// A caller's body, on its way into the store.
struct Payload {
    let body: Body
    private let writer: (any BodyWriter)?

    /// Refuses a body by its announced length, before any byte of it is asked for.
    ///
    /// A body that this API never takes is refused as that, also while the disk is nearly full: trying again later
    /// would not help its caller.
    ///
    /// - Throws: ``PlatformError`` `payload_too_large`, `disk_low`.
    static func check(_ declaredLength: Int64?, limit: Int64, spareDisk: Int64) throws {
        let length = declaredLength ?? 0
        guard length <= limit else { throw tooLarge(limit) }
        guard length < spareDisk else { throw diskLow }
    }

    /// Reads the body with bounded memory: a small one stays in memory, a large one is written as it comes (contract
    /// A9).
    ///
    /// - Parameters:
    ///   - spareDisk: how many bytes of disk submissions may still take.
    ///   - fingerprint: takes in the body where one is wanted.
    /// - Throws: ``PlatformError`` `payload_too_large`; `store_unavailable`; `disk_low`; ``CallerGone``.
    ///   Nothing is left behind then.
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
                // What is known to come is not copied again as it grows.
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

    /// Forgets a body that no request refers to.
    func discard() async {
        await writer?.discard()
    }

    /// What a submission is refused with while the free space is below the reserve (contract N7).
    static let diskLow = PlatformError(
        .diskLow,
        "the platform's disk is nearly full, and nothing was accepted. Results that are there can be fetched; try again when there is space"
    )

    private static func tooLarge(_ limit: Int64) -> PlatformError {
        PlatformError(
            .payloadTooLarge,
            "the body has more than the \(limit) bytes that this API takes. Raise max_payload in cortex.yaml, or send a link to the data"
        )
    }
}
