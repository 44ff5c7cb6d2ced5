/// The bytes of a payload or a result: small ones in memory, large ones in the store.
package enum Body: Sendable, Hashable {
    case inline([UInt8])
    /// In the store: its key there, and the size in bytes. A key has a meaning only for the store that made it (the
    /// name of a file, a place in one, the key of an object), and every process of that store can read it with
    /// `RequestQueue.reader(of:)`.
    case stored(key: String, size: Int64)

    package static let empty = Body.inline([])

    /// The number of bytes.
    package var size: Int64 {
        switch self {
        case .inline(let bytes): Int64(bytes.count)
        case .stored(_, let size): size
        }
    }
}

/// Accepts a body in pieces. Call `finish` or `discard` once at the end; used by one task at a time.
package protocol BodyWriter: Sendable {
    /// Appends bytes; returns when more may come (backpressure).
    ///
    /// - Throws: ``PlatformError`` `store_unavailable` when the disk is full or broken.
    func write(_ bytes: [UInt8]) async throws

    /// The body, durable. Until a request refers to it, the store may remove it at its next start.
    func finish() async throws -> Body

    /// Discards the written bytes. Never throws; safe after `finish` only if no request refers to the body.
    func discard() async
}

/// Returns a body in pieces. Used by one task at a time.
package protocol BodyReader: Sendable {
    /// The next piece, at most `limit` bytes; `nil` at the end.
    func read(upTo limit: Int) async throws -> [UInt8]?

    /// Releases what the reader holds. Must be called.
    func close() async
}
