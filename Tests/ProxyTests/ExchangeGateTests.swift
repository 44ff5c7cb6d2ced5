import Core
import HTTPServing
import ServiceLifecycle
import StoreMemory
import Support
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// Slots, waiting, time, and callers that leave, on sockets.
@Suite("Exchanges: slots and time", .timeLimit(.minutes(2)))
struct ExchangeGateTests {
    private static let get = "GET /api HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test("R10: 64 callers on all event loops never have more than max_concurrency connections", arguments: [1, 3])
    func connections(_ limit: Int) async throws {
        try await ProxyWorld.with(
            container: { socket in
                while socket.readRequest() != nil { socket.answer() }
            }, maxConcurrency: limit
        ) { world, container in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for caller in 0..<64 {
                    group.addTask {
                        try await RawConnection.open(port: world.port) { connection in
                            for number in 0..<10 {
                                // Every fourth request may not use an idle connection.
                                if (caller + number) % 4 == 0 {
                                    try await connection.send(
                                        "POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                                    try await connection.send("0\r\n\r\n")
                                } else {
                                    try await connection.send(Self.get)
                                }
                                let response = try await connection.readResponse()
                                #expect(response.status == 200, "\(response.body)")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await world.expectLoad([0, 0])
            #expect(container.requests.count == 640)
            #expect(container.mostOpen <= limit)
        }
    }

    @Test(
        "R10, R13: requests wait in order of arrival, one too many is queue_full, and one that leaves frees its place")
    func order() async throws {
        let signal = Signal()
        try await ProxyWorld.with(
            container: { socket in
                while let request = socket.readRequest() {
                    if request.head.contains("/first ") { signal.wait() }
                    socket.answer()
                }
            }, policy: .init(maxQueueLength: 3)
        ) { world, container in
            try await withThrowingTaskGroup(of: Void.self) { group in
                let send = { @Sendable (name: String) async throws -> Void in
                    #expect(try await world.get("/api/\(name)").status == 200)
                }
                group.addTask { try await send("first") }
                try await expectEventually { container.requests.count == 1 }
                group.addTask { try await send("a") }
                try await world.expectLoad([1, 1])
                try await RawConnection.open(port: world.port) { leaving in
                    try await leaving.send(Self.get)
                    try await world.expectLoad([2, 1])
                    group.addTask { try await send("b") }
                    try await world.expectLoad([3, 1])
                    let full = try await world.get()
                    #expect(full.status == 503)
                    #expect(full.headers["retry-after"] == "1")
                    #expect(full.headers["x-cortex-origin"] == "gateway")
                    #expect(full.headers["proxy-status"] == "cortex; error=connection_limit_reached")
                    #expect(full.body.contains(#""kind":"queue_full","message":"pending request queue full"#))
                    leaving.finish()
                    try await world.expectLoad([2, 1])
                }
                group.addTask { try await send("c") }
                try await world.expectLoad([3, 1])
                signal.fire()
                try await group.waitForAll()
            }
            #expect(container.requests.map { $0.split(separator: " ")[1] } == ["/first", "/a", "/b", "/c"])
        }
    }

    /// How a caller leaves.
    enum Leaving: CaseIterable, Sendable { case close, reset, halfClose }

    /// Where its request is then.
    enum Place: CaseIterable, Sendable { case inside, responding, upload }

    @Test(
        "R13: a caller that leaves frees its slot, and its container's connection is closed",
        arguments: Leaving.allCases, Place.allCases)
    func gone(_ leaving: Leaving, _ place: Place) async throws {
        let closed = Mutex(0)
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readHead() != nil else { return }
            if place == .responding { socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") }
            socket.waitForClose()
            closed.withLock { $0 += 1 }
        } _: { world, container in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(
                    place == .upload ? "POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc" : Self.get)
                if place == .responding { _ = try await caller.read(through: "abc") }
                try await expectEventually { container.requests.count == 1 }
                #expect(world.load() == [0, 1])
                switch leaving {
                case .close: return
                case .reset: try await caller.abort()
                case .halfClose:
                    caller.finish()
                    try await world.expectLoad([0, 0])
                    try await expectEventually { closed.withLock { $0 } == 1 }
                }
            }
            try await world.expectLoad([0, 0])
            try await expectEventually { closed.withLock { $0 } == 1 }
        }
    }

    /// Connects when a test says so.
    private final class LateConnector: Connector {
        let port: Int
        private let stream = AsyncStream.makeStream(of: Void.self)
        let attempts = Mutex(0)

        init(port: Int) { self.port = port }

        func open() { stream.continuation.finish() }

        func connect(port: Int) async throws -> CInt {
            attempts.withLock { $0 += 1 }
            for await _ in stream.stream {}
            return try await LoopbackConnector(port: self.port).connect(port: port)
        }
    }

    @Test("R13: a caller that leaves while its connection is opened frees its slot at once")
    func goneWhileConnecting() async throws {
        let container = try ScriptedContainer.answering()
        defer { container.stop() }
        let connector = LateConnector(port: container.port)
        try await ProxyWorld.with([connector]) { world in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(Self.get)
                try await expectEventually { connector.attempts.withLock { $0 } == 1 }
            }
            try await world.expectLoad([0, 0])
            connector.open()
            #expect(try await world.get().status == 200)
        }
    }

    @Test(
        "R12: max_queue_time and idle_timeout end a request with their responses, and cut a response off that has begun"
    )
    func queueAndIdleTime() async throws {
        let clock = ManualClock()
        try await ProxyWorld.with(
            container: { socket in
                guard let request = socket.readRequest() else { return }
                if request.head.contains("/begun ") { socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") }
                socket.waitForClose()
            },
            policy: .init(timeout: .seconds(100), idleTimeout: .seconds(60), maxQueueTime: .seconds(30)), clock: clock
        ) { world, container in
            try await RawConnection.open(port: world.port) { inside in
                try await inside.send(Self.get)
                try await expectEventually { container.requests.count == 1 }
                try await RawConnection.open(port: world.port) { waiting in
                    try await waiting.send(Self.get)
                    try await world.expectLoad([1, 1])
                    clock.advance(by: .seconds(30))
                    let response = try await waiting.readResponse()
                    #expect(response.status == 503)
                    #expect(response.body.contains("queue_timeout"))
                    #expect(response.headers["retry-after"] == "1")
                }
                clock.advance(by: .seconds(30))
                let response = try await inside.readResponse()
                #expect(response.status == 504)
                #expect(response.body.contains("idle_timeout"))
                #expect(response.headers["proxy-status"] == "cortex; error=http_response_timeout")
            }
            try await world.expectLoad([0, 0])
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("GET /api/begun HTTP/1.1\r\nHost: a\r\n\r\n")
                _ = try await caller.read(through: "abc")
                clock.advance(by: .seconds(59))
                #expect(world.load() == [0, 1])
                clock.advance(by: .seconds(1))
                #expect(try await caller.readToEnd().isEmpty)
            }
            try await world.expectLoad([0, 0])
        }
    }

    @Test("R12: timeout runs until the response head and never ends a response that has begun")
    func timeout() async throws {
        let clock = ManualClock()
        let signal = Signal()
        try await ProxyWorld.with(
            container: { socket in
                guard let request = socket.readRequest() else { return }
                guard request.head.contains("/begun ") else { return socket.waitForClose() }
                socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
                signal.wait()
                socket.write("def")
            }, policy: .init(timeout: .seconds(10)), clock: clock
        ) { world, container in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(Self.get)
                try await expectEventually { container.requests.count == 1 }
                clock.advance(by: .seconds(10))
                let response = try await caller.readResponse()
                #expect(response.status == 504)
                #expect(response.body.contains("which is timeout"))
                try await caller.send("GET /api/begun HTTP/1.1\r\nHost: a\r\n\r\n")
                _ = try await caller.read(through: "abc")
                clock.advance(by: .seconds(1000))
                signal.fire()
                #expect(try await caller.read(through: "def") == "def")
            }
        }
    }

    @Test("R20: a request that finds no ready replica wakes one, waits, and is answered with origin activator")
    func arrival() async throws {
        let container = try ScriptedContainer.answering()
        defer { container.stop() }
        try await ProxyWorld.with([any Connector]()) { world in
            let arrivals = world.proxy.arrivals()
            let woken = Task {
                for await names in arrivals where names.contains("api") { return true }
                return false
            }
            let waiting = Task { try await world.get() }
            #expect(await woken.value)
            try await world.expectLoad([1, 0])
            try await world.setReplicas([("api", LoopbackConnector(port: container.port))])
            let response = try await waiting.value
            #expect(response.status == 200)
            #expect(response.headers["x-cortex-origin"] == "activator")
            #expect(try await world.get().headers["x-cortex-origin"] == "api")
        }
    }

    @Test("R21: the reason why no replica can start refuses waiting and new requests until one is ready")
    func obstacle() async throws {
        let clock = ManualClock()
        let container = try ScriptedContainer.answering()
        defer { container.stop() }
        try await ProxyWorld.with([any Connector](), clock: clock) { world in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(Self.get)
                try await world.expectLoad([1, 0])
                world.orchestrator.set(
                    APIStatus(
                        requested: 1,
                        replicas: [
                            ReplicaStatus(
                                id: "r", state: .errImagePull, reason: "no such image",
                                startedAt: Timestamp(seconds: 1), nextStart: .milliseconds(16_001))
                        ]), of: "api")
                try await expectEventually {
                    clock.advance(by: .milliseconds(100))
                    return world.load() == [0, 0]
                }
                let response = try await caller.readResponse()
                #expect(response.status == 503)
                #expect(response.body.contains("no_replica"))
                #expect(response.body.contains("no such image"))
                #expect(response.headers["retry-after"] == "17")
                #expect(response.headers["proxy-status"] == "cortex; error=destination_unavailable")
            }
            #expect(try await world.get().body.contains("no such image"))
            try await world.setReplicas([("api", LoopbackConnector(port: container.port))])
            #expect(try await world.get().status == 200)
        }
    }

    @Test(
        "R18: a replica that leaves the list finishes what is inside; what waits goes to another, and its idle connections are closed"
    )
    func leaves() async throws {
        let signal = Signal()
        let old = try ScriptedContainer { socket in
            while let request = socket.readRequest() {
                if request.head.contains("/slow ") { signal.wait() }
                socket.answer("old")
            }
        }
        let new = try ScriptedContainer.answering("new")
        defer {
            old.stop()
            new.stop()
        }
        try await ProxyWorld.with([LoopbackConnector(port: old.port)]) { world in
            #expect(try await world.get().body == "old")
            let slow = Task { try await world.get("/api/slow") }
            try await expectEventually { old.requests.count == 2 }
            let waiting = Task { try await world.get() }
            try await world.expectLoad([1, 1])
            try await world.setReplicas([("api", LoopbackConnector(port: new.port))])
            #expect(try await waiting.value.body == "new")
            signal.fire()
            #expect(try await slow.value.body == "old")
            try await expectEventually("the old replica's connection is closed") { old.openConnections == 0 }
            #expect(try await world.get().body == "new")
        }
    }

    @Test("R10: a replica that is ready again has no connections from before")
    func readyAgain() async throws {
        let container = try ScriptedContainer.answering()
        defer { container.stop() }
        try await ProxyWorld.with([LoopbackConnector(port: container.port)]) { world in
            #expect(try await world.get().status == 200)
            #expect(container.openConnections == 1)
            try await world.setReplicas([ReadyReplica]())
            try await expectEventually { container.openConnections == 0 }
            try await world.setReplicas([("api", LoopbackConnector(port: container.port))])
            #expect(try await world.get().status == 200)
            #expect(container.mostOpen == 1)
        }
    }

    @Test(
        "C13, R9, R16: when a replica is lost, a request inside gets 502 replica_lost with the reason, and a response is cut off"
    )
    func cut() async throws {
        let container = try ScriptedContainer { socket in
            guard let request = socket.readRequest() else { return }
            if request.head.contains("/begun ") { socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") }
            socket.waitForClose()
        }
        defer { container.stop() }
        try await ProxyWorld.with([ProxyWorld.realtime("api", maxConcurrency: 2)]) { world in
            let replica = try await world.setReplicas([("api", LoopbackConnector(port: container.port))])[0]
            let inside = Task { try await world.get() }
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("GET /api/begun HTTP/1.1\r\nHost: a\r\n\r\n")
                _ = try await caller.read(through: "abc")
                try await world.expectLoad([0, 2])
                replica.activity.cut(.podLost("its supervisor process died"))
                #expect(try await caller.readToEnd().isEmpty)
            }
            let response = try await inside.value
            #expect(response.status == 502)
            #expect(response.body.contains("replica_lost"))
            #expect(response.body.contains("its supervisor process died"))
            try await world.expectLoad([0, 0])
        }
    }

    @Test("R18: when the API is deleted, waiting requests get 503 no_replica, and those inside finish")
    func deleted() async throws {
        let signal = Signal()
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readRequest() != nil else { return }
            signal.wait()
            socket.answer()
        } _: { world, container in
            let inside = Task { try await world.get() }
            try await expectEventually { container.requests.count == 1 }
            let waiting = Task { try await world.get() }
            try await world.expectLoad([1, 1])
            _ = try await world.store.delete(api: "api", keepRequests: false, now: world.clock.now())
            let response = try await waiting.value
            #expect(response.status == 503)
            #expect(response.body.contains("no_replica"))
            #expect(try await world.get().status == 404)
            signal.fire()
            #expect(try await inside.value.status == 200)
        }
    }

