import Core
import Foundation
import Testing

@testable import StoreSQLite

@Suite("StoreSQLite: the head of a request")
struct HeadCodingTests {
    @Test(
        "C3: headers and query survive",
        arguments: [
            RequestHead(headers: [], query: nil), RequestHead(headers: [], query: ""),
            RequestHead(headers: [.init("a", "b"), .init("", "\0"), .init("a", "😀")], query: "x=\0&y"),
        ])
    func roundTrip(_ head: RequestHead) throws {
        #expect(try RequestHead(decoding: head.encoded) == head)
        // A slice does not begin at 0.
        #expect(try RequestHead(decoding: (Data([9, 9]) + head.encoded).dropFirst(2)) == head)
    }

    @Test("Damaged bytes are an error, never a crash")
    func damaged() {
        let whole = RequestHead(headers: [.init("name", "value")], query: "query").encoded
        for count in 0..<whole.count {
            // A cut between two fields gives a shorter list; every other cut is an error.
            if let head = try? RequestHead(decoding: whole.prefix(count)) { #expect(head.headers.isEmpty) }
        }
        for bad: [UInt8] in [[], [1], [2, 0], [1, 1, 0xFF, 0xFF, 0xFF, 0xFF], [1, 0, 0, 0, 0, 1]] {
            #expect(throws: (any Error).self) { try RequestHead(decoding: Data(bad)) }
        }
    }
}
