import Core
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import HTTPServing

@Suite("Slow, many and half-closed callers")
struct CallerTests {
    /// For callers that stop in the middle. How soon they begin is another limit.
    private let shortParts = HTTPServerLimits(
        headTime: .milliseconds(300), bodyGrace: .milliseconds(300), bodyCredit: .milliseconds(600))
    /// For callers that never begin, beside others that must have begun by then also on a busy machine.
    private let shortSilence = HTTPServerLimits(
        firstByteTime: .seconds(4), bodyGrace: .seconds(3), bodyCredit: .seconds(6))
    private let post = "POST /p HTTP/1.1\r\nHost: h\r\n"

    // MARK: Slow

    @Test(
        "N6: a head or body that stops is answered 408, in whichever part of it",
        arguments: [
            "G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nHost: h\r\nX-A: ", "BODY0", "BODY1", "CHUNK", "CHUNKED",
            "TRAILER",
        ])
    func stops(_ start: String) async throws {
        let text =
            switch start {
            case "BODY0": post + "Content-Length: 9\r\n\r\n"
            case "BODY1": post + "Content-Length: 1000000\r\n\r\n" + String(repeating: "x", count: 250_000)
            case "CHUNK": post + "Transfer-Encoding: chunked\r\n\r\n5"
            case "CHUNKED": post + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc"
            case "TRAILER": post + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: "
            default: start
            }
        try await withServer(limits: shortParts, handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(text)
                let answer = try await connection.readToEnd()
                #expect(answer.hasPrefix("HTTP/1.1 408 "), "\(answer)")
                #expect(answer.contains("\"kind\":\"timed_out\"") && answer.contains("Connection: close"))
            }
        }
    }

    @Test("N6: bytes that drip into a head or body do not hold it open", arguments: ["X-A: b\r\n", "0"])
    func drips(_ drop: String) async throws {
        try await withServer(limits: shortParts, handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(drop == "0" ? post + "Content-Length: 1000\r\n\r\n" : "GET / HTTP/1.1\r\n")
                // Fails when the connection ends.
                await #expect(throws: (any Error).self) {
                    while true {
                        try await connection.send(drop)
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
            }
        }
    }

    @Test("N6: a connection that is silent from its beginning is closed, and one whose server works is not")
    func silent() async throws {
        let (go, release) = AsyncStream.makeStream(of: Void.self)
        let handler: HTTPHandler = { _, body in
            _ = try await body.collect(upTo: 10)
            for await _ in go { break }
            return OutgoingResponse(status: .ok)
        }
        try await withServer(limits: shortSilence, handler: handler) { port, _ in
            try await RawConnection.open(port: port) { waiting in
                try await waiting.send(post + "Content-Length: 1\r\n\r\nx")
                try await RawConnection.open(port: port) { silent in
                    let rest = try await silent.readToEnd()
                    #expect(rest == "")
                }
                release.yield()
                #expect(try await waiting.readResponse().status == 200)
            }
        }
    }

    @Test("N6: a server that is slow to take a body does not blame the caller")
    func slowServer() async throws {
        let (go, release) = AsyncStream.makeStream(of: Void.self)
        let handler: HTTPHandler = { request, body in
            if request.method == .POST { for await _ in go { break } }
            return OutgoingResponse(
                status: .ok, body: .bytes(ByteBuffer(string: "\(try await body.collect(upTo: 1 << 22).readableBytes)")))
        }
        try await withServer(limits: shortSilence, handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(post + "Content-Length: 2000000\r\n\r\n" + String(repeating: "x", count: 9))
                // Longer than a silent connection lives.
                let rest = try await RawConnection.open(port: port) { try await $0.readToEnd() }
                #expect(rest == "")
                release.yield()
                try await connection.send(String(repeating: "x", count: 1_999_991))
                #expect(try await connection.readResponse().body == "2000000")
            }
        }
    }

    // MARK: Many

    @Test("N6: a listener gets no more than its share, each keeps a reserve, and an address a quarter")
    func shares() {
        let capacity = ServerCapacity(connections: 160, trustedProxies: ["10.0.0.0/8"].compactMap { AddressRange($0) })
        let (gateway, control) = (capacity.addDoor(share: .all), capacity.addDoor(share: .quarter))
        // The other one's reserve is a sixteenth.
        #expect((0..<200).filter { _ in capacity.enter(gateway, nil) }.count == 150)
        #expect((0..<200).filter { _ in capacity.enter(control, nil) }.count == 10)
        #expect(capacity.connections == 160)

        let other = ServerCapacity(connections: 160)
        let (callers, pods) = (other.addDoor(share: .all), other.addDoor(share: .quarter))
        let address = ServerCapacity.Peer.address4(0x0A00_0001)
        #expect((0..<200).filter { _ in other.enter(callers, address) }.count == 40)
        #expect(other.enter(callers, .address4(0x0A00_0002)))
        #expect((0..<200).filter { _ in other.enter(pods, .process(7)) }.count == 10)
        #expect(other.enter(pods, .process(8)))
        ServerCapacity.Place(capacity: other, door: callers.index, peer: address).leave()
        #expect(other.enter(callers, address) && !other.enter(callers, address))
    }

    @Test(
        "N6: beyond the limit a caller is answered 503; those inside are served on, and a place is free when one leaves"
    )
    func tooMany() async throws {
        let capacity = ServerCapacity(connections: 2)
        try await withServer(capacity: capacity, handler: echo) { port, _ in
            try await RawConnection.open(port: port) { first in
                try await RawConnection.open(port: port) { second in
                    for connection in [first, second] {
                        try await connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                        #expect(try await connection.readResponse().status == 200)
                    }
                    try await RawConnection.open(port: port) { third in
                        let answer = try await third.readToEnd()
                        #expect(answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("Retry-After: 1"))
                        #expect(answer.contains("\"kind\":\"unavailable\""))
                    }
                    try await first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                    #expect(try await first.readResponse().status == 200)
                }
                #expect(try await eventually { capacity.connections == 1 })
            }
        }
        #expect(capacity.connections == 0 && capacity.bodyBytes == 0)
    }

    @Test("N6: connections to a unix socket are limited for each process")
    func processes() async throws {
        let capacity = ServerCapacity(connections: 160)
        try await withTemporaryDirectory { folder in
            let socket = folder.appendingPathComponent("s").path
            try await withServer(listeners: [.unix(path: socket)], capacity: capacity, handler: echo) { _, _ in
                // A quarter of the share of a quarter.
                let accepted = try await UnixCallers.accepted(of: 20, at: socket)
                #expect(accepted == 10)
            }
        }
    }

    @Test("N6: bodies take a bounded amount of memory; beyond it 503, while small requests and those inside are served")
    func memory() async throws {
        let capacity = ServerCapacity(bodies: 400_000)
        // Times that a busy machine keeps too.
        let limits = HTTPServerLimits(bodyGrace: .seconds(60), bodyCredit: .seconds(60))
        try await withServer(limits: limits, capacity: capacity, handler: echo) { port, _ in
            try await RawConnection.open(port: port) { large in
                try await large.send(post + "Content-Length: 300000\r\n\r\n" + String(repeating: "x", count: 250_000))
                #expect(try await eventually { capacity.bodyBytes == 250_000 })
                try await RawConnection.open(port: port) { second in
                    try await second.send(
                        post + "Content-Length: 300000\r\n\r\n" + String(repeating: "x", count: 100_000))
                    let answer = try await second.readToEnd()
                    #expect(
                        answer.hasPrefix("HTTP/1.1 503 ") && answer.contains("\"kind\":\"unavailable\""), "\(answer)")
                }
                try await RawConnection.open(port: port) { small in
                    try await small.send(post + "Content-Length: 9000\r\n\r\n" + String(repeating: "x", count: 9000))
                    #expect(try await small.readResponse().status == 200)
                }
                try await large.send(String(repeating: "x", count: 50_000))
                #expect(try await large.readResponse().status == 200)
                #expect(try await eventually { capacity.bodyBytes == 0 })
            }
        }
    }

    @Test(
        "N6: addresses of trusted proxies are given as IP or CIDR",
        arguments: [
            ("10.0.0.0/8", "10.200.3.4", true), ("10.0.0.0/8", "11.0.0.1", false), ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false), ("0.0.0.0/0", "8.8.8.8", true), ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false), ("2001:db8::/96", "2001:db8::1:1", true), ("::1", "::1", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true), ("2001:db8::/32", "10.0.0.1", false), ("::/0", "fe80::1", true),
        ])
    func ranges(_ sample: (range: String, address: String, isInside: Bool)) throws {
        let range = try #require(AddressRange(sample.range))
        let address = try #require(AddressRange(try SocketAddress(ipAddress: sample.address, port: 1)))
        #expect(range.contains(address) == sample.isInside)
    }

    @Test(
        "N6: a text that is no address is refused",
        arguments: ["", "a", "10.0.0.0/33", "10.0.0.0/", "10.0.0", "::1/129", "10.0.0.0/-1", "1.2.3.4/8/8"])
    func noRange(_ text: String) {
        #expect(AddressRange(text) == nil)
    }

    // MARK: Half-closed

    @Test(
        "A5: a caller that has closed its sending side gets the answers to all its requests, also pipelined and long ones"
    )
    func halfClosed() async throws {
        let handler: HTTPHandler = { request, body in
            _ = try await body.collect(upTo: 100)
            guard request.path == "/long" else { return try await echo(request, &body) }
            return OutgoingResponse(
                status: .ok,
                body: .stream(length: 20 << 20) { out in
                    for _ in 0..<20 { try await out.write(ByteBuffer(repeating: 0x61, count: 1 << 20)) }
                })
        }
        try await withServer(handler: handler) { port, _ in
            try await RawConnection.open(port: port) { connection in
                var text = ""
                for index in 0..<30 { text += "POST /\(index) HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" }
                try await connection.send(text + "GET /long HTTP/1.1\r\nHost: h\r\n\r\n")
                connection.finish()
                for index in 0..<30 { #expect(try await connection.readResponse().body.hasPrefix("POST /\(index) ")) }
                #expect(try await connection.readResponse().body.utf8.count == 20 << 20)
                #expect(try await connection.readToEnd() == "")
            }
        }
    }

    @Test(
        "A5: a connection that ends within a request is closed at once",
        arguments: ["", "GET / HT", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"])
    func endsWithin(_ text: String) async throws {
        try await withServer(handler: echo) { port, _ in
            try await RawConnection.open(port: port) { connection in
                try await connection.send(text)
                connection.finish()
                #expect(try await connection.readToEnd() == "")
            }
        }
    }

    @Test("A5: a handler can tell a caller that has finished from one that has gone")
    func presence() async throws {
        let (events, note) = AsyncStream.makeStream(of: String.self)
        let handler: HTTPHandler = { request, body in
            _ = try await body.collect(upTo: 10)
            let caller = request.caller
            note.yield("inside")
            let first = caller.onEndOfInput { note.yield("finished \(caller.isGone)") }
            defer { caller.forget(first) }
            await withCheckedContinuation { continuation in
                _ = caller.onGone { continuation.resume() }
            }
            note.yield("gone \(caller.hasFinished)")
            return OutgoingResponse(status: .ok)
        }
        try await withServer(handler: handler) { port, _ in
            var results = events.makeAsyncIterator()
            try await RawConnection.open(port: port) { connection in
                try await connection.send(post + "Content-Length: 1\r\n\r\nx")
                #expect(await results.next() == "inside")
                try await connection.abort()
                let (first, second) = (await results.next(), await results.next())
                #expect(Set([first, second]) == ["finished true", "gone true"])
            }
        }
    }
}

/// Connections of this process to a unix socket.
private enum UnixCallers {
    private final class Counter: Sendable {
        private let count = Mutex(0)
        func add() -> Int {
            count.withLock { count in
                count += 1
                return count
            }
        }
    }

    /// How many of `count` connections, all open at once, are answered 200.
    static func accepted(of count: Int, at socket: String) async throws -> Int {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            let (done, finish) = AsyncStream.makeStream(of: Void.self)
            let answered = Counter()
            for _ in 0..<count {
                group.addTask {
                    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                        .connect(unixDomainSocketPath: socket) { channel in
                            channel.eventLoop.makeCompletedFuture {
                                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                            }
                        }
                    return try await channel.executeThenClose { inbound, outbound in
                        // A refused connection may be closed before it is written to.
                        try? await outbound.write(ByteBuffer(string: "GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
                        var iterator = inbound.makeAsyncIterator()
                        let first = try await iterator.next().map { String(buffer: $0) } ?? ""
                        if answered.add() == count { finish.finish() }
                        for await _ in done {}
                        return first.hasPrefix("HTTP/1.1 200")
                    }
                }
            }
            return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
    }
}
