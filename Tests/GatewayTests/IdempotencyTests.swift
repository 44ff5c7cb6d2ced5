import Core
import NIOHTTP1
import Testing

@Suite("Idempotency keys")
struct IdempotencyTests {
    private let key: HTTPHeaders = ["Idempotency-Key": "order 17", "Content-Type": "a/b"]

    @Test(
        "A6: the same key gives the first id and enqueues nothing; the key goes to the container",
        arguments: [2, 100_000])
    func same(size: Int) async throws {
        let store = FaultyStore()
        try await GatewayFixture.with(store: store) { gateway in
            let body = [UInt8](repeating: 3, count: size)
            let first = try await gateway.send(.POST, "/hello?q=1", headers: key, body: body)
            let second = try await gateway.send(.POST, "/hello?q=1", headers: key, body: body)
            #expect(first.status == 200 && second.status == 200 && first.id == second.id)
            #expect(second.headers["location"] == ["/hello/\(first.id)"])
            let claimed = try await gateway.claim()
            #expect(claimed.count == 1)
            #expect(claimed[0].headers.contains(HeaderField("idempotency-key", "order 17")))
            try await gateway.store.release(claimed.map(\.lease), now: gateway.clock.now())
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            let waited = try await gateway.send(.POST, "/hello?q=1&wait=9", headers: key, body: body)
            #expect(waited.status == 200 && waited.text.hasPrefix("{\"id\":\"\(first.id)\",\"status\":\"completed\""))
            #expect(store.openBodies == 0)
        }
    }

    @Test("A6, A5: the same key with a wish to wait waits for the first request")
    func sameWaits() async throws {
        try await GatewayFixture.with { gateway in
            let first = try await gateway.send(.POST, "/hello", headers: key, body: [1])
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            var headers = key
            headers.add(name: "Prefer", value: "wait=30")
            let second = try await gateway.send(.POST, "/hello", headers: headers, body: [1])
            #expect(second.text.hasPrefix("{\"id\":\"\(first.id)\",\"status\":\"completed\",\"result\":1,"))
        }
    }

    @Test("A6: how a caller waits makes no difference, in any spelling")
    func waits() async throws {
        try await GatewayFixture.with { gateway in
            let plain = try await gateway.send(.POST, "/hello", headers: key, body: [1])
            var other = key
            other.replaceOrAdd(name: "Idempotency-Key", value: "other")
            let query = try await gateway.send(.POST, "/hello?a=%20b&c", headers: other, body: [1])
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            for spelling in [
                "?wait=3", "?wait=2", "?wait=0", "?w%61it=1", "?%77%61%69%74=1", "?wait=1&wait=2", "?&wait=1&", "?",
            ] {
                let answer = try await gateway.send(.POST, "/hello" + spelling, headers: key, body: [1])
                #expect(answer.status == 200 && answer.id == plain.id, "\(spelling)")
            }
            for spelling in ["?wait=3&a=%20b&c", "?a=%20b&wait=1&c", "?a=%20b&c&w%61it=1", "?a=%20b&c"] {
                let answer = try await gateway.send(.POST, "/hello" + spelling, headers: other, body: [1])
                #expect(answer.status == 200 && answer.id == query.id, "\(spelling)")
            }
            var preferring = key
            preferring.add(name: "Prefer", value: "wait=1")
            #expect(try await gateway.send(.POST, "/hello", headers: preferring, body: [1]).id == plain.id)
            for spelling in ["?wait=1&x", "?waits=1", "?Wait=1", "?wait%20=1"] {
                let answer = try await gateway.send(.POST, "/hello" + spelling, headers: key, body: [1])
                #expect(answer.status == 422, "\(spelling)")
            }
            #expect(try await gateway.claim().isEmpty)
        }
    }

    @Test("A6: the same key with another body, content type or query is 422; another API's keys are its own")
    func different() async throws {
        try await GatewayFixture.with(apis: [.test(), .test(name: "other")]) { gateway in
            let first = try await gateway.send(.POST, "/hello?q=1", headers: key, body: [1, 2])
            var typed = key
            typed.replaceOrAdd(name: "Content-Type", value: "a/c")
            let answers = [
                try await gateway.send(.POST, "/hello?q=1", headers: key, body: [1, 3]),
                try await gateway.send(.POST, "/hello?q=1", headers: key, body: [1]),
                try await gateway.send(.POST, "/hello?q=2", headers: key, body: [1, 2]),
                try await gateway.send(.POST, "/hello", headers: key, body: [1, 2]),
                try await gateway.send(.POST, "/hello?q=1", headers: typed, body: [1, 2]),
                try await gateway.send(.POST, "/hello?q=1", headers: ["Idempotency-Key": "order 17"], body: [1, 2]),
            ]
            for answer in answers {
                #expect(answer.status == 422 && answer.text.contains("\"idempotency_key_reused\""))
            }
            let other = try await gateway.send(.POST, "/other?q=1", headers: key, body: [1, 2])
            #expect(other.status == 200 && other.id != first.id)
            #expect(try await gateway.claim().count == 1)
        }
    }

    @Test("A6: two at the same moment get the same id")
    func race() async throws {
        try await GatewayFixture.with { gateway in
            let ids = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<20 {
                    group.addTask { try await gateway.send(.POST, "/hello", headers: key, body: [1]).id }
                }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(ids.count == 1)
            #expect(try await gateway.claim(limit: 100).count == 1)
        }
    }

    @Test("A6: a key that is none is 400", arguments: ["", "ä", String(repeating: "k", count: 256), "a\tb"])
    func badKey(_ bad: String) async throws {
        try await GatewayFixture.with { gateway in
            let answer = try await gateway.send(.POST, "/hello", headers: ["Idempotency-Key": bad], body: [1])
            #expect(answer.status == 400)
            #expect(try await gateway.claim().isEmpty)
        }
    }

    @Test("A6: two keys are 400, the longest key is fine")
    func keys() async throws {
        try await GatewayFixture.with { gateway in
            let two: HTTPHeaders = ["Idempotency-Key": "a", "idempotency-key": "b"]
            let refused = try await gateway.send(.POST, "/hello", headers: two, body: [1])
            #expect(refused.status == 400)
            let long: HTTPHeaders = ["Idempotency-Key": String(repeating: "~", count: 255)]
            let taken = try await gateway.send(.POST, "/hello", headers: long, body: [1])
            #expect(taken.status == 200)
        }
    }
}
