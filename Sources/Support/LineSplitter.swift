import Core

/// Splits bytes at line feeds into lines of valid UTF-8 of at most a given length. It holds at most one unfinished
/// line.
///
/// A longer line is cut into pieces, between two characters where it is text. Bytes that are not UTF-8 become U+FFFD.
package struct LineSplitter: Sendable {
    private let limit: Int
    /// The line that has no end yet; never longer than `limit`.
    private var rest: [UInt8] = []

    /// - Parameter limit: the longest line in bytes, without its line feed; at least 4.
    package init(limit: Int = Limits.logLine) {
        self.limit = max(4, limit)
    }

    /// Appends the lines that `bytes` completes to `batch`, each with its line feed.
    package mutating func split(_ bytes: UnsafeRawBufferPointer, into batch: inout [UInt8]) {
        var start = 0
        while start < bytes.count {
            var end = start
            while end < bytes.count, bytes[end] != Self.lineFeed { end += 1 }
            take(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), isWhole: end < bytes.count, into: &batch)
            start = end + 1
        }
    }

    package mutating func split(_ bytes: some Collection<UInt8>, into batch: inout [UInt8]) {
        let isDone: Void? = bytes.withContiguousStorageIfAvailable { bytes in
            split(UnsafeRawBufferPointer(bytes), into: &batch)
        }
        if isDone == nil { Array(bytes).withUnsafeBytes { split($0, into: &batch) } }
    }

    /// Appends what has no line end yet as a line of its own.
    package mutating func end(into batch: inout [UInt8]) {
        guard !rest.isEmpty else { return }
        rest.withUnsafeBytes { append($0, to: &batch) }
        rest = []
    }

    /// The lines that `bytes` completes, without their line feeds.
    package mutating func append(_ bytes: some Collection<UInt8>) -> [String] {
        var batch: [UInt8] = []
        split(bytes, into: &batch)
        return Self.lines(batch)
    }

    /// What has no line end yet, at the end of the bytes.
    package mutating func finish() -> [String] {
        var batch: [UInt8] = []
        end(into: &batch)
        return Self.lines(batch)
    }

    private static func lines(_ batch: [UInt8]) -> [String] {
        batch.dropLast().split(separator: lineFeed, omittingEmptySubsequences: batch.isEmpty)
            .map { String(decoding: $0, as: UTF8.self) }
    }

    private static let lineFeed = UInt8(ascii: "\n")

    private mutating func take(_ bytes: UnsafeRawBufferPointer, isWhole: Bool, into batch: inout [UInt8]) {
        var piece = bytes[...]
        while rest.count + piece.count > limit {
            let count = limit - rest.count
            rest.append(contentsOf: piece.prefix(count))
            piece = piece.dropFirst(count)
            let cut = border()
            rest.withUnsafeBytes { append(UnsafeRawBufferPointer(rebasing: $0[..<cut]), to: &batch) }
            rest.removeFirst(cut)
        }
        guard isWhole else {
            rest.append(contentsOf: piece)
            return
        }
        guard !rest.isEmpty else {
            append(UnsafeRawBufferPointer(rebasing: piece), to: &batch)
            return
        }
        rest.append(contentsOf: piece)
        rest.withUnsafeBytes { append($0, to: &batch) }
        rest.removeAll(keepingCapacity: true)
    }

    /// The last place within the unfinished line at which no character is cut.
    private func border() -> Int {
        var index = rest.count - 1
        var steps = 0
        while index > 0, steps < 3, rest[index] & 0xC0 == 0x80 {
            index -= 1
            steps += 1
        }
        let lead = rest[index]
        let length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1
        return index > 0 && index + length > rest.count ? index : rest.count
    }

    /// Appends a line of at most `limit` bytes, repaired. Repaired bytes grow to three each, so the line may then need
    /// several pieces.
    private func append(_ bytes: UnsafeRawBufferPointer, to batch: inout [UInt8]) {
        var high: UInt8 = 0
        for byte in bytes { high |= byte }
        if high < 0x80 {
            batch.append(contentsOf: bytes)
            batch.append(Self.lineFeed)
            return
        }
        var text = Substring(String(decoding: bytes, as: UTF8.self))
        while text.utf8.count > limit {
            var end = text.utf8.index(text.startIndex, offsetBy: limit)
            while text.utf8[end] & 0xC0 == 0x80 { end = text.utf8.index(before: end) }
            batch.append(contentsOf: text.utf8[..<end])
            batch.append(Self.lineFeed)
            text = text[end...]
        }
        batch.append(contentsOf: text.utf8)
        batch.append(Self.lineFeed)
    }
}
