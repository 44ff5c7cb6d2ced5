/// Lines of a container or of an API's replicas, read at the reader's speed.
///
/// A value of this type costs nothing until ``read(_:)`` is called, and may be dropped without it.
package struct LogStream<Batch: Sendable>: Sendable {
    /// Takes a batch; returns when there is room for the next one.
    package typealias Write = @Sendable (Batch) async throws -> Void

    private let copy: @Sendable (@escaping Write) async throws -> Void

    /// - Parameter copy: hands batches to its argument and waits for each call. It returns at the end of the lines and
    ///   ends within 100 ms when its task is cancelled or when a call throws.
    package init(_ copy: @escaping @Sendable (@escaping Write) async throws -> Void) {
        self.copy = copy
    }

    /// Reads all lines. The source waits while `write` runs; cancelling the task ends the work.
    ///
    /// - Throws: what ended the lines early, and what `write` throws.
    package func read(_ write: @escaping Write) async throws {
        try await copy(write)
    }
}

/// Lines that one container of a replica wrote.
package struct ReplicaLogBatch: Sendable, Hashable {
    package var replica: String
    package var container: String
    /// Whole lines, each with a line feed at its end. A line is valid UTF-8 of at most ``Limits/logLine`` bytes.
    package var lines: [UInt8]

    package init(replica: String, container: String, lines: [UInt8]) {
        self.replica = replica
        self.container = container
        self.lines = lines
    }
}

/// The end of a container's log, and what shows whether more was written since.
package struct LogExcerpt: Sendable, Hashable {
    package var lines: [String]
    /// For the next call; only the engine that made it can read it.
    package var mark: String

    package init(lines: [String], mark: String) {
        self.lines = lines
        self.mark = mark
    }
}

/// Cuts bytes into lines of valid UTF-8 of at most a given length. It holds at most one unfinished line.
///
/// A longer line is cut into pieces, between two characters where it is text. Bytes that are not UTF-8 become U+FFFD.
package struct LogCutter: Sendable {
    private let limit: Int
    /// The line that has no end yet; never longer than `limit`.
    private var rest: [UInt8] = []

    /// - Parameter limit: the longest line in bytes, without its line feed; at least 4.
    package init(limit: Int = Limits.logLine) {
        self.limit = max(4, limit)
    }

    /// Appends the lines that `bytes` completes to `batch`, each with its line feed.
    package mutating func cut(_ bytes: UnsafeRawBufferPointer, into batch: inout [UInt8]) {
        var start = 0
        while start < bytes.count {
            var end = start
            while end < bytes.count, bytes[end] != Self.lineFeed { end += 1 }
            take(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), isWhole: end < bytes.count, into: &batch)
            start = end + 1
        }
    }

    package mutating func cut(_ bytes: some Collection<UInt8>, into batch: inout [UInt8]) {
        let isDone: Void? = bytes.withContiguousStorageIfAvailable { bytes in
            cut(UnsafeRawBufferPointer(bytes), into: &batch)
        }
        if isDone == nil { Array(bytes).withUnsafeBytes { cut($0, into: &batch) } }
    }

    /// Appends what has no line end yet as a line of its own.
    package mutating func end(into batch: inout [UInt8]) {
        guard !rest.isEmpty else { return }
        rest.withUnsafeBytes { append($0, to: &batch) }
        rest = []
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
