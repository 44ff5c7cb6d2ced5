import PodInitProtocol
import TestSupport
import Testing

@Suite("N4: hostile frames", .timeLimit(.minutes(10)))
struct FrameFuzzTests {
    @Test("N4: a decoder gives the same frames and the same error for any division of the bytes, and holds its limits")
    func decode() async {
        let long = Frame.encode(["start", "api"] + Array(repeating: "x", count: 100))
        var fuzz = Fuzz(
            corpus: [
                Frame.encode(["ok"]), Frame.encode(["error", "container", "not found"]), long,
                Frame.encode(["event", "api"]) + Frame.encode(["event", ""]) + Frame.encode([]),
                [0xFF, 0xFF, 0xFF, 0xFF],
            ])
        for round in 0..<Fuzz.rounds(300) {
            // Other tests of this process wait for their deadlines meanwhile.
            await Task.yield()
            let bytes = fuzz.next()
            let whole = Self.frames([bytes[...]])
            let parts = Self.frames(fuzz.pieces(of: bytes))
            #expect(whole.frames == parts.frames && whole.error == parts.error, "seed \(Fuzz.seed), round \(round)")
            for frame in whole.frames {
                #expect(frame.count <= Self.fieldLimit)
                #expect(frame.reduce(0) { $0 + $1.utf8.count } <= 3 * Frame.limit)
            }
        }
    }

    private static let fieldLimit = 50

    private static func frames(_ pieces: [ArraySlice<UInt8>]) -> (frames: [[String]], error: FrameError?) {
        var decoder = FrameDecoder(fieldLimit: fieldLimit)
        var frames: [[String]] = []
        do throws(FrameError) {
            for piece in pieces {
                piece.withUnsafeBytes { decoder.append($0) }
                while let frame = try decoder.next() { frames.append(frame) }
            }
        } catch {
            return (frames, error)
        }
        return (frames, nil)
    }
}
