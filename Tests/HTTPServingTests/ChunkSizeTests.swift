import Core
import NIOCore
import TestSupport
import Testing

@testable import HTTPServing

@Suite("Sizes of chunks")
struct ChunkSizeTests {
    private static let head = "POST /a HTTP/1.1\r\nHost: h\r\n"

    /// A well-formed request.
    private static func request(_ random: inout some RandomNumberGenerator) -> String {
        let body = String("0\r\n\r\nPOST ffffffffffffffffffff\r\n".prefix(Int.random(in: 0...30, using: &random)))
        let name = Bool.random(using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: return "GET / HTTP/1.1\r\nHost: h\r\nX-Transfer-Encoding: chunked\r\n\r\n"
        case 1:
            return "\r\n" + head + (name ? "content-LENGTH:" : "Content-Length: ") + "\(body.utf8.count)\r\n\r\n" + body
        case 2: return head + "Content-Length: 0\r\nContent-Lengths: 9\r\n\r\n"
        default:
            var text = head + (name ? "TRANSFER-encoding:chunked" : "Transfer-Encoding: chunked ") + "\r\n\r\n"
            for _ in 0..<Int.random(in: 0...3, using: &random) where !body.isEmpty {
                let size = String(body.utf8.count, radix: 16, uppercase: name)
                text += String(repeating: "0", count: 16 - size.utf8.count) + size
                text += (name ? ";a=\"10000000000000000000\"" : "") + "\r\n" + body + "\r\n"
            }
            return text + (name ? "0\r\n\r\n" : "0000000000000000\r\nX: 11111111111111111\r\nY: z\r\n\r\n")
        }
    }

    @Test("R27: in any pieces, well-formed requests are let through, and a chunk to refuse is found at its byte")
    func pieces() {
        for seed in 0..<2000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            let good = (0..<Int.random(in: 0...4, using: &random)).map { _ in Self.request(&random) }.joined()
            let start = good + Self.head + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
            let (chunk, reason, offset): (String, ChunkSizes.Reason?, Int) =
                switch seed % 4 {
                case 0: ("00000000000000001\r\n", .digits, 16)
                case 1: ("1000000000000001 ;x\r\n", .size, 16)
                case 2: ("ffffffffffffffff\r\n", .size, 16)
                default: ("1000000000000000\r\nabc", nil, 0)
                }
            let bytes = Array((start + chunk).utf8)
            var sizes = ChunkSizes()
            var index = 0
            var found: (reason: ChunkSizes.Reason, offset: Int)?
            while index < bytes.count, found == nil {
                let count = min(bytes.count - index, Int.random(in: 1...(seed % 3 == 0 ? 3 : 100), using: &random))
                found = bytes[index..<(index + count)].withUnsafeBytes { sizes.refusal(in: $0) }
                    .map { ($0.reason, index + $0.offset) }
                index += count
            }
            #expect(found?.reason == reason, "seed \(seed)")
            if reason != nil { #expect(found?.offset == start.utf8.count + offset, "seed \(seed)") }
        }
    }

    @Test("R27: the requests before the one with a chunk to refuse are served, and 16 digits are read")
    func pipelined() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(
                    "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n" + Self.head
                        + "Transfer-Encoding: chunked\r\n\r\n0000000000000003\r\nabc\r\n0\r\n\r\n" + Self.head
                        + "Transfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n")
                #expect(try await connection.readResponse().body == "GET /1 - ")
                #expect(try await connection.readResponse().body == "POST /a - abc")
                let last = try await connection.readToEnd()
                #expect(last.hasPrefix("HTTP/1.1 400 ") && last.contains("more than 16 hexadecimal digits"), "\(last)")
            }
        }
    }
}
