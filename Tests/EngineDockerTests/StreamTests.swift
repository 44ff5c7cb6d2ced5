import Core
import Support
import TestSupport
import Testing

@testable import EngineDocker

@Suite("Streams of an engine")
struct StreamTests {
    @Test("O4: lines come out whole wherever the bytes are cut", arguments: 1...9)
    func lines(size: Int) {
        let bytes = Array("one\n\ntwo ü three\n\nrest".utf8)
        var splitter = LineSplitter(limit: 100)
        var lines: [String] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            lines += splitter.append(bytes[start..<min(start + size, bytes.count)])
        }
        #expect(lines == ["one", "", "two ü three", ""])
        #expect(splitter.finish() == ["rest"])
        #expect(splitter.finish() == [])
    }

    @Test("O4: a line past the limit comes in pieces that cut no character", arguments: 1...12)
    func pieces(size: Int) {
        let text = "aüäöaaü€€𝄞x"
        let bytes = Array((text + "\nend\n").utf8)
        var splitter = LineSplitter(limit: 4)
        var lines: [String] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            lines += splitter.append(bytes[start..<min(start + size, bytes.count)])
        }
        #expect(lines.last == "end")
        #expect(lines.dropLast().joined() == text)
        #expect(lines.allSatisfy { $0.utf8.count <= 4 })
    }

    @Test("O4: a line of exactly the limit is one line; bytes that are no text never get stuck")
    func limit() {
        var splitter = LineSplitter(limit: 4)
        #expect(splitter.append(Array("abcd".utf8)) == [])
        #expect(splitter.append(Array("\nabcde".utf8)) == ["abcd", "abcd"])
        #expect(splitter.finish() == ["e"])
        // Each becomes U+FFFD, which has three bytes.
        #expect(splitter.append([UInt8](repeating: 0x80, count: 9)) == [String](repeating: "\u{FFFD}", count: 8))
        #expect(splitter.append([0xF0, 0x0A]) == ["\u{FFFD}", "\u{FFFD}"])
    }

    @Test("O4: frames are taken apart wherever they are cut, streams never mix", arguments: 1...21)
    func frames(size: Int) {
        let bytes =
            frame("out ") + frame("err", stream: 2) + frame("") + frame("one\n") + frame("or\n", stream: 2)
            + frame("last")
        var lines = LogDemultiplexer(limit: 100)
        var got: [String] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            got += lines.append(Array(bytes[start..<min(start + size, bytes.count)])).logLines
        }
        #expect(got == ["out one", "error"])
        #expect(lines.finish().logLines == ["last"])
    }

    @Test("O4: a frame that claims 4 GiB makes nothing grow")
    func hostileLength() {
        var frames = LogFrames()
        let pieces = frames.append([1, 0, 0, 0, 255, 255, 255, 255, 65, 66])
        #expect(pieces == [LogFrames.Piece(stream: 1, bytes: [65, 66])])
    }

    @Test("U4: the waits for an engine that is away double up to five seconds")
    func backoff() {
        var backoff = Backoff.engine
        let waits = (0..<8).map { _ in backoff.next() }
        #expect(waits.prefix(3) == [.milliseconds(100), .milliseconds(200), .milliseconds(400)])
        #expect(waits.last == .seconds(5))
        backoff.reset()
        #expect(backoff.next() == .milliseconds(100))
    }

    @Test(
        "O4: an engine's times become seconds with nine decimals",
        arguments: [
            ("2026-11-23T21:02:31.54171625Z", "1795467751.541716250"), ("2026-11-23T21:02:31Z", "1795467751.000000000"),
            ("2026-11-23T22:02:31.5+01:00", "1795467751.500000000"), ("0001-01-01T00:00:00Z", nil), ("", nil),
            ("x", nil),
        ] as [(String, String?)])
    func times(text: String, seconds: String?) {
        #expect(DockerEngine.unixTime(text) == seconds)
    }

    @Test("O4: a moment of ours is written the same way")
    func timestamp() {
        #expect(DockerEngine.unixTime(Timestamp(microseconds: 1_795_467_751_000_042)) == "1795467751.000042")
    }

    @Test("C14: an event tells its pod; commands of probes and foreign events tell nothing")
    func events() {
        func event(_ action: String, _ attributes: String) -> String? {
            DockerEngine.pod(in: #"{"Type":"container","Action":"\#(action)","Actor":{"Attributes":\#(attributes)}}"#)
        }
        #expect(event("die", #"{"cortex.pod":"hello-1","exitCode":"3"}"#) == "hello-1")
        #expect(event("exec_die", #"{"cortex.pod":"hello-1"}"#) == nil)
        #expect(event("die", "null") == nil)
        #expect(DockerEngine.pod(in: "") == nil)
        #expect(DockerEngine.pod(in: "{]") == nil)
    }
}
