import Core
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

@testable import HTTPServing

@Suite("Limits of a connection")
struct LimitTests {
    private let short = HTTPServerLimits(
        idleTime: .milliseconds(150), firstByteTime: .milliseconds(150), headTime: .milliseconds(150),
        bodyGrace: .milliseconds(150), bodyCredit: .milliseconds(300), answerTime: .milliseconds(150),
        lingerTime: .milliseconds(50))

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
                // Fails when the connection ends.
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

    private static let times = IdleTimes(
        HTTPServerLimits(
            idleTime: .seconds(120), firstByteTime: .seconds(10), headTime: .seconds(15), bodyGrace: .seconds(5),
            bodyCredit: .seconds(10), bodyRate: 240, answerTime: .seconds(60), lingerTime: .seconds(5)))
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func at(_ seconds: Int64) -> NIODeadline { start + .seconds(seconds) }

    private func check(
        _ watch: inout IdleWatch, _ seconds: Int64, unsent: Int = 0, read: Int = 0, untaken: Bool = false
    ) -> IdleWatch.Verdict {
        watch.check(now: at(seconds), unsent: unsent, read: read, isUntaken: untaken)
    }

    @Test("N6: a first byte within 10 s, a head within 15 s of it, 120 s between requests")
    func heads() {
        var watch = IdleWatch(Self.times, now: start)
        #expect(check(&watch, 9) == .look(at: at(10)))
        #expect(check(&watch, 10) == .close)
        watch = IdleWatch(Self.times, now: start)
        // Part of a head, and later parts do not give more time.
        #expect(watch.readEnded(now: at(9)) == at(24))
        #expect(watch.readEnded(now: at(23)) == nil)
        #expect(check(&watch, 23) == .look(at: at(24)))
        #expect(check(&watch, 24) == .refuse(.head))
        watch.receivedHead()
        watch.receivedEnd()
        #expect(watch.readEnded(now: at(23)) == nil)
        #expect(check(&watch, 500) == .look(at: at(620)))
        #expect(watch.sentEnd(now: at(600)) == nil)
        #expect(check(&watch, 719) == .look(at: at(720)))
        #expect(check(&watch, 720) == .close)
        // The next request's beginning, behind or before the answer.
        #expect(watch.readEnded(now: at(700)) == at(715))
        #expect(check(&watch, 715) == .refuse(.head))
    }

    @Test(
        "N6: a body has 5 s, then 240 B/s; a fast one may pause for 10 s; a caller whose bytes are not taken is not slow"
    )
    func bodies() {
        var watch = IdleWatch(Self.times, now: start)
        watch.receivedHead()
        #expect(watch.readEnded(now: at(0)) == at(5))
        #expect(check(&watch, 4) == .look(at: at(5)))
        #expect(check(&watch, 5) == .refuse(.body))
        // 240 bytes give a second, a megabyte no more than ten.
        watch.receivedBody(240)
        #expect(watch.readEnded(now: at(4)) == nil)
        #expect(check(&watch, 5) == .look(at: at(6)))
        watch.receivedBody(1 << 20)
        #expect(watch.readEnded(now: at(6)) == nil)
        #expect(check(&watch, 15) == .look(at: at(16)))
        #expect(check(&watch, 16, untaken: true) == .look(at: at(21)))
        #expect(check(&watch, 21) == .refuse(.body))
        // Steady bytes below the rate do not hold it open.
        watch = IdleWatch(Self.times, now: start)
        watch.receivedHead()
        _ = watch.readEnded(now: at(0))
        for second in 1...7 as ClosedRange<Int64> {
            watch.receivedBody(80)
            _ = watch.readEnded(now: at(second))
            #expect(check(&watch, second) != .refuse(.body), "\(second)")
        }
        #expect(check(&watch, 8) == .refuse(.body))
    }

    @Test("N6: a caller that waits to be asked for its body is not slow before it is asked")
    func expectation() {
        var watch = IdleWatch(Self.times, now: start)
        watch.receivedHead()
        #expect(watch.hasBodyAhead)
        watch.expectsContinue()
        #expect(watch.readEnded(now: at(0)) == nil)
        #expect(check(&watch, 100) == .look(at: at(220)))
        #expect(watch.sentContinue(now: at(100)) == at(105))
        #expect(check(&watch, 105) == .refuse(.body))
    }

    @Test("A5: silence is allowed while the server works; N6: an answer must be read at 240 B/s over a minute")
    func answers() {
        var watch = IdleWatch(Self.times, now: start)
        watch.receivedHead()
        watch.receivedEnd()
        _ = watch.readEnded(now: at(1))
        #expect(check(&watch, 500) == .look(at: at(620)))
        #expect(check(&watch, 620, unsent: 9, read: 1000) == .look(at: at(680)))
        #expect(check(&watch, 680, unsent: 9, read: 1000 + 60 * 240) == .look(at: at(740)))
        #expect(check(&watch, 740, unsent: 9, read: 1000 + 120 * 240 - 1) == .close)
        // Everything was read in between: the time starts again.
        #expect(check(&watch, 750) == .look(at: at(870)))
        #expect(check(&watch, 760, unsent: 9, read: 99_999) == .look(at: at(820)))
    }

    @Test("N6: a pipelined body does not count as slow while an earlier request is being answered")
    func pipelinedBody() {
        var watch = IdleWatch(Self.times, now: start)
        watch.receivedHead()
        watch.receivedEnd()
        watch.receivedHead()
        _ = watch.readEnded(now: at(0))
        #expect(check(&watch, 60, untaken: true) == .look(at: at(65)))
        _ = watch.sentEnd(now: at(60))
        #expect(check(&watch, 65) == .refuse(.body))
    }

    @Test("N6: a body may come for a while after its answer; then the connection rests like any other")
    func answeredBody() {
        var watch = IdleWatch(Self.times, now: start)
        watch.receivedHead()
        #expect(watch.readEnded(now: at(0)) == at(5))
        #expect(watch.sentEnd(now: at(1)) == at(11))
        #expect(check(&watch, 10) == .look(at: at(11)))
        var silent = watch
        #expect(check(&silent, 11) == .refuse(.body))
        watch.receivedBody(2)
        watch.receivedEnd()
        #expect(watch.readEnded(now: at(10)) == nil)
        #expect(check(&watch, 11) == .look(at: at(130)))
        #expect(check(&watch, 130) == .close)
    }
}