    @Test("R17: at shutdown waiting requests are refused after 5 s, and those inside finish")
    func shutdown() async throws {
        let clock = ManualClock()
        let signal = Signal()
        try await ProxyWorld.with(
            container: { socket in
                guard socket.readRequest() != nil else { return }
                signal.wait()
                socket.answer()
            }, clock: clock
        ) { world, container in
            let inside = Task { try await world.get() }
            try await expectEventually { container.requests.count == 1 }
            let waiting = Task { try await world.get() }
            try await world.expectLoad([1, 1])
            try await world.beginShutdown()
            try await expectEventually {
                clock.advance(by: .milliseconds(500))
                return world.load() == [0, 1]
            }
            let refused = try await waiting.value
            #expect(refused.status == 503)
            #expect(refused.body.contains(#""kind":"unavailable""#))
            #expect(refused.headers["connection"] == "close")
            signal.fire()
            let response = try await inside.value
            #expect(response.status == 200)
            #expect(response.headers["connection"] == "close")
        }
    }

    @Test("R22: a request without the cookie gets one, with which it reaches the same replica")
    func sticky() async throws {
        let containers = try ["a", "b", "c"].map { try ScriptedContainer.answering($0) }
        defer { containers.forEach { $0.stop() } }
        try await ProxyWorld.with(
            containers.map { LoopbackConnector(port: $0.port) }, policy: .init(sticky: .cookie("at"))
        ) { world in
            for _ in 0..<5 {
                let first = try await world.get()
                let cookie = try #require(first.headers["set-cookie"])
                #expect(cookie.hasSuffix("; Path=/api; HttpOnly; SameSite=Lax"))
                let pair = cookie.prefix { $0 != ";" }
                for _ in 0..<5 {
                    let next = try await world.get("/api", "Cookie: x=1; \(pair)\r\n")
                    #expect(next.body == first.body)
                    #expect(next.headers["set-cookie"] == nil)
                }
            }
        }
    }
}
