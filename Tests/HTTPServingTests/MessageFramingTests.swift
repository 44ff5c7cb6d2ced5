import Core
import NIOCore
import Support
import TestSupport
import Testing

@testable import HTTPServing

@Suite("R27: framing that the parser does not show")
struct MessageFramingTests {
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
            let (chunk, reason, offset): (String, MessageFraming.Fault?, Int) =
                switch seed % 4 {
                case 0: ("00000000000000001\r\n", .digits, 16)
                case 1: ("1000000000000001 ;x\r\n", .size, 16)
                case 2: ("ffffffffffffffff\r\n", .size, 16)
                default: ("1000000000000000\r\nabc", nil, 0)
                }
            let bytes = Array((start + chunk).utf8)
            var framing = MessageFraming.requests
            var index = 0
            var found: (fault: MessageFraming.Fault, offset: Int)?
            while index < bytes.count, found == nil {
                let count = min(bytes.count - index, Int.random(in: 1...(seed % 3 == 0 ? 3 : 100), using: &random))
                found = bytes[index..<(index + count)].withUnsafeBytes { framing.fault(in: $0) }
                    .map { ($0.fault, index + $0.offset) }
                index += count
            }
            #expect(found?.fault == reason, "seed \(seed)")
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

    @Test(
        "R27: before a request line empty lines that end with CR LF are ignored (RFC 9112 2.2), other line ends are 400",
        arguments: ["\r\n": true, "\r\n\r\n": true, "\n": false, "\r": false, "\r\r\n": false, "\r\n\n": false])
    func emptyLines(_ prefix: String, _ isAllowed: Bool) async throws {
        try await withServer(handler: echo) { port, _ in
            for isSplit in [false, true] {
                try await RawConnection.open(port: port) { connection in
                    // Also behind another request.
                    try await connection.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
                    #expect(try await connection.readResponse().status == 200)
                    if isSplit {
                        for character in prefix.unicodeScalars { try await connection.send(String(character)) }
                    }
                    try await connection.send((isSplit ? "" : prefix) + "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
                    let response = try await connection.readResponse()
                    #expect(response.status == (isAllowed ? 200 : 400))
                    if !isAllowed { #expect(response.body.contains("empty lines that end with CR LF")) }
                }
            }
        }
    }

    @Test(
        "R27: of a response only the chunks behind its final head are followed",
        arguments: [
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, true),
            (
                "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n", false,
                true
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, false),
            ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false, false),
            ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", false, false),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n", false, false),
            ("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n", false, false),
            ("HTTP/1.1 200 OK\r\n\r\n", false, false),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", false, false),
        ])
    func responses(_ head: String, _ isToHead: Bool, _ isFollowed: Bool) {
        let bytes = Array((head + "00000000000000001\r\na\r\n").utf8)
        for size in [1, 7, bytes.count] {
            var framing = MessageFraming.response(isToHead: isToHead)
            var found: MessageFraming.Fault?
            for start in stride(from: 0, to: bytes.count, by: size) where found == nil {
                found = bytes[start..<min(start + size, bytes.count)].withUnsafeBytes { framing.fault(in: $0)?.fault }
            }
            #expect(found == (isFollowed ? .digits : nil), "\(size)")
        }
    }
}
