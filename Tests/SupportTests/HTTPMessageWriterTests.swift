import NIOCore
import NIOEmbedded
import NIOHTTP1
import Support
import Testing

@Suite("HTTP message writer")
struct HTTPMessageWriterTests {
    /// What NIO's encoder writes for a response.
    private func encoded(_ parts: [HTTPServerResponsePart]) throws -> String {
        var configuration = HTTPResponseEncoder.Configuration()
        configuration.automaticallySetFramingHeaders = false
        let channel = EmbeddedChannel(handler: HTTPResponseEncoder(configuration: configuration))
        for part in parts { try channel.writeOutbound(part) }
        return try text(of: channel)
    }

    private func encoded(_ parts: [HTTPClientRequestPart]) throws -> String {
        var configuration = HTTPRequestEncoder.Configuration()
        configuration.automaticallySetFramingHeaders = false
        let channel = EmbeddedChannel(handler: HTTPRequestEncoder(configuration: configuration))
        for part in parts { try channel.writeOutbound(part) }
        return try text(of: channel)
    }

    private func text(of channel: EmbeddedChannel) throws -> String {
        var text = ""
        while let piece = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: piece) }
        return text
    }

    private func written(_ parts: [HTTPServerResponsePart]) -> String {
        var writer = HTTPMessageWriter()
        var text = ""
        for part in parts {
            switch part {
            case .head(let head): text += String(buffer: writer.head(head))
            case .body(.byteBuffer(let bytes)): writer.body(bytes) { text += String(buffer: $0) }
            case .body: Issue.record("no bytes")
            case .end(let trailers): text += writer.end(trailers).map { String(buffer: $0) } ?? ""
            }
        }
        return text
    }

    private func written(_ parts: [HTTPClientRequestPart]) -> String {
        var writer = HTTPMessageWriter()
        var text = ""
        for part in parts {
            switch part {
            case .head(let head): text += String(buffer: writer.head(head))
            case .body(.byteBuffer(let bytes)): writer.body(bytes) { text += String(buffer: $0) }
            case .body: Issue.record("no bytes")
            case .end(let trailers): text += writer.end(trailers).map { String(buffer: $0) } ?? ""
            }
        }
        return text
    }

    private static let fields: HTTPHeaders = [
        "Host": "example.com", "": "x", "Empty": "", "X-Forwarded-Proto": "http", "Text": "é – ü",
        "Long": String(repeating: "0123456789", count: 400), "Cookie": "a=b",
    ]

    @Test("R2: the head of every status is written like NIO's")
    func statuses() throws {
        var statuses = (100...599).map { HTTPResponseStatus(statusCode: $0) }
        statuses += [.custom(code: 299, reasonPhrase: ""), .custom(code: 200, reasonPhrase: "Very fine")]
        for status in statuses {
            let parts: [HTTPServerResponsePart] = [
                .head(HTTPResponseHead(version: .http1_1, status: status, headers: Self.fields))
            ]
            #expect(written(parts) == (try encoded(parts)))
        }
    }

    @Test("R2: the head of every method is written like NIO's")
    func methods() throws {
        for method in [.GET, .POST, .OPTIONS, .MOVE, .RAW(value: "M-SEARCH")] as [HTTPMethod] {
            let parts: [HTTPClientRequestPart] = [
                .head(HTTPRequestHead(version: .http1_1, method: method, uri: "/a?b=c", headers: Self.fields))
            ]
            #expect(written(parts) == (try encoded(parts)))
        }
    }

    @Test(
        "R2: bodies are framed like NIO's",
        arguments: [
            HTTPHeaders(), ["Content-Length": "11"], ["transfer-encoding": "chunked"],
            ["Transfer-Encoding": "gzip", "TRANSFER-ENCODING": "chunked"],
        ])
    func bodies(_ fields: HTTPHeaders) throws {
        for trailers in [nil, [:], ["X-Sum": "1"]] as [HTTPHeaders?] {
            let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/", headers: fields)
            let pieces = ["hello ", "", "world", String(repeating: "x", count: 5000)]
            let requests: [HTTPClientRequestPart] =
                [.head(head)] + pieces.map { .body(.byteBuffer(ByteBuffer(string: $0))) } + [.end(trailers)]
            #expect(written(requests) == (try encoded(requests)))
            let answer = HTTPResponseHead(version: .http1_1, status: .ok, headers: fields)
            let responses: [HTTPServerResponsePart] =
                [.head(HTTPResponseHead(version: .http1_1, status: .continue)), .head(answer)]
                + pieces.map { .body(.byteBuffer(ByteBuffer(string: $0))) } + [.end(trailers)]
            #expect(written(responses) == (try encoded(responses)))
            // The next message does not depend on this one.
            let both: [HTTPClientRequestPart] =
                requests + [.head(HTTPRequestHead(version: .http1_1, method: .GET, uri: "/2")), .end(nil)]
            #expect(written(both) == (try encoded(both)))
        }
    }

    @Test("R27: CR, LF and NUL in a head add no line", arguments: ["\r\n", "\r", "\n", "\0", "\r\n\r\nGET / HTTP/1.1"])
    func separators(_ bytes: String) {
        var writer = HTTPMessageWriter()
        let harmless = bytes.replacing("\r", with: " ").replacing("\n", with: " ").replacing("\r\n", with: "  ")
            .replacing("\0", with: " ")
        let request = writer.head(
            HTTPRequestHead(
                version: .http1_1, method: .GET, uri: "/\(bytes)", headers: ["A\(bytes)": "1", "B": "2\(bytes)"]))
        #expect(
            String(buffer: request) == "GET /\(harmless) HTTP/1.1\r\nA\(harmless): 1\r\nB: 2\(harmless)\r\n\r\n")
        let response = writer.head(
            HTTPResponseHead(
                version: .http1_1, status: .custom(code: 200, reasonPhrase: "OK\(bytes)"),
                headers: ["Transfer-Encoding": "chunked", "A": "\(bytes)1"]))
        #expect(
            String(buffer: response)
                == "HTTP/1.1 200 OK\(harmless)\r\nTransfer-Encoding: chunked\r\nA: \(harmless)1\r\n\r\n")
        let end = writer.end(["A": "1\(bytes)"]).map { String(buffer: $0) }
        #expect(end == "0\r\nA: 1\(harmless)\r\n\r\n")
    }
}
