import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@Suite("HTTP/1.1 connections")
struct ConnectionTests {
    @Test("A4: requests follow one another on a kept connection, and the target arrives as it was sent")
    func keepAlive() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send("POST /a/b%20c?x=%2F&y HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
                let first = try await connection.readResponse()
                #expect(first.body == "POST /a/b%20c x=%2F&y abc")
                #expect(first.headers["date"]?.hasSuffix("GMT") == true)
                try await connection.send("GET http://elsewhere/z? HTTP/1.1\r\nHost: h\r\n\r\n")
                let second = try await connection.readResponse()
                #expect(second.body == "GET /z  ")
            }
        }
    }

    @Test("A4: pipelined requests are answered in their order")
    func pipelining() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                var text = ""
                for index in 0..<50 {
                    text += "POST /\(index) HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
                }
                try await connection.send(text)
                for index in 0..<50 {
                    let response = try await connection.readResponse()
                    #expect(response.body == "POST /\(index) - hi")
                }
            }
        }
    }

    @Test("A4: a chunked body arrives whole, and its trailers do no harm")
    func chunked() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(
                    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                try await connection.send("2;ext=1\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
                #expect(try await connection.readResponse().body == "POST / - abcde")
                try await connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                #expect(try await connection.readResponse().status == 200)
            }
        }
    }

    @Test("A4: HTTP/1.0 is served, and its connection closed unless it asks to keep it")
    func oldVersion() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                let kept = try await connection.readResponse()
                #expect(kept.headers["connection"] == "keep-alive")
                try await connection.send("GET /2 HTTP/1.0\r\n\r\n")
                let last = try await connection.readToEnd()
                #expect(last.contains("Connection: close") && last.hasSuffix("GET /2 - "))
            }
            try await RawConnection.open(port: port) { connection in
                try await connection.send("POST /3 HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
                #expect(try await connection.readToEnd().hasSuffix("POST /3 - abc"))
            }
            for method in ["HEAD", "DELETE", "OPTIONS"] {
                try await RawConnection.open(port: port) { connection in
                    try await connection.send("\(method) /4 HTTP/1.0\r\n\r\n")
                    #expect(try await connection.readToEnd().hasPrefix("HTTP/1.1 200 "), "\(method)")
                }
            }
        }
    }

    @Test("A8: HEAD has the headers of GET and no body", arguments: [false, true])
    func head(streamed: Bool) async throws {
        let handler: HTTPHandler = { _, _ in
            let length: Int64? = streamed ? nil : 5
            return OutgoingResponse(
                status: .ok, body: .stream(length: length) { try await $0.write(ByteBuffer(string: "hello")) })
        }
        try await withServer(handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(
                    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                let response = try await connection.readResponse(hasBody: false)
                #expect(response.status == 200)
                #expect(response.headers["content-length"] == (streamed ? nil : "5"))
                let rest = try await connection.readToEnd()
                #expect(rest.hasPrefix("HTTP/1.1 200") && rest.contains("hello"))
            }
        }
    }

    @Test("A9: a caller that waits for 100 Continue gets it when its body is wanted")
    func expectation() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(
                    "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
                #expect(try await connection.readResponse().status == 100)
                try await connection.send("ok")
                #expect(try await connection.readResponse().body == "POST / - ok")
                try await connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                #expect(try await connection.readResponse().status == 200)
            }
        }
    }

    @Test("A4: a body that is refused by its length is never asked for")
    func refusedExpectation() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(
                    "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n")
                let all = try await connection.readToEnd()
                #expect(all.hasPrefix("HTTP/1.1 413 "))
                #expect(all.contains("Connection: close") && all.contains("\"payload_too_large\""))
            }
        }
    }

    @Test("A4: a caller that sends a refused body all the same gets its answer")
    func refusedUpload() async throws {
        try await withServer(limits: HTTPServerLimits(lingerTime: .seconds(60)), handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n")
                // More than socket buffers hold: this ends only if the server reads.
                for _ in 0..<64 { try await connection.send(String(repeating: "x", count: 200_000)) }
                #expect(try await connection.readToEnd().hasPrefix("HTTP/1.1 413 "))
            }
        }
    }

    @Test("A4: a small body that the handler did not read leaves the connection usable")
    func unreadBody() async throws {
        let handler: HTTPHandler = { _, _ in throw PlatformError(.notFound, "nothing here") }
        try await withServer(handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                for _ in 0..<2 {
                    try await connection.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd")
                    let response = try await connection.readResponse()
                    #expect(response.status == 404)
                    #expect(response.body == "{\"error\":{\"kind\":\"not_found\",\"message\":\"nothing here\"}}\n")
                }
            }
        }
    }

    @Test(
        "N5: an answer does not wait for an unread body; a small one may still arrive, and the connection is kept"
    )
    func earlyAnswer() async throws {
        let handler: HTTPHandler = { _, _ in throw PlatformError(.notFound, "nothing here") }
        // Times that a busy machine keeps too.
        let limits = HTTPServerLimits(bodyGrace: .seconds(60), bodyCredit: .seconds(60), lingerTime: .seconds(60))
        try await withServer(limits: limits, handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                for _ in 0..<3 {
                    try await connection.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
                    let response = try await connection.readResponse()
                    #expect(response.status == 404 && response.headers["connection"] == nil)
                    try await connection.send("abcd")
                }
            }
        }
    }

    @Test("A4: an upgrade is not taken up, and the request is answered")
    func upgrade() async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(
                    "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi")
                let all = try await connection.readToEnd()
                #expect(all.hasPrefix("HTTP/1.1 200") && all.hasSuffix("POST / - hi"))
            }
        }
    }

    @Test("A9: a handler learns that its caller left in the middle of a body")
    func callerLeaves() async throws {
        let (ended, note) = AsyncStream.makeStream(of: Bool.self)
        let handler: HTTPHandler = { _, body in
            do {
                return try await OutgoingResponse(status: .ok, body: .bytes(body.collect(upTo: 1000)))
            } catch {
                note.yield(error is CallerGone)
                throw error
            }
        }
        try await withServer(handler: handler) { port, _ in
            var results = ended.makeAsyncIterator()
            for ending in ["half", "abort", "chunk"] {
                try await RawConnection.open(port: port) { connection in
                    let framing = ending == "chunk" ? "Transfer-Encoding: chunked" : "Content-Length: 100"
                    try await connection.send("POST / HTTP/1.1\r\nHost: h\r\n\(framing)\r\n\r\n5\r\nabc")
                    if ending == "abort" { try await connection.abort() } else { connection.finish() }
                    #expect(await results.next() == true)
                }
            }
        }
    }

    @Test("A5: a handler learns that its caller left while it works")
    func callerLeavesLater() async throws {
        let (ended, note) = AsyncStream.makeStream(of: Void.self)
        let handler: HTTPHandler = { request, body in
            _ = try await body.collect(upTo: 10)
            await withCheckedContinuation { continuation in
                _ = request.caller.onEndOfInput { continuation.resume() }
            }
            note.yield()
            return OutgoingResponse(status: .ok)
        }
        try await withServer(handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
            }
            var results = ended.makeAsyncIterator()
            await results.next()
        }
    }

    @Test("U4: at shutdown the request inside is answered, idle connections are closed, and new ones are refused")
    func shutdown() async throws {
        let (started, note) = AsyncStream.makeStream(of: Void.self)
        let (release, go) = AsyncStream.makeStream(of: Void.self)
        let handler: HTTPHandler = { _, _ in
            note.yield()
            for await _ in release { break }
            return OutgoingResponse(status: .ok, body: .bytes(ByteBuffer(string: "done")))
        }
        try await withServer(handler: handler) { port, services in
            try await RawConnection.open(port: port) { idle in
                try await RawConnection.open(port: port) { busy in
                    try await busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                    for await _ in started { break }
                    await services.triggerGracefulShutdown()
                    #expect(try await idle.readToEnd().isEmpty)
                    go.yield()
                    let answer = try await busy.readToEnd()
                    #expect(answer.contains("Connection: close") && answer.hasSuffix("done"))
                }
            }
            await #expect(throws: (any Error).self) { try await RawConnection.open(port: port) { _ in } }
        }
    }
}
