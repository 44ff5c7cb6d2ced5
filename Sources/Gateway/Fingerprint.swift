import Core
import Crypto
import HTTPServing
import NIOCore

/// `Idempotency-Key` (contract A6).
enum IdempotencyKey {
    /// `nil` where the caller sent none.
    ///
    /// - Throws: ``PlatformError`` `bad_request` where it is not one key of 1 to 255 printable ASCII characters.
    static func read(_ request: IncomingRequest) throws -> String? {
        let values = request.values("idempotency-key")
        guard let key = values.first else { return nil }
        let isGood =
            values.count == 1 && (1...Limits.idempotencyKey).contains(key.utf8.count)
            && key.utf8.allSatisfy { (0x20...0x7E).contains($0) }
        guard isGood else {
            throw PlatformError(
                .badRequest,
                "Idempotency-Key must be one value of 1 to \(Limits.idempotencyKey) printable ASCII characters")
        }
        return key
    }
}

/// A digest of what makes two submissions the same: content type, query and body, each told apart from its neighbour by
/// its length.
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
