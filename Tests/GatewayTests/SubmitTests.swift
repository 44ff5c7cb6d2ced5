import AsyncHTTPClient
import Core
import HTTPServing
import NIOCore
import NIOHTTP1
import Synchronization
import TestSupport
import Testing

@Suite("Submitting")
struct SubmitTests {
    @Test("A1: POST answers the id of a request that is in the queue, and where to find it")
    func submit() async throws {
        try await GatewayFixture.with { gateway in
            for path in ["/hello", "/hello/", "/hell%6F"] {
                let answer = try await gateway.send(.POST, path, headers: ["Content-Type": "a/b"], body: [1, 0, 255])
                #expect(answer.status == 200)
                let id = try #require(RequestID(answer.id))
                #expect(answer.text == "{\"id\":\"\(id)\"}\n")
                #expect(answer.headers["content-type"] == ["application/json"])
                #expect(answer.headers["location"] == ["/hello/\(id)"])
                #expect(answer.headers["cache-control"] == ["no-store"])
                let claimed = try #require(try await gateway.claim().first)
                #expect(claimed.id == id && claimed.payload == .inline([1, 0, 255]))
            }
        }
    }

    @Test("C2: an empty body and an absent content type stay what they are")
    func empty() async throws {
        try await GatewayFixture.with { gateway in
            _ = try await gateway.send(.POST, "/hello")
            let claimed = try #require(try await gateway.claim().first)
            #expect(claimed.payload == .empty)
            #expect(!claimed.headers.contains { $0.name == "content-type" })
            #expect(claimed.query == nil)
        }
    }

