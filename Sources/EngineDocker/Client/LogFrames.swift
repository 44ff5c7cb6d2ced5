import Core

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
    private var output: LogCutter
    private var errors: LogCutter

    init(limit: Int) {
        self.output = LogCutter(limit: limit)
        self.errors = LogCutter(limit: limit)
    }

    /// The lines that `bytes` completes, each with its line feed.
    mutating func append(_ bytes: [UInt8]) -> [UInt8] {
        var lines: [UInt8] = []
        for piece in frames.append(bytes) {
            if piece.stream == 2 {
                errors.cut(piece.bytes, into: &lines)
            } else {
                output.cut(piece.bytes, into: &lines)
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
