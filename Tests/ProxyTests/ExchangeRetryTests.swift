import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// Which deliveries are repeated, on sockets.
@Suite("Exchanges: retries", .timeLimit(.minutes(2)))
struct ExchangeRetryTests {
    /// How a container treats the second request of a kept connection.
    enum End: String, CaseIterable, Sendable {
        case readAll, readSome, resetUnread, answeredSome
    }

    @Test("R15: a container that closes kept connections with FIN never causes a 502, whatever the method")
    func keptFIN() async throws {
        try await ProxyWorld.with(
            container: { socket in
                if socket.readRequest() != nil { socket.answer("\(socket.number)") }
                // Closed while idle.
            }, maxConcurrency: 4
        ) { world, container in
            for _ in 0..<100 {
                let response = try await world.send(
                    "POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
                #expect(response.status == 200, "\(response.body)")
            }
            #expect(container.requests.count == 100)
        }
    }

    @Test("R15: a request that the container may have seen is not repeated", arguments: End.allCases)
    func seen(_ end: End) async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readRequest() != nil else { return }
            socket.answer()
            guard socket.number == 1 else { return }
            switch end {
            case .readAll: _ = socket.readRequest()
            case .readSome: socket.receive(10)
            case .resetUnread:
                socket.waitForBytes()
                socket.reset()
            case .answeredSome:
                _ = socket.readRequest()
                socket.write("HTTP/1.1 200 OK\r\nConte")
            }
        } _: { world, container in
            #expect(try await world.get().status == 200)
            let response = try await world.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            #expect(response.status == 502, "\(end)")
            #expect(container.connections == 1)
        }
    }

    @Test(
        "R15: a refused connection goes to another replica, and never again to one that refused while another is ready")
    func refused() async throws {
        let container = try ScriptedContainer.answering()
        defer { container.stop() }
        let refusing = [RefusingConnector(), RefusingConnector()]
        try await ProxyWorld.with([refusing[0], refusing[1], LoopbackConnector(port: container.port)]) { world in
            let response = try await world.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            #expect(response.status == 200)
            let attempts = refusing.map(\.attempts).reduce(1, +)
            #expect(refusing.allSatisfy { $0.attempts <= 1 })
            #expect(response.headers["x-cortex-attempts"] == (attempts > 1 ? "\(attempts)" : nil))
        }
    }

    @Test("R15: when every replica refuses, the response is 502 container_unreachable after three deliveries")
    func allRefuse() async throws {
        let connector = RefusingConnector()
        try await ProxyWorld.with([connector]) { world in
            let response = try await world.get()
            #expect(response.status == 502)
            #expect(response.body.contains("container_unreachable"))
            #expect(response.headers["proxy-status"] == "cortex; error=connection_refused")
            #expect(response.headers["x-cortex-attempts"] == "3")
            #expect(connector.attempts == 3)
            // What a retry takes of the budget is returned.
            for _ in 0..<5 { #expect(try await world.get().headers["x-cortex-attempts"] == "3") }
        }
    }

    @Test(
        "R15: a response of 5xx is retried for idempotent requests only",
        arguments: [
            ("GET", "", 2), ("PUT", "", 2), ("POST", "", 1), ("POST", "Idempotency-Key: 1\r\n", 2), ("PATCH", "", 1),
        ])
    func status(_ method: String, _ fields: String, _ deliveries: Int) async throws {
        let count = Mutex(0)
        try await ProxyWorld.with(
            container: { socket in
                while socket.readRequest() != nil {
                    let number = count.withLock { count -> Int in
                        count += 1
                        return count
                    }
                    socket.answer("\(number)", status: number == 1 ? "503 Busy" : "200 OK")
                }
            }, policy: .init(retries: RetryPolicy(maxAttempts: 3, on: [.status5xx], backoff: .zero))
        ) { world, _ in
            let response = try await world.send(
                "\(method) /api HTTP/1.1\r\nHost: a\r\n\(fields)Content-Length: 2\r\n\r\nhi")
            #expect(response.status == (deliveries == 1 ? 503 : 200))
            #expect(response.headers["x-cortex-attempts"] == (deliveries == 1 ? nil : "\(deliveries)"))
            #expect(count.withLock { $0 } == deliveries)
        }
    }

    @Test("R15: a request over 64 KiB or with an incomplete body gets a new connection")
    func newConnection() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            while socket.readRequest() != nil { socket.answer("\(socket.number)") }
        } _: { world, container in
            #expect(try await world.get().body == "1")
            #expect(try await world.get().body == "1")
            let body = String(repeating: "x", count: 65537)
            #expect(
                try await world.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n" + body).body
                    == "2")
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
                try await world.expectLoad([0, 1])
                try await caller.send("b")
                #expect(try await caller.readResponse().body == "3")
            }
            #expect(container.mostOpen == 1)
        }
    }

    /// Gives a connection whose other end is closed, and later ones to a container.
    private final class DeadConnector: Connector {
        private let next: LoopbackConnector
        private let calls = Mutex(0)

        init(port: Int) { next = LoopbackConnector(port: port) }

        func connect(port: Int) async throws -> CInt {
            let isFirst = calls.withLock { calls in
                calls += 1
                return calls == 1
            }
            guard isFirst else { return try await next.connect(port: port) }
            var ends: [CInt] = [0, 0]
            guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
                throw PlatformError(.internal, "no sockets")
            }
            close(ends[1])
            return ends[0]
        }
    }

    @Test("R15: a request whose head was not written because the pod is gone is delivered again, whatever the method")
    func notWritten() async throws {
        let container = try ScriptedContainer.answering()
        defer { container.stop() }
        try await ProxyWorld.with([DeadConnector(port: container.port)]) { world in
            let response = try await world.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            #expect(response.status == 200, "\(response.body)")
            #expect(response.headers["x-cortex-attempts"] == "2")
            #expect(container.requests.count == 1)
        }
    }

    @Test("R15: no more than 3 requests are retried at a time while few are inside")
    func budget() async throws {
        let connector = RefusingConnector()
        // The delay is longer than the test.
        let retries = RetryPolicy(maxAttempts: 3, on: [.unreachable], backoff: .seconds(60))
        try await ProxyWorld.with([connector], maxConcurrency: 10, policy: .init(retries: retries)) { world in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for count in 1...3 {
                    group.addTask { _ = try await world.get() }
                    try await expectEventually { connector.attempts == count }
                    try await world.expectLoad([0, 0])
                }
                let response = try await world.get()
                #expect(response.status == 502)
                #expect(response.headers["x-cortex-attempts"] == nil)
                #expect(connector.attempts == 4)
                group.cancelAll()
                while let result = await group.nextResult() { _ = result }
            }
        }
    }

    @Test("R15: the timeout is retried where retries.on has it, and only for idempotent requests")
    func timeout() async throws {
        let clock = ManualClock()
        try await ProxyWorld.with(
            container: { socket in
                while let request = socket.readRequest() {
                    guard socket.number > 1 else { return socket.waitForClose() }
                    socket.answer(request.body)
                }
            },
            policy: .init(
                timeout: .seconds(10), retries: RetryPolicy(maxAttempts: 2, on: [.timeout], backoff: .zero)),
            clock: clock
        ) { world, container in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("PUT /api HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
                try await expectEventually { container.requests.count == 1 }
                clock.advance(by: .seconds(10))
                let response = try await caller.readResponse()
                #expect(response.status == 200)
                #expect(response.body == "hi")
                #expect(response.headers["x-cortex-attempts"] == "2")
            }
        }
    }
}
