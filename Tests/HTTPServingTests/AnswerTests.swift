import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

@testable import class HTTPServing.HTTPDate

@Suite("Answers")
struct AnswerTests {
    struct Secret: Error { let path = "/root/secret" }

    @Test(
        "A4: every code has its status, and where waiting helps a Retry-After",
        arguments: [
            (PlatformError.Code.badRequest, 400, false), (.configurationInvalid, 400, false),
            (.versionMismatch, 400, false), (.notSupported, 400, false), (.usage, 400, false),
            (.unauthorized, 401, false), (.notFound, 404, false), (.methodNotAllowed, 405, false),
            (.conflict, 409, false), (.payloadTooLarge, 413, false), (.idempotencyMismatch, 422, false),
            (.queueFull, 429, true), (.internal, 500, false), (.setup, 500, false), (.storeCorrupt, 500, false),
            (.imageUnavailable, 502, false), (.containerFailed, 502, false), (.connectionFailed, 502, false),
            (.storeUnavailable, 503, true), (.engineUnavailable, 503, true), (.unavailable, 503, true),
            (.timedOut, 504, false),
        ])
    func statuses(_ sample: (code: PlatformError.Code, status: Int, retry: Bool)) async throws {
        let handler: HTTPHandler = { _, _ in throw PlatformError(sample.code, "say \"why\"\n", cause: Secret()) }
        let answer = try await ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n", handler)
        #expect(answer.status == sample.status)
        #expect(answer.headers["content-type"] == "application/json")
        #expect((answer.headers["retry-after"] != nil) == sample.retry)
        #expect(answer.body == "{\"error\":{\"kind\":\"\(sample.code.kind)\",\"message\":\"say \\\"why\\\"\\n\"}}\n")
    }

    @Test("A4: an unforeseen error is 500 and tells nothing")
    func unforeseen() async throws {
        let answer = try await ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n") { _, _ in throw Secret() }
        #expect(answer.status == 500)
        #expect(answer.body.hasPrefix("{\"error\":{\"kind\":\"internal\""))
        #expect(!answer.body.contains("secret") && !answer.body.contains("Secret"))
    }

    @Test("A4: an answer that fails in the middle is cut, not finished")
    func brokenStream() async throws {
        let handler: HTTPHandler = { _, _ in
            OutgoingResponse(
                status: .ok,
                body: .stream(length: 10) { out in
                    try await out.write(ByteBuffer(string: "half"))
                    throw Secret()
                })
        }
        try await withServer(handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                await #expect(throws: (any Error).self) { try await connection.readResponse() }
            }
        }
    }

    private var routes: HTTPHandler {
        var table = RouteTable()
        table.on(.GET, "/get") { _, _, _ in OutgoingResponse(status: .ok, body: .bytes(ByteBuffer(string: "all"))) }
        table.on(.GET, "/get/{name}") { _, _, parameters in
            OutgoingResponse(status: .ok, body: .bytes(ByteBuffer(string: parameters["name"] ?? "none")))
        }
        table.on(.GET, "/get/special") { _, _, _ in OutgoingResponse(status: .ok, body: .bytes(ByteBuffer(string: "!")))
        }
        table.on(.DELETE, "/get/{name}") { _, _, _ in OutgoingResponse(status: .noContent) }
        let fixed = table
        return { try await fixed.respond(to: $0, body: &$1) }
    }

    @Test(
        "A4: routes are found, and an unknown path is reported",
        arguments: [
            ("GET /get", 200, "all"), ("GET /get/", 200, "all"), ("GET /get/a%20b", 200, "a b"),
            ("GET /get/special", 200, "!"), ("GET /nothing", 404, nil), ("GET /get/a/b", 404, nil),
            ("GET /get/%zz", 404, nil), ("GET /g%65t", 200, "all"), ("GET /get/speci%61l", 200, "!"),
            ("GET /get%2Fspecial", 404, nil), ("DELETE /get/a", 204, ""),
        ])
    func route(_ sample: (request: String, status: Int, body: String?)) async throws {
        let answer = try await ask("\(sample.request) HTTP/1.1\r\nHost: h\r\n\r\n", routes)
        #expect(answer.status == sample.status)
        if let body = sample.body { #expect(answer.body == body) }
    }

    @Test("A4: a wrong method is 405 with Allow")
    func wrongMethod() async throws {
        let answer = try await ask("POST /get/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", routes)
        #expect(answer.status == 405)
        #expect(answer.headers["allow"] == "GET, DELETE, HEAD")
        #expect(answer.body.contains("\"method_not_allowed\""))
    }

    @Test("A4: the date is written as HTTP wants it")
    func date() {
        #expect(HTTPDate.text(Timestamp(seconds: 784_111_777)) == "Sun, 06 Nov 1994 08:49:37 GMT")
    }

    private func ask(_ request: String, _ handler: @escaping HTTPHandler) async throws -> RawResponse {
        try await withServer(handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(request)
                return try await connection.readResponse()
            }
        }
    }
}
