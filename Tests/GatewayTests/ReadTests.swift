import Core
import NIOCore
import NIOHTTP1
import TestSupport
import Testing

@Suite("Reading and cancelling")
struct ReadTests {
    @Test("A2: a request is known from the moment its id was given out, with the original's order of keys")
    func waiting() async throws {
        try await GatewayFixture.with { gateway in
            let id = try await gateway.submit()
            let queued = try await gateway.send(.GET, "/hello/\(id)")
            #expect(queued.text == "{\"id\":\"\(id)\",\"status\":\"in_queue\",\"attempts\":0}\n")
            #expect(queued.headers["cache-control"] == ["no-store"])
            _ = try await gateway.claim()
            let running = try await gateway.send(.GET, "/hello/\(id)/")
            #expect(running.text == "{\"id\":\"\(id)\",\"status\":\"in_progress\",\"attempts\":0}\n")
        }
    }

    @Test(
        "C5: the answer has the result byte for byte",
        arguments: [
            "{\"b\":1,\"a\":12345678901234567890,\"a\":1.0,\"x\": 1e400 , \"u\":\"\\u00e4\\/<>&\"}", "[1,\n 2]",
            "\"text\"", "17",
            "null", "true",
        ])
    func result(_ json: String) async throws {
        let clock = ManualClock(Timestamp(seconds: 1_622_810_096))
        try await GatewayFixture.with(clock: clock) { gateway in
            let id = try await gateway.submit()
            try await gateway.run(.completed(.inline(Array(json.utf8))))
            let answer = try await gateway.send(.GET, "/hello/\(id)")
            #expect(
                answer.text == "{\"id\":\"\(id)\",\"status\":\"completed\",\"result\":\(json),"
                    + "\"timestamp\":\"2021-06-04T12:34:56Z\",\"attempts\":1}\n")
        }
    }

    @Test("A3: a failure has its kind, its message, and for a wrong status the answer; with verbose, every attempt")
    func failure() async throws {
        let clock = ManualClock(Timestamp(seconds: 1_622_810_096))
        try await GatewayFixture.with(clock: clock) { gateway in
            let id = try await gateway.submit()
            try await gateway.run(
                .retry(RequestFailure(.containerUnreachable, "no connection"), notBefore: clock.now()))
            try await gateway.run(
                .failed(
                    RequestFailure(.containerStatus, "answered 500", statusCode: 500, body: "a \"b\"\n\u{FFFD}\u{1}")))
            let error =
                "\"kind\":\"container_status\",\"message\":\"answered 500\",\"status_code\":500,"
                + "\"body\":\"a \\\"b\\\"\\n\u{FFFD}\\u0001\""
            let time = "\"timestamp\":\"2021-06-04T12:34:56Z\""
            let plain = try await gateway.send(.GET, "/hello/\(id)")
            #expect(
                plain.text == "{\"id\":\"\(id)\",\"status\":\"failed\",\(time),\"attempts\":2,\"error\":{\(error)}}\n")
            let verbose = try await gateway.send(.GET, "/hello/\(id)?verbose=true")
            #expect(
                verbose.text == "{\"id\":\"\(id)\",\"status\":\"failed\",\(time),\"attempts\":2,\"error\":{\(error)},"
                    + "\"attempt_errors\":[{\(time),\"kind\":\"container_unreachable\",\"message\":\"no connection\"},"
                    + "{\(time),\(error)}]}\n")
            #expect(try await gateway.send(.GET, "/hello/\(id)?verbose=maybe").status == 400)
        }
    }

    @Test("A9: a large result is read from its file, whole and with its length", arguments: [65_537, 5_000_001])
    func largeResult(size: Int) async throws {
        try await GatewayFixture.with { gateway in
            let id = try await gateway.submit()
            let json = "\"" + String(repeating: "0123456789", count: size / 10) + "\""
            let writer = try await gateway.store.makeBodyWriter()
            try await writer.write(Array(json.utf8))
            try await gateway.run(.completed(try await writer.finish()))
            let answer = try await gateway.send(.GET, "/hello/\(id)")
            #expect(answer.text.hasPrefix("{\"id\":\"\(id)\",\"status\":\"completed\",\"result\":\"0123"))
            #expect(answer.text.contains(json))
            #expect(answer.text.hasSuffix("\"attempts\":1}\n"))
            #expect(answer.headers["content-length"] == ["\(answer.bytes.count)"])
            let head = try await gateway.send(.HEAD, "/hello/\(id)")
            #expect(head.status == 200 && head.bytes.isEmpty)
            #expect(head.headers["content-length"] == ["\(answer.bytes.count)"])
        }
    }

    @Test("A4: an unknown id, one of another API and a text that is no id are 404")
    func unknown() async throws {
        try await GatewayFixture.with(apis: [.test(), .test(name: "other")]) { gateway in
            let id = try await gateway.submit()
            let paths = [
                "/other/\(id)", "/hello/00000000-0000-7000-8000-000000000000", "/hello/healthz", "/hello/x/y", "/none",
                "/none/\(id)", "/",
            ]
            for path in paths {
                let answer = try await gateway.send(.GET, path)
                #expect(answer.status == 404, "\(path)")
                #expect(answer.text.hasPrefix("{\"error\":{\"kind\":\"not_found\",\"message\":\""))
            }
            #expect(try await gateway.send(.DELETE, "/other/\(id)").status == 404)
            #expect(try await gateway.send(.GET, "/hello/\(id)").status == 200)
        }
    }

    @Test("C6: a result is kept for its retention, and then unknown")
    func retention() async throws {
        let clock = ManualClock()
        try await GatewayFixture.with(clock: clock) { gateway in
            let id = try await gateway.submit()
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            clock.advance(by: .seconds(7 * 86_400 - 1))
            #expect(try await gateway.send(.GET, "/hello/\(id)").status == 200)
            clock.advance(by: .seconds(2))
            #expect(try await gateway.send(.GET, "/hello/\(id)").status == 404)
        }
    }

    @Test(
        "A4: a wrong method is 405 with Allow",
        arguments: [
            (HTTPMethod.GET, "/hello", "POST, OPTIONS"), (.PUT, "/hello", "POST, OPTIONS"),
            (.DELETE, "/hello/", "POST, OPTIONS"), (.POST, "/hello/1", "GET, HEAD, DELETE, OPTIONS"),
            (.PATCH, "/hello/1", "GET, HEAD, DELETE, OPTIONS"),
        ])
    func wrongMethod(_ sample: (method: HTTPMethod, path: String, allow: String)) async throws {
        try await GatewayFixture.with { gateway in
            let answer = try await gateway.send(sample.method, sample.path)
            #expect(answer.status == 405 && answer.headers["allow"] == [sample.allow])
            #expect(answer.text.contains("\"method_not_allowed\""))
        }
    }

    @Test("A4: a store that cannot be read is 503, never 404")
    func storeDown() async throws {
        let store = FaultyStore()
        try await GatewayFixture.with(store: store) { gateway in
            let id = try await gateway.submit()
            store.fail([.read, .apis])
            #expect(try await gateway.send(.GET, "/hello/\(id)").status == 503)
            #expect(try await gateway.send(.GET, "/hello/\(id)?wait=5").status == 503)
            #expect(try await gateway.send(.GET, "/unheard-of/\(id)").status == 503)
        }
    }

    @Test("A7: DELETE cancels what waits and what runs, and refuses what has ended")
    func cancel() async throws {
        try await GatewayFixture.with { gateway in
            let running = try await gateway.submit()
            _ = try await gateway.claim()
            let queued = try await gateway.submit()
            for id in [running, queued] {
                let answer = try await gateway.send(.DELETE, "/hello/\(id)")
                #expect(answer.status == 200)
                #expect(answer.text.hasPrefix("{\"id\":\"\(id)\",\"status\":\"cancelled\",\"timestamp\":\""))
                let again = try await gateway.send(.DELETE, "/hello/\(id)")
                #expect(again.status == 409 && again.text.contains("\"conflict\""))
            }
            #expect(try await gateway.claim().isEmpty)
        }
    }
}
