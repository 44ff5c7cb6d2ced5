import Core

/// Says whether a stream of bytes is one JSON text (RFC 8259), without building or changing anything.
///
/// Feed it with pieces, cut anywhere, then call `finish`. Strict where the standard is: UTF-8 without byte order mark,
/// no `NaN`, no comments, nothing after the text but white space. Any value may be at the top; numbers have any
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
    private var isName = false
    /// Hexadecimal digits of `\u` that are missing.
    private var hexDigits = 0
    /// Continuation bytes that are missing, and what the next one may be.
    private var continuationBytes = 0
    private var continuationRange: ClosedRange<UInt8> = 0x80...0xBF
    /// The rest of `true`, `false` or `null`: its first byte in the low bits.
    private var literalRest: UInt32 = 0
    /// Bytes of earlier pieces.
    var consumed: Int64 = 0

    /// Why the text is not JSON, as far as it is known yet.
    package private(set) var problem: Problem?

    package init() {}

    /// Whether the value has ended: only white space may follow. A number ends with the byte behind it.
    package var isValueComplete: Bool { state == .afterValue && stack.isEmpty }

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

extension JSONValidator {
    /// Runs the state machine over a piece.
    ///
    /// - Returns: the position of the byte that no JSON text has there; `nil` when all were good.
    private mutating func scan(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var index = 0
        let end = bytes.count
        while index < end {
            let byte = bytes[index]
            switch state {
            case .value, .valueOrEndOfArray, .nameOrEndOfObject, .name, .colon, .afterValue:
                if byte <= 0x20 {
                    guard isWhiteSpace(byte) else { return index }
                    index = Self.endOfSpaces(in: bytes, from: index + 1)
                    continue
                }
                guard structure(byte) else { return index }
                index += 1
            case .string:
                index = Self.endOfPlainText(in: bytes, from: index)
                guard index < end else { break }
                guard special(bytes[index]) else { return index }
                index += 1
            case .escape:
                guard escape(byte) else { return index }
                index += 1
            case .unicodeEscape:
                guard Self.isHexDigit(byte) else { return index }
                hexDigits -= 1
                if hexDigits == 0 { state = .string }
                index += 1
            case .continuation:
                guard continuationRange.contains(byte) else { return index }
                continuationBytes -= 1
                continuationRange = 0x80...0xBF
                if continuationBytes == 0 { state = .string }
                index += 1
            case .literal:
                guard UInt32(byte) == literalRest & 0xFF else { return index }
                literalRest >>= 8
                if literalRest == 0 { state = .afterValue }
                index += 1
            case .minus, .zero, .integer, .point, .fraction, .exponentMark, .exponentSign, .exponent:
                switch number(byte) {
                case .taken: index += 1
                case .ended: state = .afterValue
                case .wrong: return index
                }
            case .failed:
                return index
            }
        }
        return nil
    }

