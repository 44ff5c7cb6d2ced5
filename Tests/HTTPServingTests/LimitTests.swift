import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

@testable import struct HTTPServing.IdleWatch

@Suite("Limits of a connection")
struct LimitTests {
    private let short = HTTPServerLimits(idleTime: .milliseconds(150), lingerTime: .milliseconds(50))

    @Test(
        "A4: a caller that sends nothing, or its head or body too slowly, is cut off",
        arguments: ["", "GET / HT", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab"])
    func idle(_ start: String) async throws {
        try await withServer(limits: short, handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                // Bytes that cross the server's closing make it a reset, which is an end as well.
                do {
                    if !start.isEmpty { try await connection.send(start) }
                    _ = try await connection.readToEnd()
                } catch {}
            }
        }
    }

    @Test("A4: a head that drips in byte by byte does not hold a connection")
    func slowHead() async throws {
        try await withServer(limits: short, handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                // Ends with the connection, which is what is awaited.
                await #expect(throws: (any Error).self) {
                    try await connection.send("GET / HTTP/1.1\r\n")
                    while true {
                        try await connection.send("X: y\r\n")
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
            }
        }
    }

    @Test("A4: a caller that does not read its answer is cut off")
    func slowReader() async throws {
        let (ended, note) = AsyncStream.makeStream(of: Void.self)
        let handler: HTTPHandler = { _, _ in
            OutgoingResponse(
                status: .ok,
                body: .stream(length: nil) { out in
                    defer { note.yield() }
                    let piece = ByteBuffer(repeating: 0x20, count: 1 << 20)
                    while true { try await out.write(piece) }
                })
        }
        try await withServer(limits: short, handler: handler) { port, _ in
            var hasBegun = false
            while !hasBegun {
                try await RawConnection.open(port: port) { connection in
                    do {
                        try await connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                        _ = try await connection.read(through: "\r\n\r\n")
                        hasBegun = true
                    } catch {
                        // A test that was too slow to send is cut off rightly, and tries again.
                        return
                    }
                    for await _ in ended { break }
                }
            }
        }
    }

    @Test("A4: a connection past the limit waits until another one ends")
    func connections() async throws {
        var limits = HTTPServerLimits(lingerTime: .milliseconds(50))
        limits.connections = 1
        try await withServer(limits: limits, handler: echo) { port, _ in
            try await RawConnection.open(port: port) { second in
                try await RawConnection.open(port: port) { third in
                    try await second.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
                    #expect(try await second.readResponse().body == "GET /2 - ")
                    try await third.send("GET /3 HTTP/1.1\r\nHost: h\r\n\r\n")
                    second.finish()
                    #expect(try await third.readResponse().body == "GET /3 - ")
                }
            }
        }
    }

    @Test("A5: silence is allowed while the server works, and again measured afterwards")
    func watch() {
        let start = NIODeadline.uptimeNanoseconds(0)
        var watch = IdleWatch(idleTime: .seconds(10), now: start)
        #expect(watch.check(now: start + .seconds(9), unsent: 0) == .look(at: start + .seconds(10)))
        watch.receivedHead(now: start + .seconds(9))
        #expect(watch.check(now: start + .seconds(18), unsent: 0) == .look(at: start + .seconds(19)))
        watch.receivedBody(now: start + .seconds(18))
        watch.receivedEnd(now: start + .seconds(27))
        #expect(watch.check(now: start + .seconds(500), unsent: 0) == .look(at: start + .seconds(510)))
        #expect(watch.check(now: start + .seconds(510), unsent: 7) == .look(at: start + .seconds(520)))
        #expect(watch.check(now: start + .seconds(520), unsent: 6) == .look(at: start + .seconds(530)))
        #expect(watch.check(now: start + .seconds(530), unsent: 6) == .close)
        watch.sentEnd(now: start + .seconds(531))
        #expect(watch.check(now: start + .seconds(540), unsent: 0) == .look(at: start + .seconds(541)))
        #expect(watch.check(now: start + .seconds(541), unsent: 0) == .close)
    }

    @Test("A4: a pipelined body does not count as slow while an earlier request is being answered")
    func pipelinedBody() {
        let start = NIODeadline.uptimeNanoseconds(0)
        var watch = IdleWatch(idleTime: .seconds(10), now: start)
        watch.receivedHead(now: start)
        watch.receivedEnd(now: start)
        watch.receivedHead(now: start)
        #expect(watch.check(now: start + .seconds(60), unsent: 0) == .look(at: start + .seconds(70)))
        watch.sentEnd(now: start + .seconds(60))
        #expect(watch.check(now: start + .seconds(70), unsent: 0) == .close)
    }
}
