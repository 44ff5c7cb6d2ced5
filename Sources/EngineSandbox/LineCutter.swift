import Core

/// Cuts bytes into lines of text, at most ``Limits/logLine`` bytes each.
struct LineCutter: Sendable {
    private var rest: [UInt8] = []

    mutating func take(_ bytes: [UInt8]) -> [String] {
        var lines: [String] = []
        var start = bytes.startIndex
        while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
            lines += pieces(rest + bytes[start..<end])
            rest = []
            start = end + 1
        }
        rest += bytes[start...]
        while rest.count > Limits.logLine {
            let cut = boundary(rest[...], Limits.logLine)
            lines += pieces(Array(rest[..<cut]))
            rest.removeFirst(cut)
        }
        return lines
    }

    /// What is left when there is no line end.
    mutating func end() -> [String] {
        defer { rest = [] }
        return rest.isEmpty ? [] : pieces(rest)
    }

    private func pieces(_ bytes: [UInt8]) -> [String] {
        var pieces: [String] = []
        var bytes = bytes[...]
        repeat {
            var cut = boundary(bytes, Limits.logLine)
            var text = String(decoding: bytes.prefix(cut), as: UTF8.self)
            // Bytes that are no text grow to three each.
            while text.utf8.count > Limits.logLine {
                cut = boundary(bytes, cut / 2)
                text = String(decoding: bytes.prefix(cut), as: UTF8.self)
            }
            pieces.append(text)
            bytes = bytes.dropFirst(cut)
        } while !bytes.isEmpty
        return pieces
    }

    /// The largest count up to `limit` that cuts no character in two.
    private func boundary(_ bytes: ArraySlice<UInt8>, _ limit: Int) -> Int {
        guard bytes.count > limit else { return bytes.count }
        var cut = limit
        while cut > limit - 4, cut > 1, bytes[bytes.startIndex + cut] & 0xC0 == 0x80 { cut -= 1 }
        return cut
    }
}
