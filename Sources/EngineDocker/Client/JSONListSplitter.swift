/// Cuts a JSON array that arrives in pieces into its elements, without holding more than one of them.
///
/// It does not check the elements: what it returns is for a decoder. `null` in place of the array is an empty one.
struct JSONListSplitter: Sendable {
    private enum Place { case before, between, inside, after }

    private let objectLimit: Int
    private var place = Place.before
    private var element: [UInt8] = []
    private var isTooLarge = false
    private var depth = 0
    private var isInString = false
    private var isEscaped = false
    /// Bytes outside the array; more than a few mean that this is no array.
    private var stray: [UInt8] = []

    /// `objectLimit`: the longest element in bytes.
    init(objectLimit: Int) {
        self.objectLimit = objectLimit
    }

    /// Whether the array has ended, and nothing else came.
    var isComplete: Bool {
        place == .after && stray.isEmpty || place == .before && stray == Array("null".utf8)
    }

    /// The elements that `bytes` complete; `nil` stands for one that is longer than the limit.
    mutating func append(_ bytes: some Sequence<UInt8>) -> [[UInt8]?] {
        var elements: [[UInt8]?] = []
        for byte in bytes {
            let isSpace = byte == 0x20 || (0x09...0x0D).contains(byte)
            switch place {
            case .before where byte == UInt8(ascii: "[") && stray.isEmpty: place = .between
            case .before, .after:
                if !isSpace, stray.count < 8 { stray.append(byte) }
            case .between where isSpace || byte == UInt8(ascii: ","): break
            case .between where byte == UInt8(ascii: "]"): place = .after
            case .between:
                place = .inside
                take(byte, &elements)
            case .inside: take(byte, &elements)
            }
        }
        return elements
    }

    private mutating func take(_ byte: UInt8, _ elements: inout [[UInt8]?]) {
        if !isInString, depth == 0, !element.isEmpty || isTooLarge,
            byte == UInt8(ascii: ",") || byte == UInt8(ascii: "]")
        {
            // A number or a word: it ends where the next element begins.
            finish(&elements)
            place = byte == UInt8(ascii: ",") ? .between : .after
            return
        }
        if element.count < objectLimit {
            element.append(byte)
        } else {
            isTooLarge = true
            element.removeAll(keepingCapacity: true)
            element.append(byte)
        }
        if isInString {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
            }
            return
        }
        switch byte {
        case UInt8(ascii: "\""): isInString = true
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            depth -= 1
            if depth == 0 {
                finish(&elements)
                place = .between
            }
        default: break
        }
    }

    private mutating func finish(_ elements: inout [[UInt8]?]) {
        elements.append(isTooLarge ? nil : element)
        element.removeAll(keepingCapacity: true)
        isTooLarge = false
    }
}
