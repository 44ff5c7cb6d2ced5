import Testing

@testable import Jobs

@Suite("Ranges of bytes")
struct ByteRangeTests {
    @Test(
        "T6: one range of bytes is served, an impossible one is refused, anything else is ignored",
        arguments: [
            ("bytes=0-3", ByteRange.part(0..<4)), ("bytes=4-", .part(4..<10)), ("bytes=-3", .part(7..<10)),
            ("bytes=-30", .part(0..<10)), ("bytes=8-99", .part(8..<10)), ("bytes=10-", .unsatisfiable),
            ("bytes=-0", .unsatisfiable), ("bytes=3-2", .whole), ("bytes=0-1,3-4", .whole), ("bytes=", .whole),
            ("bytes=a-b", .whole), ("items=0-1", .whole), ("bytes=99999999999999999999-", .unsatisfiable),
        ])
    func ranges(text: String, expected: ByteRange) {
        #expect(ByteRange.read(text, size: 10) == expected)
    }
}
