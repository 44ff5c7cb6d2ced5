import NIOHTTP1

extension HTTPVersion {
    /// Whether this is HTTP/1.0 (or older): no chunks, no kept connections unless asked for, no interim answers.
    var isBefore11: Bool { (major, minor) < (1, 1) }
}
