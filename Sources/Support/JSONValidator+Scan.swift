import Core

extension JSONValidator {
    /// Runs the state machine over a piece.
    ///
    /// - Returns: the position of the byte that no JSON text has there; `nil` when all were good.
    mutating func scan(_ bytes: UnsafeRawBufferPointer) -> Int? {
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
