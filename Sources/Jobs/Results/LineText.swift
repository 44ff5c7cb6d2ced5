import Core
import Support
import Wire

/// Writes the lines of results and items (contract *Documents*).
enum LineText {
    /// Bytes that are collected before they are passed on. Only a piece of a stored body makes it more.
    static let piece = 64 * 1024

    /// The end of every line.
    static let end = Array("}\n".utf8)

    /// The beginning of a line: `{"index":4,"count":4,"status":"succeeded","attempts":2`.
    static func append(_ items: ItemSet, status: String, attempts: Int, to bytes: inout [UInt8]) {
        if items.ranges.count == 1, let range = items.ranges.first {
            append("{\"index\":", range.lowerBound, to: &bytes)
            if range.count > 1 { append(",\"count\":", Int64(range.count), to: &bytes) }
        } else {
            var separator = "{\"indexes\":["
            for index in items.indexes {
                append(separator, index, to: &bytes)
                separator = ","
            }
            bytes += "]".utf8
        }
        bytes += rest(status: status, attempts: attempts)
    }

    /// The beginning of a line of one item, up to its index.
    static func append(_ text: String, _ number: Int64, to bytes: inout [UInt8]) {
        bytes += text.utf8
        bytes += String(number).utf8
    }

    /// The members behind the indexes.
    static func rest(status: String, attempts: Int) -> [UInt8] {
        Array(",\"status\":\"\(status)\",\"attempts\":\(attempts)".utf8)
    }

    static func append(_ failure: RequestFailure, to bytes: inout [UInt8]) {
        bytes += ",\"error\":{".utf8
        RequestText.appendMembers(of: failure, to: &bytes)
        bytes.append(UInt8(ascii: "}"))
    }

    /// Appends bytes of a JSON text. Line breaks between its tokens become spaces, because a line of results ends with
    /// the first one; strings contain none.
    static func append(onOneLine json: some Collection<UInt8>, to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes += json
        for index in start..<bytes.count where bytes[index] == 0x0A || bytes[index] == 0x0D { bytes[index] = 0x20 }
    }
}

/// Reads the elements of an array in a body, of which it keeps one piece in memory.
struct ElementReader: Sendable {
    private let reader: (any BodyReader)?
    private var piece: [UInt8]
    private var position = 0
    private var elements = JSONElements()

    /// - Throws: ``PlatformError`` `not_found` when the body is gone.
    nonisolated(nonsending) init(_ body: Body, from store: any RequestQueue) async throws {
        switch body {
        case .inline(let bytes):
            self.reader = nil
            self.piece = bytes
        case .stored:
            self.reader = try await store.reader(of: body)
            self.piece = []
        }
    }

    /// Bytes of the next element that were not read yet, and whether it ends with them.
    ///
    /// - Throws: when there is no further element.
    nonisolated(nonsending) mutating func next() async throws -> (bytes: ArraySlice<UInt8>, isEnd: Bool) {
        while true {
            if let part = elements.next(in: piece, from: &position) { return (piece[part.range], part.isEnd) }
            guard let more = try await reader?.read(upTo: Limits.bodyPiece), !more.isEmpty else {
                throw PlatformError(.internal, "a stored array has \(elements.count) elements, fewer than its items")
            }
            piece = more
            position = 0
        }
    }

    /// Passes over elements.
    nonisolated(nonsending) mutating func skip(_ count: Int64) async throws {
        var left = count
        while left > 0 { if try await next().isEnd { left -= 1 } }
    }

    /// Must be called.
    nonisolated(nonsending) func close() async { await reader?.close() }
}

/// How many rows of a job are read at once: as many as fit into a few MiB, by the size of those before.
struct PageSize: Sendable {
    private(set) var limit = 16
    private static let bytes: Int64 = 2 << 20

    /// - Parameter bodies: the bodies of the rows that were read.
    mutating func note(_ bodies: some Sequence<Body?>) {
        var count: Int64 = 0
        var size: Int64 = 0
        for body in bodies {
            count += 1
            if case .inline(let bytes) = body { size += Int64(bytes.count) }
        }
        guard count > 0 else { return }
        let fitting = Self.bytes / max(1, size / count)
        limit = Int(max(1, min(fitting, Int64(limit) * 2, Int64(Limits.listPage))))
    }
}
