import Core
import StoreMemory
import Support
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// TrafficSplitters, on sockets.
@Suite("Exchanges: splitters", .timeLimit(.minutes(2)))
struct ExchangeSplitTests {
    /// A splitter over `a` and `b` (and a shadow `s`), with a container for each.
    private func with(
        _ specification: SplitterSpecification, connectors: [String: any Connector] = [:],
        shadow: ScriptedContainer.Script? = nil, clock: any PlatformClock = SystemClock(),
        policy: ProxyPolicy = .init(), _ body: (ProxyWorld) async throws -> Void
    ) async throws {
        var containers: [ScriptedContainer] = []
        defer { containers.forEach { $0.stop() } }
        var replicas: [(api: String, connector: any Connector)] = []
        for name in ["a", "b", "s"] {
            if let connector = connectors[name] {
                replicas.append((name, connector))
                continue
            }
            let script: ScriptedContainer.Script = { socket in
                while let request = socket.readRequest() {
                    let status = name == "b" && request.head.contains("/fail ") ? "500 No" : "200 OK"
                    socket.answer(name, status: status, extra: "X-Prefix: \(Self.prefix(request.head))\r\n")
                }
            }
            let container = try ScriptedContainer(name == "s" ? shadow ?? script : script)
            containers.append(container)
            replicas.append((name, LoopbackConnector(port: container.port)))
        }
        try await ProxyWorld.with(
            ["a", "b", "s"].map { ProxyWorld.realtime($0, maxConcurrency: 4, policy: policy) }
                + [ProxyWorld.splitter(specification)],
            clock: clock, replicas: replicas, body)
    }

    private static func prefix(_ head: String) -> String {
        let name = "X-Forwarded-Prefix: "
        guard let range = head.firstRange(of: name) else { return "-" }
        return String(head[range.upperBound...].prefix { $0 != "\r\n" })
    }

    @Test("X2, X3: every block of 100 requests has exact shares; responses name the target, containers the splitter")
    func shares() async throws {
        try await with(.init(targets: [.init(api: "a", weight: 93), .init(api: "b", weight: 7)])) { world in
            try await RawConnection.open(port: world.port) { caller in
                for _ in 0..<3 {
                    var counts: [String: Int] = [:]
                    for _ in 0..<100 {
                        try await caller.send("GET /split/x HTTP/1.1\r\nHost: a\r\n\r\n")
                        let response = try await caller.readResponse()
                        #expect(response.headers["x-cortex-api"] == response.body)
                        #expect(response.headers["x-prefix"] == "/split")
                        counts[response.body, default: 0] += 1
                    }
                    #expect(counts == ["a": 93, "b": 7])
                }
            }
            #expect(try await world.get("/b").headers["x-prefix"] == "/b")
        }
    }

    @Test("X5: the first match decides, also for a target of weight 0; X-Cortex-Target only with allow_override")
    func match() async throws {
        var specification = SplitterSpecification(
            targets: [.init(api: "a", weight: 100), .init(api: "b", weight: 0)],
            matches: [.init(header: "X-User", rule: .prefix("t"), api: "b")])
        try await with(specification) { world in
            let matched = try await world.get("/split", "x-user: test\r\n")
            #expect(matched.body == "b")
            #expect(try await world.get("/split", "X-User: other\r\n").body == "a")
            #expect(try await world.get("/split", "X-Cortex-Target: b\r\n").body == "a")
        }
        specification.allowsOverride = true
        try await with(specification) { world in
            let chosen = try await world.get("/split", "X-Cortex-Target: b\r\n")
            #expect(chosen.body == "b")
            #expect(try await world.get("/split", "X-Cortex-Target: nope\r\n").status == 400)
        }
    }

    @Test("X6: a target that refuses connections is replaced by another one, and its retries are returned")
    func fallback() async throws {
        let connector = RefusingConnector()
        let targets: [SplitterSpecification.Target] = [.init(api: "a", weight: 0), .init(api: "b", weight: 100)]
        let specification = SplitterSpecification(
            targets: [.init(api: "a", weight: 1), .init(api: "b", weight: 99)],
            matches: [.init(header: "X-To", rule: .value("b"), api: "b")])
        try await with(specification, connectors: ["b": connector]) { world in
            for number in 1...6 {
                let response = try await world.get("/split", "X-To: b\r\n")
                #expect(response.body == "a")
                #expect(response.headers["x-cortex-api"] == "a")
                #expect(response.headers["x-cortex-fallback"] == "b")
                // All three deliveries are tried each time: earlier requests have returned their part of the budget.
                #expect(connector.attempts == 3 * number)
            }
        }
        var without = SplitterSpecification(targets: targets)
        without.hasFallback = false
        try await with(without, connectors: ["b": RefusingConnector()]) { world in
            let response = try await world.get("/split")
            #expect(response.status == 502)
            #expect(response.body.contains("container_unreachable"))
        }
    }