    /// A byte between tokens that is not white space.
    private mutating func structure(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "\""):
            switch state {
            case .value, .valueOrEndOfArray: isName = false
            case .name, .nameOrEndOfObject: isName = true
            default: return false
            }
            state = .string
            return true
        case UInt8(ascii: ","):
            guard state == .afterValue, !stack.isEmpty else { return false }
            state = stack.last ? .name : .value
            return true
        case UInt8(ascii: ":"):
            guard state == .colon else { return false }
            state = .value
            return true
        case UInt8(ascii: "}"):
            guard stack.last, state == .afterValue || state == .nameOrEndOfObject else { return false }
            stack.pop()
            state = .afterValue
            return true
        case UInt8(ascii: "]"):
            guard !stack.isEmpty, !stack.last, state == .afterValue || state == .valueOrEndOfArray else { return false }
            stack.pop()
            state = .afterValue
            return true
        default:
            guard state == .value || state == .valueOrEndOfArray else { return false }
            return beginValue(byte)
        }
    }

    private mutating func beginValue(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "{"):
            stack.push(true)
            state = .nameOrEndOfObject
        case UInt8(ascii: "["):
            stack.push(false)
            state = .valueOrEndOfArray
        case UInt8(ascii: "-"): state = .minus
        case UInt8(ascii: "0"): state = .zero
        case UInt8(ascii: "1")...UInt8(ascii: "9"): state = .integer
        case UInt8(ascii: "t"): expect(0x65_7572)  // "rue", the first byte lowest
        case UInt8(ascii: "f"): expect(0x6573_6C61)  // "alse"
        case UInt8(ascii: "n"): expect(0x6C_6C75)  // "ull"
        default: return false
        }
        return true
    }

    private mutating func expect(_ rest: UInt32) {
        literalRest = rest
        state = .literal
    }

    /// The end of a string, an escape, a control character, or the first byte of a sequence beyond ASCII (RFC 3629,
    /// section 4).
    private mutating func special(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "\""): state = isName ? .colon : .afterValue
        case UInt8(ascii: "\\"): state = .escape
        case 0xC2...0xDF: sequence(1, 0x80...0xBF)
        case 0xE0: sequence(2, 0xA0...0xBF)
        case 0xED: sequence(2, 0x80...0x9F)
        case 0xE1...0xEF: sequence(2, 0x80...0xBF)
        case 0xF0: sequence(3, 0x90...0xBF)
        case 0xF1...0xF3: sequence(3, 0x80...0xBF)
        case 0xF4: sequence(3, 0x80...0x8F)
        default: return false
        }
        return true
    }

    private mutating func sequence(_ bytes: Int, _ range: ClosedRange<UInt8>) {
        continuationBytes = bytes
        continuationRange = range
        state = .continuation
    }

    private mutating func escape(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            state = .string
        case UInt8(ascii: "u"):
            hexDigits = 4
            state = .unicodeEscape
        default: return false
        }
        return true
    }

    private enum NumberStep {
        case taken
        /// The number ended before this byte.
        case ended
        case wrong
    }

    private mutating func number(_ byte: UInt8) -> NumberStep {
        let isDigit = byte &- 48 < 10
        switch state {
        case .minus:
            guard isDigit else { return .wrong }
            state = byte == 48 ? .zero : .integer
        case .zero, .integer:
            if isDigit { return state == .zero ? .wrong : .taken }
            if byte == UInt8(ascii: ".") {
                state = .point
            } else if byte | 0x20 == UInt8(ascii: "e") {
                state = .exponentMark
            } else {
                return .ended
            }
        case .point:
            guard isDigit else { return .wrong }
            state = .fraction
        case .fraction:
            if isDigit { return .taken }
            guard byte | 0x20 == UInt8(ascii: "e") else { return .ended }
            state = .exponentMark
        case .exponentMark:
            if isDigit {
                state = .exponent
            } else {
                guard byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") else { return .wrong }
                state = .exponentSign
            }
        case .exponentSign:
            guard isDigit else { return .wrong }
            state = .exponent
        default:
            guard isDigit else { return .ended }
        }
        return .taken
    }

    private func isWhiteSpace(_ byte: UInt8) -> Bool { JSONText.isWhiteSpace(byte) }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        byte &- 48 < 10 || (byte | 0x20) &- 97 < 6
    }

    /// The first position from `start` on that holds no space, eight bytes at a time.
    private static func endOfSpaces(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        while index + 8 <= bytes.count,
            bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) == 0x2020_2020_2020_2020
        {
            index += 8
        }
        while index < bytes.count, bytes[index] == 0x20 { index += 1 }
        return index
    }

    /// The first position from `start` on that holds a quote, a backslash, a control character or a byte beyond ASCII.
    ///
    /// Eight bytes at a time: subtracting one from each byte sets the top bit of those that were zero, so comparing
    /// with a constant is an exclusive or first. A borrow can only mark bytes above the first true one, and the first
    /// is what is wanted.
    private static func endOfPlainText(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        while index + 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            let quote = word ^ (ones &* 0x22)
            let backslash = word ^ (ones &* 0x5C)
            let control = (word &- ones &* 0x20) & ~word
            let found = (control | ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash) | word) & tops
            guard found == 0 else { return index + found.trailingZeroBitCount / 8 }
            index += 8
        }
        while index < bytes.count {
            let byte = bytes[index]
            if byte < 0x20 || byte == 0x22 || byte == 0x5C || byte >= 0x80 { break }
            index += 1
        }
        return index
    }
}
