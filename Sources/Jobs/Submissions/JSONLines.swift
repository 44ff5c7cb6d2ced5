import Core
import Support

/// Cuts a stream of JSON Lines into items, whose bytes stay as they are (contract B2). White space around an item is no
/// part of it, and a blank line is none.
struct JSONLines {
    /// The longest line, in bytes.
    static let longestLine = 16 << 20

    private var line: [UInt8] = []
    private var number = 1

    /// Takes a piece of the stream, cut anywhere.
    ///
    /// - Parameter item: gets each item that the piece completes.
    /// - Throws: `bad_request` with the number of the line that is not one JSON text; what `item` throws.
    mutating func consume(_ piece: [UInt8], item: (ArraySlice<UInt8>) async throws -> Void) async throws {
        var rest = piece[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let part = rest[..<end]
            rest = rest[(end + 1)...]
            if line.isEmpty {
                try await take(part, item)
            } else {
                try append(part)
                let whole = line
                line.removeAll(keepingCapacity: whole.count < 1 << 16)
                try await take(whole[...], item)
            }
            number += 1
        }
        try append(rest)
    }

    /// The last line, which need not end with a line feed.
    mutating func finish(item: (ArraySlice<UInt8>) async throws -> Void) async throws {
        let whole = line
        line = []
        try await take(whole[...], item)
    }

    private mutating func append(_ part: ArraySlice<UInt8>) throws {
        guard line.count + part.count <= Self.longestLine else { throw tooLong }
        line.append(contentsOf: part)
    }

    private func take(_ line: ArraySlice<UInt8>, _ item: (ArraySlice<UInt8>) async throws -> Void) async throws {
        guard line.count <= Self.longestLine else { throw tooLong }
        var start = line.startIndex
        while start < line.endIndex, JSONText.isWhiteSpace(line[start]) { start += 1 }
        var end = line.endIndex
        while end > start, JSONText.isWhiteSpace(line[end - 1]) { end -= 1 }
        guard start < end else { return }
        var validator = JSONValidator()
        line[start..<end].withUnsafeBytes { _ = validator.consume($0) }
        guard validator.finish() else {
            throw PlatformError(
                .badRequest,
                "line \(number) is not one JSON text: \(validator.problem?.reason ?? "it is incomplete") (at byte \(Int64(start - line.startIndex) + (validator.problem?.offset ?? 0)) of the line)"
            )
        }
        try await item(line[start..<end])
    }

    private var tooLong: PlatformError {
        PlatformError(
            .badRequest, "line \(number) has more than \(Self.longestLine >> 20) MiB, the most that one item may have")
    }
}
