import Core

/// Finds the elements of a JSON array in a stream of bytes, without decoding them.
///
/// The bytes may be cut anywhere. The text must be JSON (``JSONValidator``); the elements of another text mean nothing.
/// White space around an element is not part of it. Memory does not depend on the text.
package struct JSONElements: Sendable {
    /// Bytes of one element.
    package struct Part: Sendable, Hashable {
        /// Their place in the piece. It is empty where the piece contains only the end of the element.
        package var range: Range<Int>
        /// Whether the element ends with them.
        package var isEnd: Bool

        package init(range: Range<Int>, isEnd: Bool) {
            self.range = range
            self.isEnd = isEnd
        }
    }

    private enum State: UInt8 {
        /// In front of the array; behind `[`; behind a comma; behind an element.
        case start, first, value, after
        /// In a number or a word; in a string; in an array or object, outside its strings.
        case scalar, string, nested
        /// Behind the array; or the text is no array.
        case end, other
    }

    private var state = State.start
    /// Arrays and objects of the present element that are open.
    private var depth = 0
    private var isEscaped = false

    /// Elements that have ended.
    package private(set) var count = 0

    package init() {}

    /// Whether the text is an array; `nil` as long as only white space was seen.
    package var isArray: Bool? {
        switch state {
        case .start: nil
        case .other: false
        default: true
        }
    }

    /// The next part of an element in a piece of the text.
    ///
    /// - Parameter position: where to go on in the piece: 0 at first. The call moves it behind what it has read.
    /// - Returns: `nil` when no element is left in the piece.
    package mutating func next(in bytes: UnsafeRawBufferPointer, from position: inout Int) -> Part? {
        while position < bytes.count {
            let byte = bytes[position]
            switch state {
            case .scalar, .string, .nested:
                return part(in: bytes, from: position, &position)
            case .end, .other:
                position = bytes.count
            case _ where JSONText.isWhiteSpace(byte):
                position += 1
            case .start:
                state = byte == UInt8(ascii: "[") ? .first : .other
                position += 1
            case .first where byte == UInt8(ascii: "]"), .after where byte == UInt8(ascii: "]"):
                state = .end
                position += 1
            case .after:
                state = .value
                position += 1
            case .first, .value:
                let start = position
                begin(byte)
                position += 1
                return part(in: bytes, from: start, &position)
            }
        }
        return nil
    }

    /// The next part of an element in a piece of the text, in an array.
    package mutating func next(in bytes: [UInt8], from position: inout Int) -> Part? {
        bytes.withUnsafeBytes { next(in: $0, from: &position) }
    }

    private mutating func begin(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): state = .string
        case UInt8(ascii: "["), UInt8(ascii: "{"):
            state = .nested
            depth = 1
        default: state = .scalar
        }
    }

    private mutating func part(in bytes: UnsafeRawBufferPointer, from start: Int, _ position: inout Int) -> Part {
        let isEnd = passElement(bytes, &position)
        if isEnd {
            state = .after
            count += 1
        }
        return Part(range: start..<position, isEnd: isEnd)
    }

    /// Moves behind the present element, or to the end of the piece.
    ///
    /// - Returns: whether the element has ended.
    private mutating func passElement(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) -> Bool {
        while position < bytes.count {
            let byte = bytes[position]
            switch state {
            case .string:
                if isEscaped {
                    isEscaped = false
                    position += 1
                    continue
                }
                position = Self.endOfText(in: bytes, from: position)
                guard position < bytes.count else { return false }
                isEscaped = bytes[position] == UInt8(ascii: "\\")
                position += 1
                guard !isEscaped else { continue }
                if depth == 0 { return true }
                state = .nested
            case .nested:
                position += 1
                switch byte {
                case UInt8(ascii: "\""): state = .string
                case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
                case UInt8(ascii: "]"), UInt8(ascii: "}"):
                    depth -= 1
                    if depth == 0 { return true }
                default: break
                }
            default:
                if byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]") || JSONText.isWhiteSpace(byte) { return true }
                position += 1
            }
        }
        return false
    }

    /// The first position from `start` on with a quote or a backslash, eight bytes at a time (see
    /// ``JSONValidator``).
    private static func endOfText(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = start
        let ones: UInt64 = 0x0101_0101_0101_0101
        let tops: UInt64 = 0x8080_8080_8080_8080
        while index + 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            let quote = word ^ (ones &* 0x22)
            let backslash = word ^ (ones &* 0x5C)
            let found = (((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash)) & tops
            guard found == 0 else { return index + found.trailingZeroBitCount / 8 }
            index += 8
        }
        while index < bytes.count, bytes[index] != 0x22, bytes[index] != 0x5C { index += 1 }
        return index
    }
}

/// Copies chosen elements of a JSON array byte for byte into another array, without white space between them:
/// `[element,element]`.
package struct JSONArrayCut: Sendable {
    private var elements = JSONElements()
    private let positions: [Int]
    /// The index in ``positions`` of the element that is wanted next.
    private var next = 0
    private var isInside = false
    private var hasBegun = false

    /// - Parameter positions: positions of elements in the array, ascending.
    package init(keeping positions: [Int]) {
        self.positions = positions
    }

    /// Whether all wanted elements were found.
    package var isComplete: Bool { next == positions.count }

    /// Takes the next piece of the array.
    ///
    /// - Returns: what follows in the new array.
    package mutating func consume(_ bytes: [UInt8]) -> [UInt8] {
        var copy: [UInt8] = []
        if !hasBegun {
            hasBegun = true
            copy.append(UInt8(ascii: "["))
        }
        var place = 0
        while !isComplete, let part = elements.next(in: bytes, from: &place) {
            guard positions[next] == elements.count - (part.isEnd ? 1 : 0) else { continue }
            if !isInside, next > 0 { copy.append(UInt8(ascii: ",")) }
            isInside = !part.isEnd
            copy += bytes[part.range]
            if part.isEnd { next += 1 }
        }
        return copy
    }

    /// The end of the new array.
    package static let end: [UInt8] = [UInt8(ascii: "]")]

    /// An array with the elements of `bytes` at `positions`; `nil` when it does not have all of them.
    package static func cut(_ bytes: [UInt8], keeping positions: [Int]) -> [UInt8]? {
        var cut = JSONArrayCut(keeping: positions)
        let copy = cut.consume(bytes) + end
        return cut.isComplete ? copy : nil
    }
}
