import Core
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Operator

/// What a log reader that stops reading, or leaves, costs others.
@Suite("Log readers that stop or leave", .serialized, .timeLimit(.minutes(3)))
struct LogReaderTests {
    /// A container that has written 33 MB of line ends, or nothing.
    private final class Source: Sendable {
        private static let size = 33_000_000
        private struct State {
            var running = 0
            var handed = 0
        }

        private let state = Mutex(State())
        let isSilent: Bool

        init(isSilent: Bool = false) { self.isSilent = isSilent }

        var running: Int { state.withLock { $0.running } }
        var handed: Int { state.withLock { $0.handed } }

        var stream: LogStream<ReplicaLogBatch> {
            LogStream { [self] write in
                state.withLock { $0.running += 1 }
                defer { state.withLock { $0.running -= 1 } }
                let lines = [UInt8](repeating: 10, count: Limits.logBlock)
                if isSilent { for await _ in AsyncStream.makeStream(of: Never.self).stream {} }
                for _ in 0..<Self.size / lines.count {
                    try await write(ReplicaLogBatch(replica: "iris-0", container: "api", lines: lines))
                    state.withLock { $0.handed += lines.count }
                }
            }
        }
    }

    private static func with(
        isSilent: Bool = false, _ body: (Fixture, Source, Int) async throws -> Void
    ) async throws {
        try await Fixture.with { fixture in
            try await LogsTests.start(fixture)
            let source = Source(isSilent: isSilent)
            fixture.orchestrator.state.withLock { $0.logSource = source.stream }
            try await body(fixture, source, Int(fixture.base.split(separator: ":").last ?? "") ?? 0)
        }
    }

    private static func ask(_ connection: RawConnection, _ query: String = "") async throws {
        try await connection.send(
            "GET /logs/iris\(query) HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \(Fixture.token)\r\n\r\n")
        _ = try await connection.read(through: "\r\n\r\n")
    }

    @Test(
        "N4, N8: readers that stop reading take nothing more from their container, and other calls are answered at once",
        arguments: [1, 4, 64])
    func stop(readers: Int) async throws {
        try await Self.with { (fixture, source, port) in
            let clock = ContinuousClock()
            let (leave, leaving) = AsyncStream.makeStream(of: Never.self)
            let gate = Task { for await _ in leave {} }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<readers {
                    group.addTask {
                        try await RawConnection.open(port: port) { connection in
                            try await Self.ask(connection)
                            _ = try await connection.read(through: "\n")
                            await gate.value
                            try? await connection.abort()
                        }
                    }
                }
                #expect(try await eventually { source.running == readers })
                var slowest = Duration.zero
                for _ in 0..<30 {
                    let begin = clock.now
                    #expect(try await fixture.call(.GET, "/healthz").status == 200)
                    slowest = max(slowest, clock.now - begin)
                }
                #expect(slowest < .seconds(2), "slowest answer of another call: \(slowest)")
                // What the sockets' buffers hold, not the whole log.
                #expect(source.handed < readers * 2 << 20, "\(source.handed) bytes of \(readers) readers")
                let left = clock.now
                leaving.finish()
                try await group.waitForAll()
                #expect(try await eventually { source.running == 0 })
                #expect(clock.now - left < .seconds(readers > 4 ? 10 : 2))
            }
        }
    }

    @Test(
        "N4, N8: a reader that leaves ends its whole chain, whether the log is silent or the source waits",
        arguments: [true, false])
    func leave(isSilent: Bool) async throws {
        var fastest = Duration.seconds(3600)
        // A machine that is busy with something else may delay an attempt; a chain that waits for something delays all.
        for _ in 0..<3 where fastest >= .seconds(1) {
            try await Self.with(isSilent: isSilent) { (_, source, port) in
                let clock = ContinuousClock()
                var left = clock.now
                try await RawConnection.open(port: port) { connection in
                    try await Self.ask(connection, "?follow=true")
                    #expect(try await eventually { source.running == 1 && (isSilent || source.handed > 0) })
                    left = clock.now
                    try? await connection.abort()
                }
                #expect(try await eventually { source.running == 0 })
                fastest = min(fastest, clock.now - left)
            }
        }
        #expect(fastest < .seconds(1), "\(fastest)")
    }

    @Test("N8: when the reader has left, a writer that waits ends, and the next write reads nothing more")
    func finish() async throws {
        let pipe = LinePipe(limit: 1)
        try await pipe.write(ByteBuffer(string: "one\n"))
        // It waits for space, or is about to.
        let waiting = Task { try await pipe.write(ByteBuffer(string: "two\n")) }
        pipe.finish()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        await #expect(throws: CancellationError.self) { try await pipe.write(ByteBuffer(string: "three\n")) }
        #expect(await pipe.next().map { String(buffer: $0) } == "one\n")
        #expect(await pipe.next() == nil)
    }

    @Test("U4: a reader that stopped reading does not hold up the shutdown", arguments: ["", "?follow=true"])
    func shutdown(query: String) async throws {
        try await Self.with { (fixture, source, port) in
            let (leave, leaving) = AsyncStream.makeStream(of: Never.self)
            let gate = Task { for await _ in leave {} }
            let reader = Task {
                try await RawConnection.open(port: port) { connection in
                    try await Self.ask(connection, query)
                    await gate.value
                }
            }
            #expect(try await eventually { source.handed > 0 })
            await fixture.group.triggerGracefulShutdown()
            try await expectEventually {
                fixture.clock.advance(by: .seconds(1))
                return source.running == 0
            }
            leaving.finish()
            _ = await reader.result
        }
    }

    @Test("N8: documents of lines are JSON, whatever is in them, in pieces of bounded size")
    func encoding() throws {
        let text = "a\"\\/\t\r\u{0}\u{1B}\u{7F}ü𝄞"
        let lines = Array("\(text)\n\n\(String(repeating: "x", count: 500))\n".utf8)
        var encoder = LogBatchEncoder(ReplicaLogBatch(replica: "r\"1", container: "c", lines: lines))
        var documents: [LogLineDocument] = []
        var pieces = 0
        while !encoder.isAtEnd {
            let piece = Array(encoder.next(upTo: 40).readableBytesView)
            pieces += 1
            for line in piece.split(separator: 10) {
                documents.append(try DocumentCoding.decode(LogLineDocument.self, from: Array(line)))
            }
        }
        #expect(documents.map(\.text) == [text, "", String(repeating: "x", count: 500)])
        #expect(documents.allSatisfy { $0.replica == "r\"1" && $0.container == "c" })
        #expect(pieces == 3)
    }
}
