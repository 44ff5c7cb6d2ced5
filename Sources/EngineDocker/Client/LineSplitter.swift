/// Cuts a stream of bytes into lines at `\n`. A line past the limit is cut into pieces, at a character's border where
/// there is one.
struct LineSplitter: Sendable {
    private let limit: Int
    private var pending: [UInt8] = []

    /// `limit`: the longest line in bytes, at least 4.
    init(limit: Int) {
        self.limit = limit
    }

    /// The lines that `bytes` completes, without their line ends.
    mutating func append(_ bytes: some Collection<UInt8>) -> [String] {
        var lines: [String] = []
        var rest = bytes[...]
        while let first = rest.first {
            if first == UInt8(ascii: "\n") {
                lines.append(take(pending.count))
                rest = rest.dropFirst()
                continue
            }
            let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.endIndex
            let piece = rest[..<end].prefix(limit - pending.count)
            pending.append(contentsOf: piece)
            rest = rest[piece.endIndex...]
            // Whole lines of exactly `limit` bytes wait for what comes next, which may be their end.
            if pending.count == limit, let next = rest.first, next != UInt8(ascii: "\n") {
                lines.append(take(border()))
            }
        }
        return lines
    }

    /// What is left when the stream ends without a line end.
    mutating func finish() -> String? {
        pending.isEmpty ? nil : take(pending.count)
    }

    private mutating func take(_ count: Int) -> String {
        let line = String(decoding: pending[..<count], as: UTF8.self)
        pending.removeFirst(count)
        return line
    }

    /// The last place within the pending bytes at which no character is cut.
    private func border() -> Int {
        var index = pending.count - 1
        var steps = 0
        while index > 0, steps < 3, pending[index] & 0xC0 == 0x80 {
            index -= 1
            steps += 1
        }
        let lead = pending[index]
        let length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1
        return index > 0 && index + length > pending.count ? index : pending.count
    }
}
