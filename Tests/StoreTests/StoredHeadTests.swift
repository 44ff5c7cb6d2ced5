import Core
import Foundation
import TestSupport
import Testing

@testable import StoreSQLite

@Suite("Stored heads")
struct StoredHeadTests {
    private static func text(using generator: inout SeededGenerator) -> String {
        let characters = ["a", "Z", "-", "\0", "é", "☃", "\r\n", " ", ":", "\u{10FFFF}"]
        return (0..<Int.random(in: 0...12, using: &generator)).map { _ in
            characters.randomElement(using: &generator) ?? ""
        }.joined()
    }

    @Test(
        "A1: headers and query survive any text, and changed bytes are refused or read, never a crash",
        arguments: [1, 2, 3] as [UInt64])
    func fuzz(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<3000 {
            let head = RequestHead(
                headers: (0..<Int.random(in: 0...4, using: &generator)).map { _ in
                    HeaderField(Self.text(using: &generator), Self.text(using: &generator))
                }, query: Bool.random(using: &generator) ? Self.text(using: &generator) : nil)
            var bytes = head.bytes
            #expect(try RequestHead(decoding: Data(bytes)) == head)
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0...bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
                case 1 where place < bytes.count:
                    bytes[place] = [0, 1, 0x7F, 0x80, 0xFF].randomElement(using: &generator) ?? 0
                case 2: bytes.removeSubrange(place...)
                default: if place < bytes.count { bytes.remove(at: place) }
                }
            }
            // A head that was read is the same after writing and reading it.
            if let read = try? RequestHead(decoding: Data(bytes)) {
                #expect(try RequestHead(decoding: Data(read.bytes)) == read)
            }
        }
    }

    @Test(
        "A1: another version, half a length and a length past the end are refused",
        arguments: [
            [], [1], [0, 0], [2, 0], [1, 1], [1, 2], [1, 0, 0, 0], [1, 0, 255, 255, 255, 255], [1, 1, 0, 0, 0, 2, 65],
            [1, 0, 0, 0, 0, 1, 65],
        ] as [[UInt8]])
    func damaged(_ bytes: [UInt8]) {
        #expect(throws: RequestHead.Damaged.self) { try RequestHead(decoding: Data(bytes)) }
    }
}
