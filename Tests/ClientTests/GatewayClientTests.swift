import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import NIOHTTP1
import StubPlatform
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Client

@Suite("A: the gateway's client", .timeLimit(.minutes(2)))
struct GatewayClientTests {
    private static let text = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"

    private func with<Result: Sendable>(
        clock: any PlatformClock = ManualClock(),
        _ body: @Sendable (StubPlatform, GatewayClient, RequestID) async throws -> Result
    ) async throws -> Result {
        try await StubPlatform.with { stub in
            let id = try #require(RequestID(Self.text))
            let environment = Environment(name: "test", operatorEndpoint: stub.url)
            return try await Transport.with { transport in
                let client = try GatewayClient(
                    api: APIDocument(endpoint: stub.url + "/hello"), name: "hello", environment: environment,
                    transport: transport, clock: clock)
                return try await body(stub, client, id)
            }
        }
    }

    private static func document(_ status: String, _ more: String = "") -> StubPlatform.Response {
        .json(#"{"id":"\#(text)","status":"\#(status)"\#(more)}"#)
    }

    @Test("C2: a file is sent whole, with its length, its type and the caller's headers")
    func submitsFile() async throws {
        try await withTemporaryDirectory { folder in
            let file = folder.appendingPathComponent("data")
            let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try Data(bytes).write(to: file)
            let path = file.path
            try await with { stub, client, id in
                stub.on("POST /hello", .json(#"{"id":"\#(Self.text)"}"#))
                let (payload, descriptor) = try PayloadSource.open(path: path)
                defer { close(descriptor) }
                let answer = try await client.submit(payload, contentType: "image/x", headers: [("X-One", "1")])
                #expect(answer.id == id)
                let request = try #require(stub.requests.first)
                #expect(Array(request.body.readableBytesView) == bytes)
                #expect(request[header: "Content-Length"] == "1000000")
                #expect(request[header: "Content-Type"] == "image/x")
                #expect(request[header: "X-One"] == "1")
                #expect(request[header: "CortexAPIVersion"] == nil)
                #expect(request[header: "Authorization"] == nil)
            }
        }
    }

    @Test("C2: no payload is an empty body without a type")
    func submitsNothing() async throws {
        try await with { stub, client, _ in
            stub.on("POST /hello", .json(#"{"id":"\#(Self.text)"}"#))
            _ = try await client.submit(nil, contentType: nil)
            let request = try #require(stub.requests.first)
            #expect(request[header: "Content-Length"] == "0")
            #expect(request[header: "Content-Type"] == nil)
        }
    }

    @Test("A1: an answer without an id is no receipt")
    func noReceipt() async throws {
        try await with { stub, client, _ in
            for response in [StubPlatform.Response.json("{}"), .json("hello"), .error(429, "queue_full", "full")] {
                stub.on("POST /hello", response)
                await #expect(throws: PlatformError.self) { try await client.submit(nil, contentType: nil) }
            }
        }
    }

    @Test("A5: waiting asks for a long poll and ends with the request")
    func waits() async throws {
        try await with { stub, client, id in
            stub.on("GET /hello/\(id)", Self.document("completed", #","result":1"#))
            let request = try await client.wait(id, limit: .seconds(7))
            #expect(request.status == .completed)
            #expect(stub.requests.map { $0[header: "Prefer"] } == ["wait=7"])
        }
    }

    @Test("A5: a gateway that answers a long poll at once, or is away for a moment, is asked again after a pause")
    func fallsBack() async throws {
        let clock = ManualClock()
        try await with(clock: clock) { stub, client, id in
            stub.on(
                "GET /hello/\(id)", Self.document("in_queue"), .error(503, "store_unavailable", "later"), .cutOff,
                Self.document("failed", #","error":{"kind":"timeout","message":"slow"},"attempts":3"#))
            async let waiting = client.wait(id, limit: nil)
            for _ in 0..<3 {
                #expect(try await eventually { clock.sleepers == 1 })
                clock.advance(by: .seconds(2))
            }
            let request = try await waiting
            #expect(request.error?.kind == .timeout)
            #expect(request.attempts == 3)
            #expect(stub.count("GET /hello/\(id)") == 4)
        }
    }

    @Test("O3: a gateway that is away is looked for where the operator says it is by then")
    func moves() async throws {
        let clock = ManualClock()
        try await StubPlatform.with { old in
            try await StubPlatform.with { new in
                let id = try #require(RequestID(Self.text))
                old.on("GET /hello/\(id)", .cutOff)
                new.on("GET /hello/\(id)", Self.document("completed", #","result":1"#))
                let environment = Environment(name: "test", operatorEndpoint: old.url)
                let moved = try EndpointURL(new.url + "/hello")
                let asked = Mutex(0)
                let request = try await Transport.with { transport in
                    let client = try GatewayClient(
                        api: APIDocument(endpoint: old.url + "/hello"), name: "hello", environment: environment,
                        transport: transport, clock: clock
                    ) {
                        // The operator is away as well at first.
                        if asked.withLock({
                            $0 += 1; return $0
                        }) == 1 {
                            throw PlatformError(.connectionFailed, "away")
                        }
                        return moved
                    }
                    async let waiting = client.wait(id, limit: nil, isKnown: true)
                    for _ in 0..<2 {
                        #expect(try await eventually { clock.sleepers == 1 })
                        clock.advance(by: .seconds(2))
                    }
                    return try await waiting
                }
                #expect(request.status == .completed)
                #expect(old.count("GET /hello/\(id)") == 2 && new.count("GET /hello/\(id)") == 1)
                #expect(asked.withLock { $0 } == 2)
            }
        }
    }

    @Test("A5: the limit ends the wait with the present status; an unknown id ends it at once")
    func ends() async throws {
        try await with { stub, client, id in
            stub.on("GET /hello/\(id)", Self.document("in_progress"), .error(404, "not_found", "gone"))
            let waited = try await client.wait(id, limit: .zero)
            #expect(waited.status == .inProgress)
            await #expect(throws: PlatformError.self) { try await client.wait(id, limit: nil) }
        }
    }

    @Test("A5: an answer that is not understood ends the wait; asking again would not help")
    func nonsense() async throws {
        try await with { stub, client, id in
            stub.on("GET /hello/\(id)", .json("{}"))
            await #expect(throws: PlatformError.self) { try await client.wait(id, limit: nil) }
        }
    }

    @Test(
        "O3: a platform that is away is asked again as long as a restart takes, not for ever",
        arguments: [(false, ResultWait.failuresAllowed.first), (true, ResultWait.failuresAllowed.later)])
    func failuresAllowed(isKnown: Bool, allowed: Int) {
        let now = Instant(seconds: 1000)
        var machine = ResultWait(start: now, limit: nil, isKnown: isKnown)
        let away = PlatformError(.connectionFailed, "away")
        for _ in 0..<allowed {
            guard case .sleep = machine.next(.away(away), at: now) else { return #expect(Bool(false)) }
        }
        guard case .fail = machine.next(.away(away), at: now) else { return #expect(Bool(false)) }
    }

    @Test(
        "O3: a wait survives a proxy that answers for the platform",
        arguments: [408, 425, 500, 502, 503, 504, 520, 524]
    )
    func proxy(status: UInt) async throws {
        let peer = Peer(address: "http://stub", environment: "e")
        let page = Reply(
            status: .init(statusCode: Int(status)), headers: [:], body: ByteBuffer(string: "<html>Gateway</html>"))
        let error = peer.error(for: page)
        #expect(error.isPassing)
        #expect(error.message.contains("answered \(status)"))
        let own = ByteBuffer(string: #"{"error":{"kind":"internal","message":"a bug"}}"#)
        #expect(!peer.error(for: Reply(status: .internalServerError, headers: [:], body: own)).isPassing)
    }

    @Test("N9: an illegal header value is named without showing it")
    func illegalHeader() {
        let peer = Peer(address: "http://stub", environment: "e")
        let error = peer.error(for: HTTPClientError.invalidHeaderFieldValues(["Bearer secret\n"]))
        #expect(!"\(error)".contains("secret"))
        #expect((error as? PlatformError)?.code == .usage)
    }

    @Test("A7: a request is taken back; one that has ended is a conflict")
    func cancels() async throws {
        try await with { stub, client, id in
            stub.on("DELETE /hello/\(id)", Self.document("cancelled"), .error(409, "conflict", "it has ended"))
            let cancelled = try await client.cancel(id)
            #expect(cancelled.status == .cancelled)
            await #expect(throws: PlatformError.self) { try await client.cancel(id) }
        }
    }

    @Test(
        "C5: the result is cut out of the document byte for byte",
        arguments: [
            "12345678901234567890", "1.0", "1e400", "null", "\"a, } ] \\\" \\u00e4\"", "[]", "{}",
            #"{"b":1,"a":[{"x":"}"},2],"b":2}"#, "[ 1 , 2\n]", "\"ä\\\\\"",
        ])
    func verbatim(result: String) throws {
        for (before, after) in [("", ""), (" ", "\n"), ("\t\r\n", " ")] {
            let text =
                #"{ "id" : "\#(Self.text)","status":"completed" , "result":\#(before)\#(result)\#(after),"timestamp":"2026-01-01T00:00:00Z" } "#
            let request = try RequestSnapshot(document: ByteBuffer(string: text))
            #expect(request.result.map { String(buffer: $0) } == result)
            #expect(request.timestamp == "2026-01-01T00:00:00Z")
            #expect(String(buffer: request.document) == text)
        }
    }

    @Test(
        "A2: what is no request document is refused",
        arguments: [
            "", "[]", "{", "{}", #"{"id":1}"#, #"{"id":"x","status":"completed"}"#, #"{"id" "x"}"#, #"{"a":}"#,
            #"{"id":"0190f3a2-5d1c-7aaa-8bbb-1234567890ab","status":"done"}"#,
            #"{"id":"0190f3a2-5d1c-7aaa-8bbb-1234567890ab","status":"completed"} x"#, #"{"a":"\"#,
        ])
    func refuses(text: String) {
        #expect(throws: PlatformError.self) { try RequestSnapshot(document: ByteBuffer(string: text)) }
    }
}
