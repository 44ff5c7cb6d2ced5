import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import TestSupport
import Testing

@Suite("Shutdown with callers that stop sending or reading", .timeLimit(.minutes(1)))
struct ShutdownTests {
    private static let limits = HTTPServerLimits(
        lingerTime: .milliseconds(200), shutdownTime: .milliseconds(200))

    @Test("U4: a request whose body does not end is answered 503 after the shutdown time, and the server ends")
    func unendingBody() async throws {
        let started = AsyncStream.makeStream(of: Void.self)
        let ended = try await withServer(
            limits: Self.limits,
            handler: { request, body in
                started.continuation.yield()
                return try await echo(request, &body)
            }
        ) { port, services in
            try await RawConnection.open(port: port) { caller in
                try await caller.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
                for await _ in started.stream { break }
                let start = ContinuousClock.now
                await services.triggerGracefulShutdown()
                let response = try await caller.readResponse()
                #expect(response.status == 503)
                #expect(response.body.contains("shutting down"))
                #expect(ContinuousClock.now - start >= .milliseconds(150))
                _ = try await caller.readToEnd()
                return true
            }
        }
        // The server's run() has returned.
        #expect(ended)
    }

    @Test("U4: a response that its caller does not read is cut off after the shutdown time, and the server ends")
    func unreadResponse() async throws {
        let size = 64 << 20
        try await withServer(
            limits: Self.limits,
            handler: { _, _ in
                OutgoingResponse(status: .ok, body: .bytes(ByteBuffer(repeating: 0x61, count: size)))
            }
        ) { port, services in
            try await RawConnection.open(port: port) { caller in
                try await caller.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                _ = try await caller.read(through: "\r\n\r\n")
                let start = ContinuousClock.now
                await services.triggerGracefulShutdown()
                try await expectEventually("the listener is closed and the response cut off") {
                    ContinuousClock.now - start >= .milliseconds(600)
                }
                // What the system had taken is still read; the rest does not come.
                let rest = (try? await caller.readToEnd()) ?? ""
                #expect(rest.utf8.count < size)
            }
        }
    }
}
