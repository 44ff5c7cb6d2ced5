import Core
import Support

/// Cuts a stream of JSON values, with any white space between them, into the values (contract B4). Their bytes stay as
/// they are.
struct JSONSequence {
    /// The largest value, in bytes.
    static let largest = JSONLines.longestLine

    private var value: [UInt8] = []
    private var depth = 0
    private var isString = false
    private var isEscaped = false
    private var isScalar = false
    /// Bytes taken so far.
    private var position: Int64

    /// - Parameter position: of the first byte in its file, for errors.
    init(at position: Int64) { self.position = position }

    private var isInside: Bool { isString || depth > 0 || isScalar }

    /// Takes a piece of the stream, cut anywhere.
    ///
    /// - Parameter take: gets each value that the piece completes, and the position behind it.
    /// - Throws: ``Problem`` for what is no JSON; what `take` throws.
    mutating func consume(_ piece: [UInt8], _ take: ([UInt8], Int64) async throws -> Void) async throws {
        for byte in piece {
            if isScalar, JSONText.isWhiteSpace(byte) || Self.begins(byte) { try await end(take) }
            if !isInside {
                position += 1
                if JSONText.isWhiteSpace(byte) { continue }
                value.append(byte)
                switch byte {
                case UInt8(ascii: "\""): isString = true
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth = 1
                default: isScalar = true
                }
                continue
            }
            position += 1
            value.append(byte)
            guard value.count <= Self.largest else { throw problem("a value has more than \(Self.largest >> 20) MiB") }
            if isString {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else if byte == UInt8(ascii: "\"") {
                    isString = false
                    if depth == 0 { try await end(take) }
                }
            } else if depth > 0 {
                switch byte {
                case UInt8(ascii: "\""): isString = true
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    depth -= 1
                    if depth == 0 { try await end(take) }
                default: break
                }
            }
        }
    }

    /// The end of the file: a value never spans files.
    mutating func finish(_ take: ([UInt8], Int64) async throws -> Void) async throws {
        if !value.isEmpty { try await end(take) }
    }

    struct Problem: Error {
        var offset: Int64
        var reason: String
    }

    private mutating func end(_ take: ([UInt8], Int64) async throws -> Void) async throws {
        let whole = value
        value = []
        (depth, isString, isEscaped, isScalar) = (0, false, false, false)
        if let problem = JSONValidator.problem(in: whole) {
            throw Problem(offset: position - Int64(whole.count) + problem.offset, reason: problem.reason)
        }
        try await take(whole, position)
    }

    /// Whether a byte ends a number or a word in front of it.
    private static func begins(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") || byte == UInt8(ascii: "\"")
    }

    private func problem(_ reason: String) -> Problem { Problem(offset: position, reason: reason) }
}