    @Test("C3: the container gets the caller's end-to-end headers and query; no caller can forge X-Cortex")
    func headers() async throws {
        try await GatewayFixture.with { gateway in
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send(
                    """
                    POST /hello?a=%20b&a=c+d&%zz HTTP/1.1\r
                    Host: example\r
                    CONTENT-TYPE: Text/Plain;Charset="x"  ;  a=B \r
                    X-One: 1\r
                    x-two: 2\r
                    X-One: 3\r
                    X-Utf: äöü ☃\r
                    Authorization: Bearer secret\r
                    Cookie: a=b; c=d\r
                    Idempotency-Key: key-1\r
                    Accept: a/b, c/d\r
                    Connection: keep-alive, X-Hop, content-type\r
                    X-Hop: gone\r
                    Keep-Alive: timeout=5\r
                    TE: trailers\r
                    Trailer: X\r
                    Proxy-Authorization: x\r
                    Proxy-Connection: x\r
                    Accept-Encoding: gzip\r
                    Prefer: respond-async\r
                    X-Cortex-Request-ID: forged\r
                    X_Cortex_Request_ID: forged\r
                    HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r
                    x-cortex-anything: forged\r
                    Content-Length: 2\r
                    \r
                    hi
                    """)
                #expect(try await connection.readResponse().status == 200)
            }
            let claimed = try #require(try await gateway.claim().first)
            #expect(claimed.query == "a=%20b&a=c+d&%zz")
            #expect(
                claimed.headers == [
                    HeaderField("content-type", "Text/Plain;Charset=\"x\"  ;  a=B"), HeaderField("x-one", "1"),
                    HeaderField("x-two", "2"), HeaderField("x-one", "3"), HeaderField("x-utf", "äöü ☃"),
                    HeaderField("authorization", "Bearer secret"), HeaderField("cookie", "a=b; c=d"),
                    HeaderField("idempotency-key", "key-1"), HeaderField("accept", "a/b, c/d"),
                ])
        }
    }

    @Test("C3: a header value that is not UTF-8 is refused by name, rather than changed")
    func latinHeader() async throws {
        try await GatewayFixture.with { gateway in
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send(
                    bytes: Array("POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nX-Name: J".utf8) + [0xF6]
                        + Array("rg\r\n\r\n".utf8))
                let answer = try await connection.readResponse()
                #expect(answer.status == 400 && answer.body.contains("the header X-Name is not UTF-8"))
                #expect(answer.body.contains("percent-encode"))
            }
            #expect(try await gateway.claim().isEmpty)
        }
    }

    @Test(
        "A4: over max_payload is 413, by Content-Length and by counting; exactly max_payload is taken",
        arguments: [100, 200_000])
    func tooLarge(limit: Int) async throws {
        let api = APISpecification.test(requests: RequestPolicy(maxPayload: Int64(limit)))
        try await GatewayFixture.with(apis: [api]) { gateway in
            let body = ByteBuffer(repeating: 7, count: limit + 1)
            let known = try await gateway.send(.POST, "/hello", .bytes(body))
            #expect(known.status == 413 && known.text.contains("\"payload_too_large\""))
            let streamed = try await gateway.send(.POST, "/hello", .stream([body].async, length: .unknown))
            #expect(streamed.status == 413)
            #expect(try await gateway.claim().isEmpty)
            let fits = ByteBuffer(repeating: 7, count: limit)
            for body in [.bytes(fits), .stream([fits].async, length: .unknown)] as [HTTPClientRequest.Body] {
                #expect(try await gateway.send(.POST, "/hello", body).status == 200)
            }
        }
    }

    @Test("A4: a payload that is too large is refused before it is sent")
    func refusedBeforeSending() async throws {
        let api = APISpecification.test(requests: RequestPolicy(maxPayload: 10))
        try await GatewayFixture.with(apis: [api]) { gateway in
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send(
                    "POST /hello HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
                #expect(try await connection.readToEnd().hasPrefix("HTTP/1.1 413 "))
            }
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send(
                    "POST /hello HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
                #expect(try await connection.readResponse().status == 100)
                try await connection.send("ok")
                #expect(try await connection.readResponse().status == 200)
            }
        }
    }

    @Test("A4: a queue at max_queue_length is 429 with Retry-After")
    func queueFull() async throws {
        let api = APISpecification.test(requests: RequestPolicy(maxQueueLength: 1))
        try await GatewayFixture.with(apis: [api]) { gateway in
            #expect(try await gateway.send(.POST, "/hello", body: [1]).status == 200)
            let full = try await gateway.send(.POST, "/hello", body: [1])
            #expect(full.status == 429 && full.headers["retry-after"] == ["1"])
            #expect(full.text.contains("\"queue_full\""))
        }
    }

    @Test("A4: a store that takes nothing is 503 with Retry-After, and nothing was accepted", arguments: [10, 100_000])
    func storeDown(size: Int) async throws {
        let store = FaultyStore()
        try await GatewayFixture.with(store: store) { gateway in
            store.fail([.submit])
            let answer = try await gateway.send(.POST, "/hello", body: Array(repeating: 1, count: size))
            #expect(answer.status == 503 && answer.headers["retry-after"] == ["1"])
            #expect(answer.text.contains("\"store_unavailable\""))
            store.fail([.write])
            let large = try await gateway.send(.POST, "/hello", body: Array(repeating: 1, count: 100_000))
            #expect(large.status == 503)
            store.fail([])
            #expect(store.openBodies == 0)
            #expect(try await gateway.claim().isEmpty)
            #expect(try await gateway.send(.POST, "/hello", body: [1]).status == 200)
        }
    }

    @Test(
        "N7: below the disk reserve a submission is 503 disk_low, also in the middle of a body; results are still read")
    func diskLow() async throws {
        let spare = Mutex<Int64>(1_000_000)
        let store = FaultyStore()
        try await GatewayFixture.with(store: store, spareDisk: { spare.withLock { $0 } }) { gateway in
            let id = try await gateway.submit()
            // More than there is room for is refused before it is sent.
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send(
                    "POST /hello HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
                #expect(try await connection.readToEnd().hasPrefix("HTTP/1.1 503 "))
            }
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send("POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 600000\r\n\r\n")
                try await connection.send(String(repeating: "x", count: 300_000))
                #expect(try await eventually { store.openBodies == 1 })
                spare.withLock { $0 = 0 }
                try await connection.send(String(repeating: "x", count: 300_000))
                #expect(try await connection.readToEnd().contains("\"kind\":\"disk_low\""))
            }
            let refused = try await gateway.send(.POST, "/hello", body: [])
            #expect(refused.status == 503 && refused.headers["retry-after"] == ["5"])
            #expect(refused.text.contains("\"kind\":\"disk_low\"") && store.openBodies == 0)
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            #expect(try await gateway.send(.GET, "/hello/\(id)").text.contains("completed"))
            spare.withLock { $0 = 1 }
            #expect(try await gateway.send(.POST, "/hello", body: []).status == 200)
        }
    }

    @Test(
        "A4: a body over max_payload is 413, also where it is larger than the free space or nothing is free",
        arguments: [0, 500])
    func tooLargeForBoth(spare: Int64) async throws {
        let api = APISpecification.test(requests: RequestPolicy(maxPayload: 1000))
        try await GatewayFixture.with(apis: [api], spareDisk: { spare }) { gateway in
            for (length, kind) in [
                ("1001", "payload_too_large"), ("107374182400", "payload_too_large"), ("1000", "disk_low"),
            ] {
                try await RawConnection.open(port: gateway.port) { connection in
                    try await connection.send("POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: \(length)\r\n\r\n")
                    let answer = try await connection.readResponse()
                    #expect(answer.body.contains("\"kind\":\"\(kind)\""), "\(length): \(answer.body)")
                }
            }
        }
    }

    @Test("A9: a caller that breaks off leaves nothing behind", arguments: [3, 200_000, 280_000])
    func brokenOff(sent: Int) async throws {
        let store = FaultyStore()
        try await GatewayFixture.with(store: store) { gateway in
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send("POST /hello HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n")
                try await connection.send(String(repeating: "x", count: sent))
                // What is gathered in memory before needs no writer.
                if sent > 256 * 1024 { #expect(try await eventually { store.openBodies == 1 }) }
                try await connection.abort()
            }
            #expect(try await eventually { store.openBodies == 0 })
            #expect(try await gateway.claim().isEmpty)
        }
    }

    @Test(
        "C2: bodies of every size around the inline limit arrive byte for byte",
        arguments: [65_535, 65_536, 65_537, 1_000_003])
    func sizes(size: Int) async throws {
        var generator = SeededGenerator(seed: UInt64(size))
        let bytes = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
        try await GatewayFixture.with { gateway in
            #expect(try await gateway.send(.POST, "/hello", body: bytes).status == 200)
            let pieces = stride(from: 0, to: size, by: 777).map { ByteBuffer(bytes: bytes[$0..<min(size, $0 + 777)]) }
            #expect(try await gateway.send(.POST, "/hello", .stream(pieces.async, length: .unknown)).status == 200)
            let claimed = try await gateway.claim()
            #expect(claimed.count == 2)
            for request in claimed {
                let stored = try await gateway.bytes(of: request.payload)
                #expect(stored == bytes)
            }
        }
    }

    @Test("A11: max_queue_time becomes the request's deadline")
    func queueDeadline() async throws {
        let clock = ManualClock()
        let api = APISpecification.test(requests: RequestPolicy(maxQueueTime: .seconds(5)))
        try await GatewayFixture.with(apis: [api], clock: clock) { gateway in
            let id = try await gateway.submit()
            clock.advance(by: .seconds(6))
            _ = try await gateway.store.maintain(now: clock.now())
            #expect(try await gateway.send(.GET, "/hello/\(id)").text.contains("\"kind\":\"expired\""))
        }
    }
}
