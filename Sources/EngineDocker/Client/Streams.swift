import Support

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

/// Takes the engine's multiplexed stream apart: an eight-byte header (stream, three zeros, length big-endian), then the
/// payload.
///
/// Nothing is held but a header that has not come whole, so the length in it can't make anything grow.
struct LogFrames: Sendable {
    /// Which stream a piece belongs to: 1 is standard output, 2 standard error.
    struct Piece: Sendable, Equatable {
        var stream: UInt8
        var bytes: ArraySlice<UInt8>
    }

    private var header: [UInt8] = []
    private var stream: UInt8 = 0
    private var remaining = 0

    /// The payload in `bytes`, in order; frames may be cut anywhere between calls.
    mutating func append(_ bytes: [UInt8]) -> [Piece] {
        var pieces: [Piece] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            if remaining == 0 {
                let wanted = rest.prefix(8 - header.count)
                header.append(contentsOf: wanted)
                rest = rest.dropFirst(wanted.count)
                guard header.count == 8 else { break }
                stream = header[0]
                remaining = header[4...].reduce(0) { $0 << 8 | Int($1) }
                header.removeAll()
            } else {
                let payload = rest.prefix(remaining)
                pieces.append(Piece(stream: stream, bytes: payload))
                remaining -= payload.count
                rest = rest.dropFirst(payload.count)
            }
        }
        return pieces
    }
}

/// Makes lines out of a container's multiplexed log; the two streams never mix within a line.
struct LogDemultiplexer: Sendable {
    private var frames = LogFrames()
    private var output: LineSplitter
    private var errors: LineSplitter

    init(limit: Int) {
        self.output = LineSplitter(limit: limit)
        self.errors = LineSplitter(limit: limit)
    }

    /// The lines that `bytes` completes, each with its line feed.
    mutating func append(_ bytes: [UInt8]) -> [UInt8] {
        var lines: [UInt8] = []
        for piece in frames.append(bytes) {
            if piece.stream == 2 {
                errors.split(piece.bytes, into: &lines)
            } else {
                output.split(piece.bytes, into: &lines)
            }
        }
        return lines
    }

    /// Unfinished lines, when the container ended.
    mutating func finish() -> [UInt8] {
        var lines: [UInt8] = []
        output.end(into: &lines)
        errors.end(into: &lines)
        return lines
    }
}
