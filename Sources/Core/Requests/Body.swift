/// The bytes of a payload or a result: small ones in memory, large ones in files of the store.
package enum Body: Sendable, Hashable {
    case inline([UInt8])
    /// In a file of the store, or a part of one: the store's name for it, and the size in bytes.
    case file(name: String, size: Int64)

    package static let empty = Body.inline([])

    /// The number of bytes.
    package var size: Int64 {
        switch self {
        case .inline(let bytes): Int64(bytes.count)
        case .file(_, let size): size
        }
    }
}

/// Accepts a body in pieces. Call `finish` or `discard` once at the end; used by one task at a time.
package protocol BodyWriter: Sendable {
    /// Appends bytes; returns when more may come (backpressure).
    ///
    /// - Throws: ``PlatformError`` `store_unavailable` when the disk is full or broken.
    func write(_ bytes: [UInt8]) async throws

    /// The body, durable: a file was synced and has its final name. Until a row names it, the next start removes it.
    func finish() async throws -> Body

    /// Discards the written bytes. Never throws; safe after `finish` only if no row names the body.
    func discard() async
}

/// Returns a body in pieces. Used by one task at a time.
package protocol BodyReader: Sendable {
    /// The next piece, at most `limit` bytes; `nil` at the end.
    func read(upTo limit: Int) async throws -> [UInt8]?

    /// Closes the file, if there is one. Must be called.
    func close() async
}
