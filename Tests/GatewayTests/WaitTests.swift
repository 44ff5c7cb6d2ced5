import Core
import NIOHTTP1
import ServiceLifecycle
import StoreMemory
import Synchronization
import TestSupport
import Testing

@testable import Gateway
@testable import HTTPServing

@Suite("Long poll")
struct WaitTests {
    @Test("A5: GET answers as soon as the request ends", arguments: ["header", "parameter"])
    func read(way: String) async throws {
        try await GatewayFixture.with { gateway in
            let id = try await gateway.submit()
            let path = way == "header" ? "/hello/\(id)" : "/hello/\(id)?wait=50"
            let headers: HTTPHeaders = way == "header" ? ["Prefer": "respond-async, wait=50"] : [:]
            async let answer = gateway.send(.GET, path, headers: headers)
            #expect(try await eventually { try await gateway.store.counts()["hello"]?.inQueue == 1 })
            try await gateway.run(.completed(.inline(Array("{}".utf8))))
            let end = try await answer
            #expect(end.text.contains("\"status\":\"completed\",\"result\":{}"))
            #expect(end.headers["preference-applied"] == (way == "header" ? ["wait=50"] : []))
        }
    }

    @Test("A5: POST answers the GET document of that moment")
    func submit() async throws {
        try await GatewayFixture.with { gateway in
            async let answer = gateway.send(.POST, "/hello", headers: ["Prefer": "wait=50"], body: [1])
            #expect(try await eventually { try await gateway.store.counts()["hello"]?.inQueue == 1 })
            try await gateway.run(.failed(RequestFailure(.timeout, "too slow")))
            let end = try await answer
            #expect(end.status == 200)
            #expect(end.text.contains("\"status\":\"failed\"") && end.text.contains("\"kind\":\"timeout\""))
            #expect(end.headers["location"] == ["/hello/\(end.id)"])
            #expect(end.headers["preference-applied"] == ["wait=50"])
        }
    }

    @Test("A5: after N seconds the present status is the answer")
    func timeOut() async throws {
        let clock = ManualClock()
        try await GatewayFixture.with(clock: clock) { gateway in
            let id = try await gateway.submit()
            async let answer = gateway.send(.GET, "/hello/\(id)", headers: ["Prefer": "wait=\"3\""])
            async let posted = gateway.send(.POST, "/hello?wait=3", body: [1])
            #expect(try await eventually { try await gateway.store.counts()["hello"]?.inQueue == 2 })
            _ = try await gateway.claim()
            let advancing = Task {
                while !Task.isCancelled {
                    clock.advance(by: .milliseconds(500))
                    await Task.yield()
                }
            }
            let (read, submitted) = try await (answer, posted)
            advancing.cancel()
            #expect(read.text.contains("\"status\":\"in_progress\""))
            #expect(submitted.status == 200 && submitted.text.contains("\"status\":\"in_progress\""))
            #expect(read.headers["preference-applied"] == ["wait=3"])
        }
    }

    @Test("A5: a caller waits neither for a request that has ended nor without asking to")
    func noWait() async throws {
        try await GatewayFixture.with(clock: ManualClock()) { gateway in
            let id = try await gateway.submit()
            #expect(try await gateway.send(.GET, "/hello/\(id)?wait=0").text.contains("in_queue"))
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            #expect(try await gateway.send(.GET, "/hello/\(id)?wait=60").text.contains("completed"))
            #expect(try await gateway.send(.GET, "/hello/00000000-0000-7000-8000-000000000000?wait=60").status == 404)
        }
    }

