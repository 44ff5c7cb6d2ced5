import Core
import Support
import TestSupport
import Testing

@Suite("Lines of containers")
struct LineSplitterTests {
    private static func split(_ bytes: [UInt8], limit: Int = Limits.logLine, pieces: (Int) -> Int) -> [UInt8] {
        var splitter = LineSplitter(limit: limit)
        var batch: [UInt8] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + max(1, pieces(start)))
            splitter.split(bytes[start..<end], into: &batch)
            start = end
        }
        splitter.end(into: &batch)
        return batch
    }

    @Test("O4: bytes become lines however they are cut")
    func lines() {
        let text = Array("one\n\nthree ü\nlast".utf8)
        for size in 1...text.count {
            #expect(Self.split(text) { _ in size }.logLines == ["one", "", "three ü", "last"])
        }
    }

    @Test("O4: a line over the limit comes in pieces that cut no character and are never longer")
    func longLines() {
        let text = String(repeating: "ü", count: 3 * Limits.logLine)
        let pieces = Self.split(Array(("a" + text + "\n").utf8)) { _ in 5000 }.logLines
        #expect(pieces.joined() == "a" + text)
        #expect(pieces.allSatisfy { $0.utf8.count <= Limits.logLine })
        let broken = Self.split([UInt8](repeating: 0xFF, count: 2 * Limits.logLine) + [10]) { _ in 5000 }.logLines
        #expect(broken.allSatisfy { $0.utf8.count <= Limits.logLine })
        #expect(broken.joined().count == 2 * Limits.logLine)
    }

    @Test("O4: a line of exactly the limit is one line; bytes that are no text never get stuck")
    func limit() {
        #expect(Self.split(Array("abcd\nabcde".utf8), limit: 4) { _ in 3 }.logLines == ["abcd", "abcd", "e"])
        #expect(Self.split([UInt8](repeating: 0x80, count: 9), limit: 4) { _ in 9 }.logLines.joined().count == 9)
        #expect(Self.split([0xF0, 0x0A], limit: 4) { _ in 1 }.logLines == ["\u{FFFD}"])
    }

    @Test("N8: whatever a container writes becomes whole lines of valid UTF-8 within the limit, the same for every cut")
    func anything() {
        var random = SeededGenerator(seed: 8)
        for round in 0..<300 {
            let limit = Int.random(in: 4...64, using: &random)
            let alphabet: [[UInt8]] = [
                [10], [13], [0], [0x1B], [0x80], [0xFF], [0xC3], Array("ü".utf8), Array("𝄞".utf8), Array("abc".utf8),
                [0xF0, 0x9D],
            ]
            let bytes = (0..<Int.random(in: 0...400, using: &random)).flatMap { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
            }
            let whole = Self.split(bytes, limit: limit) { _ in bytes.count }
            var sizes = random
            let pieces = Self.split(bytes, limit: limit) { _ in Int.random(in: 1...9, using: &sizes) }
            #expect(pieces == whole, "round \(round)")
            #expect(String(validating: whole, as: UTF8.self) != nil)
            #expect(whole.isEmpty || whole.last == 10)
            #expect(whole.split(separator: 10).allSatisfy { $0.count <= limit })
            let ends = bytes.count { $0 == 10 }
            #expect(whole.count { $0 == 10 } >= ends)
        }
    }
}