    @Test("X6: a request that a container has answered with 5xx goes to no other target")
    func seen() async throws {
        let count = Mutex(0)
        /// Connects once.
        struct Once: Connector {
            let connector: LoopbackConnector
            func connect(port: Int) async throws -> CInt {
                guard connector.attempts == 0 else { throw PlatformError(.connectionFailed, "it refused") }
                return try await connector.connect(port: port)
            }
        }
        let container = try ScriptedContainer { socket in
            if socket.readRequest() != nil { socket.answer(status: "500 No") }
            count.withLock { $0 += 1 }
        }
        defer { container.stop() }
        let specification = SplitterSpecification(
            targets: [.init(api: "a", weight: 1), .init(api: "b", weight: 99)],
            matches: [.init(header: "X-To", rule: .value("b"), api: "b")])
        try await with(
            specification, connectors: ["b": Once(connector: LoopbackConnector(port: container.port))],
            policy: .init(retries: RetryPolicy(maxAttempts: 3, on: [.status5xx, .unreachable], backoff: .zero))
        ) { world in
            let response = try await world.get("/split", "X-To: b\r\n")
            #expect(response.status == 502)
            #expect(response.headers["x-cortex-fallback"] == nil)
            #expect(count.withLock { $0 } == 1)
        }
    }

    @Test("X6: queue_full and no_replica go to another target")
    func refusals() async throws {
        let specification = SplitterSpecification(
            targets: [.init(api: "a", weight: 1), .init(api: "b", weight: 99)],
            matches: [.init(header: "X-To", rule: .value("b"), api: "b")])
        let clock = ManualClock()
        let container = try ScriptedContainer.answering("a")
        defer { container.stop() }
        try await ProxyWorld.with(
            [
                ProxyWorld.realtime("a"), ProxyWorld.realtime("b", policy: .init(maxQueueLength: 1)),
                ProxyWorld.splitter(specification),
            ], clock: clock, replicas: [("a", LoopbackConnector(port: container.port))]
        ) { world in
            try await RawConnection.open(port: world.port) { first in
                try await first.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
                try await world.expectLoad([1, 0], "b")
                try await RawConnection.open(port: world.port) { second in
                    try await second.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
                    try await world.expectLoad([2, 0], "b")
                    let full = try await world.get("/split", "X-To: b\r\n")
                    #expect(full.headers["x-cortex-fallback"] == "b")
                    #expect(full.body == "a")
                }
            }
            try await world.expectLoad([0, 0], "b")
            world.orchestrator.set(APIStatus(requested: 1, replicas: [], reason: "no image"), of: "b")
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("GET /split HTTP/1.1\r\nHost: a\r\nX-To: b\r\n\r\n")
                try await world.expectLoad([1, 0], "b")
                try await expectEventually {
                    clock.advance(by: .milliseconds(100))
                    return world.load("b") == [0, 0]
                }
                let response = try await caller.readResponse()
                #expect(response.headers["x-cortex-fallback"] == "b")
                #expect(response.body == "a")
            }
        }
    }

    /// What a shadow does with its copy.
    enum Shadow: CaseIterable, Sendable { case answers, hangs, resets, floods, refuses }

    @Test("X7: a shadow changes nothing of the caller's response", arguments: Shadow.allCases)
    func shadow(_ shadow: Shadow) async throws {
        let specification = SplitterSpecification(
            targets: [.init(api: "a", weight: 100), .init(api: "s", weight: 100, isShadow: true)])
        let isMarked = Mutex(true)
        try await with(
            specification, connectors: shadow == .refuses ? ["s": RefusingConnector()] : [:],
            shadow: { socket in
                while let head = socket.readHead() {
                    if !head.contains("X-Cortex-Shadow: true") { isMarked.withLock { $0 = false } }
                    switch shadow {
                    case .answers, .refuses:
                        _ = socket.read(4)
                        socket.answer("a")
                    case .hangs: return socket.waitForClose()
                    case .resets: return socket.reset()
                    case .floods:
                        socket.write("HTTP/1.1 200 OK\r\n\r\n" + String(repeating: "x", count: 10_000_000))
                        return
                    }
                }
            }
        ) { world in
            try await RawConnection.open(port: world.port) { caller in
                for _ in 0..<20 {
                    try await caller.send("POST /split HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
                    let response = try await caller.readResponse()
                    #expect(response.status == 200)
                    #expect(response.body == "a")
                    #expect(response.headers["x-cortex-api"] == "a")
                }
            }
            #expect(isMarked.withLock { $0 })
            if shadow == .answers { try await world.expectLoad([0, 0], "s") }
        }
    }

    @Test("X8: a target whose failures exceed those of the others is rolled back")
    func guarded() async throws {
        let clock = ManualClock()
        let specification = SplitterSpecification(
            targets: [.init(api: "a", weight: 50), .init(api: "b", weight: 50)],
            guarding: .init(api: "b", window: .seconds(10), minRequests: 5))
        try await with(specification, clock: clock) { world in
            for _ in 0..<100 { _ = try await world.get("/split/fail") }
            try await expectEventually {
                clock.advance(by: .milliseconds(100))
                return try await world.store.splitState(of: "split") != nil
            }
            for _ in 0..<50 { #expect(try await world.get("/split/fail").body == "a") }
        }
    }
}
