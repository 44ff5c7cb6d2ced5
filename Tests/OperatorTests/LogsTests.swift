import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing
import Wire

@Suite("Logs")
struct LogsTests {
    static func start(_ fixture: Fixture, replicas: Int = 1) async throws {
        try await fixture.deploy()
        fixture.orchestrator.setStatus(.of(.ready, replicas), of: "iris")
    }

    /// Waits until the operator has asked the orchestrator for lines.
    static func lines(_ fixture: Fixture) async throws -> AsyncThrowingStream<ReplicaLogLine, any Error>.Continuation {
        #expect(try await eventually { fixture.orchestrator.state.withLock { $0.logs != nil } })
        return try #require(fixture.orchestrator.state.withLock { $0.logs })
    }

    @Test("O4: lines come as one JSON object each, whatever is in them, and the options reach the orchestrator")
    func lines() async throws {
        try await Fixture.with { fixture in
            try await Self.start(fixture)
            async let reply = fixture.call(.GET, "/logs/iris?tail=10&replica=iris-0&container=api")
            let lines = try await Self.lines(fixture)
            lines.yield(ReplicaLogLine(replica: "iris-0", container: "api", text: "first \"line\"\u{1B}[0m\u{0}"))
            for number in 0..<5000 {
                lines.yield(ReplicaLogLine(replica: "iris-0", container: "api", text: "line \(number)"))
            }
            lines.finish()
            let answer = try await reply
            #expect(answer.headers.first(name: "Content-Type") == "application/x-ndjson")
            let received = answer.body.split(separator: "\n")
            #expect(received.count == 5001)
            #expect(
                received[0]
                    == #"{"container":"api","replica":"iris-0","text":"first \"line\"\u001b[0m\u0000"}"#)
            #expect(received.last == #"{"container":"api","replica":"iris-0","text":"line 4999"}"#)
            let options = fixture.orchestrator.state.withLock { $0.logOptions }
            #expect(options == [LogOptions(follow: false, tail: 10, replica: "iris-0", container: "api")])
        }
    }

    @Test(
        "A4: bad options are refused, and what does not exist is named",
        arguments: [
            ("tail=-1", 400, "tail"), ("tail=x", 400, "tail"), ("follow=maybe", 400, "follow"),
            ("replica=iris-7", 404, "iris-7"), ("container=web", 404, "it has api"), ("replica=", 400, "replica"),
        ])
    func badOptions(query: String, status: Int, part: String) async throws {
        try await Fixture.with { fixture in
            try await Self.start(fixture)
            let reply = try await fixture.call(.GET, "/logs/iris?\(query)")
            #expect(reply.status == status)
            #expect(try reply.error.message.contains(part))
        }
    }

    @Test("O4: without a replica a notice says so, and an error in the middle is the last line")
    func noticeAndError() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            fixture.orchestrator.setStatus(APIStatus(requested: 2, reason: "the machine is full"), of: "iris")
            async let reply = fixture.call(.GET, "/logs/iris")
            try await Self.lines(fixture).finish(throwing: PlatformError(.engineUnavailable, "the engine is away"))
            let answer = try await reply
            #expect(
                answer.body == """
                    {"notice":"iris has no replica now, 2 wanted: the machine is full"}
                    {"error":{"kind":"engine_unavailable","message":"the engine is away"}}

                    """)
        }
    }

    @Test("A4: an engine that cannot give logs is an error answer, not an empty log")
    func noLogs() async throws {
        try await Fixture.with { fixture in
            try await Self.start(fixture)
            fixture.orchestrator.state.withLock { $0.logError = PlatformError(.engineUnavailable, "away") }
            #expect(try await fixture.call(.GET, "/logs/iris").status == 503)
        }
    }

    @Test("O4: a followed log is kept alive while it is silent, and ends when the client leaves")
    func follow() async throws {
        try await Fixture.with { fixture in
            try await Self.start(fixture)
            // A client of its own, so that its connection closes for certain.
            let client = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup)
            do {
                let response = try await client.execute(
                    fixture.request(.GET, "/logs/iris?follow=true"), timeout: .seconds(30))
                var body = response.body.makeAsyncIterator()
                let lines = try await Self.lines(fixture)
                lines.yield(ReplicaLogLine(replica: "iris-0", container: "api", text: "hello"))
                let first = try #require(try await body.next())
                #expect(String(buffer: first) == #"{"container":"api","replica":"iris-0","text":"hello"}"# + "\n")
                #expect(try await eventually { fixture.clock.sleepers > 0 })
                fixture.clock.advance(by: .seconds(10))
                let beat = try #require(try await body.next())
                #expect(String(buffer: beat) == "\n")
                #expect(fixture.orchestrator.endedLogs == 0)
            } catch {
                try await client.shutdown()
                throw error
            }
            try await client.shutdown()
            #expect(try await eventually { fixture.orchestrator.endedLogs == 1 })
            #expect(try await eventually { fixture.clock.sleepers == 0 })
        }
    }

    @Test("U4: a followed log ends properly when the platform stops")
    func shutdown() async throws {
        try await Fixture.with { fixture in
            try await Self.start(fixture)
            let response = try await HTTPClient.shared.execute(
                fixture.request(.GET, "/logs/iris?follow=true"), timeout: .seconds(30))
            let lines = try await Self.lines(fixture)
            lines.yield(ReplicaLogLine(replica: "iris-0", container: "api", text: "hello"))
            var body = response.body.makeAsyncIterator()
            _ = try await body.next()
            await fixture.group.triggerGracefulShutdown()
            #expect(try await body.next() == nil)
            #expect(try await eventually { fixture.orchestrator.endedLogs == 1 })
        }
    }
}
