/// Says whether a stream of bytes is one JSON text (RFC 8259), without building or changing anything.
///
/// Feed it with pieces, cut anywhere, then call `finish`. Strict where the standard is: UTF-8 without byte order mark,
/// no `NaN`, no comments, nothing after the text but white space. Any value may stand at the top; numbers have any
/// size; names may repeat. An escape of half a surrogate pair (`"\ud800"`) is accepted: the grammar of RFC 8259 allows
/// it, section 8.2 says so, and the result is stored as it is.
///
/// Memory is one bit per level of nesting; no recursion, so no depth breaks it.
package struct JSONValidator: Sendable {
    /// Why a text is not JSON.
    package struct Problem: Error, Sendable, Hashable {
        /// Position of the byte at fault, or the length of a text that ends too early.
        package var offset: Int64
        /// For people, in lower case, without the position: `a value is missing`.
        package var reason: String

        package init(offset: Int64, reason: String) {
            self.offset = offset
            self.reason = reason
        }
    }

    /// What may come next.
    enum State: UInt8 {
        case value, valueOrEndOfArray, nameOrEndOfObject, name, colon, afterValue
        case string, escape, unicodeEscape, continuation
        case minus, zero, integer, point, fraction, exponentMark, exponentSign, exponent
        case literal
        case failed
    }

    var state: State = .value
    var stack = BitStack()
    /// Whether the present string is a name in an object.
    var isName = false
    /// Hexadecimal digits of `\u` that are missing.
    var hexDigits = 0
    /// Continuation bytes that are missing, and what the next one may be.
    var continuationBytes = 0
    var continuationRange: ClosedRange<UInt8> = 0x80...0xBF
    /// The rest of `true`, `false` or `null`: its first byte in the low bits.
    var literalRest: UInt32 = 0
    /// Bytes of earlier pieces.
    var consumed: Int64 = 0

    /// Why the text is not JSON, as far as it is known yet.
    package private(set) var problem: Problem?

    package init() {}

    /// Takes the next piece.
    ///
    /// - Returns: `false` as soon as no continuation could make the text valid; `problem` then says why.
    @discardableResult
    package mutating func consume(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { consume($0) }
    }

    /// Takes the next piece, from memory that it does not keep.
    @discardableResult
    package mutating func consume(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard state != .failed else { return false }
        let fault = scan(bytes)
        if let fault {
            let reason = reason(at: fault, in: bytes)
            problem = Problem(offset: consumed + Int64(fault), reason: reason)
            state = .failed
            return false
        }
        consumed += Int64(bytes.count)
        return true
    }

    /// Ends the text.
    ///
    /// - Returns: whether all of it was one valid JSON text; `problem` says why not.
    package mutating func finish() -> Bool {
        guard state != .failed else { return false }
        let isComplete =
            switch state {
            case .afterValue, .zero, .integer, .fraction, .exponent: stack.isEmpty
            default: false
            }
        guard !isComplete else { return true }
        problem = Problem(offset: consumed, reason: reasonOfEnd)
        state = .failed
        return false
    }

    /// Why `bytes` are not one JSON text, or `nil` when they are.
    package static func problem(in bytes: [UInt8]) -> Problem? {
        var validator = JSONValidator()
        validator.consume(bytes)
        _ = validator.finish()
        return validator.problem
    }
}

/// A stack of bits that grows as needed: which levels are objects.
struct BitStack: Sendable {
    private var words: [UInt64] = []
    /// The level on top, kept apart so that shallow texts touch no array.
    private var top: UInt64 = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func push(_ bit: Bool) {
        if count > 0, count & 63 == 0 {
            words.append(top)
            top = 0
        }
        top = top << 1 | (bit ? 1 : 0)
        count += 1
    }

    mutating func pop() {
        top >>= 1
        count -= 1
        if count > 0, count & 63 == 0, let word = words.popLast() { top = word }
    }

    /// The bit on top; `false` when there is none.
    var last: Bool { top & 1 == 1 }
}
