import Core
import ServiceLifecycle
import Support
import Synchronization
import TestSupport
import Testing

@testable import Proxy

/// Upgraded connections, on sockets.
@Suite("Exchanges: upgrades", .timeLimit(.minutes(2)))
struct ExchangeUpgradeTests {
    private static let handshake =
        "GET /api HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n"
    private static let accept = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: test\r\n\r\n"

    @Test(
        "R14: bytes with and behind the handshake pass unchanged both ways, and so does a half-close of either side",
        arguments: [true, false])
    func passes(_ isCallerFirst: Bool) async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard let head = socket.readHead(), head.contains("Upgrade: test") else { return }
            socket.write(Self.accept + "down1")
            guard socket.read(3) == "up1" else { return }
            socket.write("down2")
            guard socket.read(3) == "up2" else { return }
            if isCallerFirst {
                socket.waitForClose()
                socket.write("last")
                socket.finish()
            } else {
                socket.finish()
                guard socket.read(4) == "last" else { return }
                socket.waitForClose()
            }
        } _: { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(Self.handshake + "up1")
                let head = try await caller.read(through: "\r\n\r\n")
                #expect(head.hasPrefix("HTTP/1.1 101 "))
                #expect(head.contains("Upgrade: test"))
                _ = try await caller.read(through: "down1down2")
                try await expectEventually { world.proxy.traffic(of: "api")?.upgraded == 1 }
                #expect(world.load() == [0, 1])
                try await caller.send("up2")
                if isCallerFirst {
                    caller.finish()
                    #expect(try await caller.readToEnd() == "last")
                } else {
                    #expect(try await caller.readToEnd().isEmpty)
                    try await caller.send("last")
                    caller.finish()
                }
            }
            try await world.expectLoad([0, 0])
        }
    }

    @Test("R14: bytes that the container sends with the handshake and its end reach the caller")
    func allAtOnce() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            if socket.readHead() != nil { socket.write(Self.accept + String(repeating: "x", count: 100_000) + "end") }
            socket.finish()
            socket.waitForClose()
        } _: { world, _ in
            for _ in 0..<10 {
                try await RawConnection.open(port: world.port) { caller in
                    try await caller.send(Self.handshake)
                    _ = try await caller.read(through: "\r\n\r\n")
                    let bytes = try await caller.readToEnd()
                    #expect(bytes.utf8.count == 100_003)
                    #expect(bytes.hasSuffix("xend"))
                }
                try await world.expectLoad([0, 0])
            }
        }
    }

    @Test("R14: another response than 101 is an ordinary one, and a 101 that was not asked for is 502")
    func refused() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            while let head = socket.readHead() {
                if head.contains("Upgrade"), !head.contains("/early ") {
                    socket.answer("no", status: "426 Upgrade Required")
                } else {
                    socket.write(Self.accept)
                }
            }
        } _: { world, _ in
            let response = try await world.send(Self.handshake)
            #expect(response.status == 426)
            #expect(response.body == "no")
            let unasked = try await world.get()
            #expect(unasked.status == 502)
            #expect(unasked.body.contains("container_malformed"))
            #expect(unasked.headers["proxy-status"] == "cortex; error=http_protocol_error")
            // Asked for, but before the request is complete.
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(
                    "POST /api/early HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: test\r\nContent-Length: 5\r\n\r\nab"
                )
                #expect(try await caller.readResponse().status == 502)
            }
            try await world.expectLoad([0, 0])
        }
    }

    @Test(
        "R14: when container or caller resets its connection, the other side is closed and the slot is free",
        arguments: [true, false])
    func breaks(_ isCaller: Bool) async throws {
        let signal = Signal()
        let closed = Mutex(false)
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readHead() != nil else { return }
            socket.write(Self.accept)
            if isCaller {
                socket.waitForClose()
                closed.withLock { $0 = true }
            } else {
                signal.wait()
                socket.reset()
            }
        } _: { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(Self.handshake)
                _ = try await caller.read(through: "\r\n\r\n")
                if isCaller {
                    try await caller.abort()
                } else {
                    signal.fire()
                    _ = try? await caller.readToEnd()
                }
            }
            try await world.expectLoad([0, 0])
            if isCaller { try await expectEventually { closed.withLock { $0 } } }
        }
    }

    @Test(
        "R12, R17: idle_timeout and the end of the grace period at shutdown close both sides", arguments: [true, false])
    func ends(_ isIdle: Bool) async throws {
        let clock = ManualClock()
        let closed = Mutex(false)
        try await ProxyWorld.with(
            container: { socket in
                guard socket.readHead() != nil else { return }
                socket.write(Self.accept)
                socket.waitForClose()
                closed.withLock { $0 = true }
            }, policy: .init(idleTimeout: isIdle ? .seconds(30) : nil), clock: clock
        ) { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(Self.handshake)
                _ = try await caller.read(through: "\r\n\r\n")
                try await expectEventually { world.proxy.traffic(of: "api")?.upgraded == 1 }
                if !isIdle { try await world.beginShutdown() }
                clock.advance(by: .seconds(29))
                #expect(world.load() == [0, 1])
                // The grace period is 60 s, and the shutdown begins on another thread.
                try await expectEventually {
                    clock.advance(by: .seconds(1))
                    return closed.withLock { $0 }
                }
                #expect(try await caller.readToEnd().isEmpty)
            }
            try await world.expectLoad([0, 0])
        }
    }
}
