import Core
import Support
import TestSupport
import Testing

@testable import EngineDocker

@Suite("N8: hostile log bytes", .timeLimit(.minutes(10)))
struct LogFuzzTests {
    private static let limit = 40

    @Test("N8: a multiplexed log gives the same lines for any division of the bytes, each valid and within the limit")
    func demultiplex() {
        var fuzz = Fuzz(
            corpus: [
                frame("one\n") + frame("two ü\n", stream: 2) + frame("three"),
                frame(String(repeating: "𝄞", count: 30)) + frame("\n", stream: 2), [1, 0, 0, 0, 255, 255, 255, 255],
                frame("") + frame("\n\n\n"),
            ], limit: 4096)
        for round in 0..<Fuzz.rounds(3000) {
            let bytes = fuzz.next()
            let whole = Self.lines([bytes[...]])
            #expect(Self.lines(fuzz.pieces(of: bytes)) == whole, "seed \(Fuzz.seed), round \(round)")
            #expect(String(validating: whole, as: UTF8.self) != nil, "seed \(Fuzz.seed), round \(round)")
            #expect(
                whole.split(separator: 10).allSatisfy { $0.count <= Self.limit }, "seed \(Fuzz.seed), round \(round)")
            #expect(whole.count <= 4 * bytes.count + 2)
        }
    }

    @Test("N8: the splitter of an engine's answers gives the same lines for any division of the bytes")
    func split() {
        var fuzz = Fuzz(texts: ["{\"a\":1}\n{\"b\":\"ü\"}\n", "\n\n\n", "no end", "\r\n𝄞𝄞𝄞\n"], limit: 4096)
        for round in 0..<Fuzz.rounds(3000) {
            let bytes = fuzz.next()
            func lines(_ pieces: [ArraySlice<UInt8>]) -> [String] {
                var splitter = LineSplitter(limit: Self.limit)
                return pieces.flatMap { splitter.append($0) } + splitter.finish()
            }
            let whole = lines([bytes[...]])
            #expect(lines(fuzz.pieces(of: bytes)) == whole, "seed \(Fuzz.seed), round \(round)")
            #expect(whole.allSatisfy { $0.utf8.count <= Self.limit }, "seed \(Fuzz.seed), round \(round)")
        }
    }

    private static func lines(_ pieces: [ArraySlice<UInt8>]) -> [UInt8] {
        var demultiplexer = LogDemultiplexer(limit: limit)
        return pieces.flatMap { demultiplexer.append(Array($0)) } + demultiplexer.finish()
    }
}