    @Test(
        "A5: nonsense is 400, on GET and before anything is accepted on POST",
        arguments: ["-1", "1.5", "abc", "", "1s", "%31%00", "１"])
    func nonsense(_ value: String) async throws {
        try await GatewayFixture.with { gateway in
            let id = try await gateway.submit()
            _ = try await gateway.claim()
            let encoded = value == "１" ? "%EF%BC%91" : value
            #expect(try await gateway.send(.GET, "/hello/\(id)?wait=\(encoded)").status == 400)
            #expect(try await gateway.send(.POST, "/hello?wait=\(encoded)", body: [1]).status == 400)
            if value != "%31%00" && value != "１" {
                #expect(
                    try await gateway.send(.GET, "/hello/\(id)", headers: ["Prefer": "wait=\(value)"]).status == 400)
                // A parameter takes precedence, but nonsense beside it is not accepted silently.
                for method in [HTTPMethod.GET, .POST] {
                    let path = method == .GET ? "/hello/\(id)?wait=0" : "/hello?wait=0"
                    let answer = try await gateway.send(method, path, headers: ["Prefer": "wait=\(value)"])
                    #expect(answer.status == 400)
                }
            }
            #expect(try await gateway.claim().isEmpty)
        }
    }

    @Test("A5: more than a minute is a minute", arguments: ["61", "3600", "99999999999999999999999"])
    func clamped(_ seconds: String) async throws {
        try await GatewayFixture.with { gateway in
            let id = try await gateway.submit()
            async let answer = gateway.send(.GET, "/hello/\(id)", headers: ["Prefer": "wait=\(seconds)"])
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            #expect(try await answer.headers["preference-applied"] == ["wait=60"])
        }
    }

    @Test("A5: a lost hint costs time, not the answer; and the store is not asked while nothing happens")
    func lostHint() async throws {
        let clock = ManualClock()
        let store = FaultyStore()
        store.loseHints()
        try await GatewayFixture.with(store: store, clock: clock) { gateway in
            let id = try await gateway.submit()
            async let answer = gateway.send(.GET, "/hello/\(id)?wait=60")
            #expect(try await eventually { store.reads == 1 })
            // A hundred times as fast as real time, and no faster: the look itself must end before its long poll is
            // over.
            for _ in 0..<290 {
                clock.advance(by: .milliseconds(100))
                try await Task.sleep(for: .milliseconds(1))
            }
            #expect(store.reads == 1)
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            let advancing = Task {
                while !Task.isCancelled {
                    clock.advance(by: .milliseconds(100))
                    try await Task.sleep(for: .milliseconds(1))
                }
            }
            #expect(try await answer.text.contains("completed"))
            advancing.cancel()
            #expect(store.reads <= 3)
        }
    }

    @Test("U4: at shutdown those who wait get the present status")
    func shutdown() async throws {
        let store = FaultyStore()
        try await GatewayFixture.with(store: store) { gateway in
            let id = try await gateway.submit()
            async let first = gateway.send(.GET, "/hello/\(id)?wait=60")
            // A connection that is not accepted yet is reset.
            try await expectEventually { store.reads > 0 }
            async let second = gateway.send(.POST, "/hello?wait=60", body: [1])
            try await expectEventually { try await gateway.store.counts()["hello"]?.inQueue == 2 }
            await gateway.services.triggerGracefulShutdown()
            let answers = try await [first, second]
            for answer in answers { #expect(answer.status == 200 && answer.text.contains("in_queue")) }
        }
    }

    @Test("A5: a caller that leaves is not waited for")
    func callerLeaves() async throws {
        let store = MemoryStore()
        let waiting = WaitingCallers(store: store, clock: ManualClock())
        let caller = CallerPresence()
        let poll = waiting.enter(RequestID(high: 1, low: 2), api: "hello", within: .seconds(60), caller: caller)
        #expect(waiting.count == 1)
        async let woken: Void = withCheckedContinuation { continuation in poll.whenReady { continuation.resume() } }
        caller.goAway()
        await woken
        await #expect(throws: CallerGone.self) { _ = try await poll.look() }
    }

    @Test(
        "A5: a caller that closes its sending side gets the present document at once",
        arguments: ["POST", "GET", "pipelined"])
    func halfClosed(_ way: String) async throws {
        // The clock does not advance: only the half-close can end the wait.
        try await GatewayFixture.with(clock: ManualClock()) { gateway in
            let id = try await gateway.submit()
            let post = "POST /hello?wait=50 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
            let get = "GET /hello/\(id)?wait=50 HTTP/1.1\r\nHost: h\r\n\r\n"
            try await RawConnection.open(port: gateway.port) { connection in
                try await connection.send(way == "POST" ? post : way == "GET" ? get : post + get + get)
                if way != "GET" {
                    #expect(try await eventually { try await gateway.store.counts()["hello"]?.inQueue == 2 })
                }
                connection.finish()
                for _ in 0..<(way == "pipelined" ? 3 : 1) {
                    let answer = try await connection.readResponse()
                    #expect(answer.status == 200 && answer.body.contains("\"status\":\"in_queue\""))
                }
                #expect(try await connection.readToEnd() == "")
            }
        }
    }

    @Test("A5: a wait that begins after the caller has closed its sending side is over at once")
    func finished() async throws {
        let store = MemoryStore()
        let clock = ManualClock()
        try await store.deploy(.test(.test()), now: clock.now())
        let id = RequestID(high: 1, low: 2)
        _ = try await store.submit(
            Submission(id: id, api: "hello", payload: .inline([]), headers: [], query: nil), maxQueueLength: nil,
            now: clock.now())
        let waiting = WaitingCallers(store: store, clock: clock)
        let caller = CallerPresence()
        caller.finish()
        guard case .record = try await waiting.enter(id, api: "hello", within: .seconds(60), caller: caller).look()
        else {
            throw PlatformError(.internal, "still waits")
        }
    }

    @Test("A5: a stream of changes that ends is opened again, and everything is read once")
    func reopened() async throws {
        let store = FaultyStore()
        store.endHints()
        try await GatewayFixture.with(store: store) { gateway in
            let id = try await gateway.submit()
            async let answer = gateway.send(.GET, "/hello/\(id)?wait=60")
            #expect(try await eventually { store.reads >= 1 })
            try await gateway.run(.completed(.inline(Array("1".utf8))))
            #expect(try await answer.text.contains("completed"))
            // An update is noticed in the same way, long before the next regular read.
            let limited = APISpecification.test(requests: RequestPolicy(maxPayload: 1))
            try await gateway.store.deploy(.test(limited), now: gateway.clock.now())
            #expect(try await eventually { try await gateway.send(.POST, "/hello", body: [1, 2]).status == 413 })
        }
    }

    @Test("A5: one that has its answer is forgotten")
    func forgotten() async throws {
        let waiting = WaitingCallers(store: MemoryStore(), clock: ManualClock())
        let caller = CallerPresence()
        do {
            let poll = waiting.enter(RequestID(high: 1, low: 2), api: "hello", within: .seconds(60), caller: caller)
            guard case .gone = try await poll.look() else { throw PlatformError(.internal, "found a request") }
            #expect(waiting.count == 1)
        }
        #expect(waiting.count == 0)
    }

    @Test("A5: a look that finds no place is tried again when one is free, in the order of asking")
    func gate() throws {
        let gate = ReadLimiter(limit: 2)
        #expect(gate.enter() && gate.enter() && !gate.enter())
        let called = Mutex<[Int]>([])
        for number in 0..<3 { gate.whenEntered { called.withLock { $0.append(number) } } }
        #expect(called.withLock { $0 } == [])
        gate.leave()
        #expect(called.withLock { $0 } == [0])
        gate.leave()
        gate.leave()
        #expect(called.withLock { $0 } == [0, 1, 2] && !gate.enter())
        gate.leave()
        gate.leave()
        #expect(gate.enter() && gate.enter() && !gate.enter())
        gate.leave()
        gate.whenEntered { called.withLock { $0.append(3) } }
        #expect(called.withLock { $0 } == [0, 1, 2, 3])
    }

    @Test("A5: a caller that was called back is not kept while others still wait")
    func calledBack() {
        final class Caller: Sendable {}
        let gate = ReadLimiter(limit: 1)
        #expect(gate.enter())
        weak var first: Caller?
        do {
            let caller = Caller()
            first = caller
            gate.whenEntered { withExtendedLifetime(caller) {} }
        }
        gate.whenEntered {}
        #expect(first != nil)
        gate.leave()
        #expect(first == nil)
    }

    @Test("A5: a thousand callers of one request all get its end")
    func crowd() async throws {
        try await GatewayFixture.with { gateway in
            let id = try await gateway.submit()
            let answers = try await withThrowingTaskGroup(of: GatewayFixture.Answer.self) { group in
                for _ in 0..<1000 { group.addTask { try await gateway.send(.GET, "/hello/\(id)?wait=60") } }
                try await gateway.run(.completed(.inline(Array("1".utf8))))
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.count == 1000)
            #expect(answers.allSatisfy { $0.text.contains("completed") })
        }
    }

    @Test("A5: the right callers are woken, never before their time, and an early wake-up is kept")
    func wakeups() throws {
        let waiting = WaitingCallers(store: MemoryStore(), clock: ManualClock())
        let ids = (0..<100).map { RequestID(high: 7, low: $0) }
        let entries = ids.map { waiting.register($0) }
        waiting.ended([ids[0], ids[1], RequestID(high: 9, low: 9)])
        #expect(entries[0].take() == .ended && entries[0].take() == nil)
        #expect(entries[1].take() == .ended && entries[2].take() == nil)
        waiting.wake(entries[0], at: Instant(seconds: 10))
        waiting.wake(entries[2], at: Instant(seconds: 10))
        // Nothing is due yet.
        waiting.tick(now: Instant(microseconds: 9_999_999))
        waiting.ended([ids[0]])
        #expect(entries[0].take() == .ended && entries[2].take() == nil)
        waiting.tick(now: Instant(microseconds: 10_100_000))
        #expect(entries[2].take() == .time && entries[3].take() == nil)
        // A wish that was replaced does not count any more.
        waiting.wake(entries[3], at: Instant(seconds: 11))
        waiting.wake(entries[3], at: Instant(seconds: 20))
        waiting.tick(now: Instant(seconds: 12))
        #expect(entries[3].take() == nil)
        waiting.close()
        #expect(entries[3].take() == .over && entries[3].take() == .over)
        #expect(waiting.register(ids[4]).take() == .over)
    }

    @Test("A5: a waiter calls back once, also for what came before")
    func callBack() throws {
        let waiting = WaitingCallers(store: MemoryStore(), clock: ManualClock())
        let entry = waiting.register(RequestID(high: 1, low: 1))
        let calls = Mutex(0)
        waiting.ended([entry.id])
        entry.whenWoken { calls.withLock { $0 += 1 } }
        #expect(calls.withLock { $0 } == 1 && entry.take() == .ended)
        entry.whenWoken { calls.withLock { $0 += 1 } }
        #expect(calls.withLock { $0 } == 1)
        waiting.ended([entry.id])
        waiting.close()
        #expect(calls.withLock { $0 } == 2)
    }
}
