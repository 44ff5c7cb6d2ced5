import Core
import Foundation
import HTTPServing
import TestSupport
import Testing

@testable import Proxy

/// What a caller gets of a container's response, on sockets.
@Suite("Exchanges: requests and responses", .timeLimit(.minutes(2)))
struct ExchangeResponseTests {
    /// A response that ends too early after `bytes`, and whether its connection ends with a reset.
    struct Cut: Sendable, CustomTestStringConvertible {
        let bytes: String
        let isReset: Bool
        var testDescription: String { "\(bytes.suffix(12).debugDescription), reset: \(isReset)" }

        static let all: [Cut] = {
            let length = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            let pieces = [
                length, chunked, chunked + "5", chunked + "5\r\n", chunked + "5\r\nabc", chunked + "5\r\nabcde",
                chunked + "5\r\nabcde\r\n", chunked + "5\r\nabcde\r\n0", chunked + "5\r\nabcde\r\n0\r\n",
                chunked + "5\r\nabcde\r\n0\r\nX-Trailer: 1\r\n",
            ]
            return pieces.flatMap { [Cut(bytes: $0, isReset: false), Cut(bytes: $0, isReset: true)] }
        }()
    }

    @Test("R9: a response that is cut off in its body never looks complete", arguments: Cut.all)
    func cut(_ cut: Cut) async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readRequest() != nil else { return }
            socket.write(cut.bytes)
            // The caller has the head before the connection breaks.
            if cut.isReset { usleep(20_000) }
            if cut.isReset { socket.reset() }
        } _: { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("GET /api HTTP/1.1\r\nHost: a\r\n\r\n")
                let text = try await caller.readToEnd()
                #expect(text.contains(" 200 ") || text.contains(" 502 "), "\(text)")
                if text.contains(" 200 ") {
                    #expect(!text.hasSuffix("0\r\n\r\n"))
                    #expect(!text.hasSuffix("X-Trailer: 1\r\n\r\n"))
                    if text.contains("Content-Length: 6") { #expect(text.hasSuffix("\r\n\r\nabc")) }
                }
            }
            try await world.expectLoad([0, 0])
        }
    }

    @Test("R9: a cut response whose end is the connection's end is reset for a caller of HTTP/1.0")
    func cutForOldCaller() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readRequest() != nil else { return }
            socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            usleep(20_000)
        } _: { world, _ in
            await #expect(throws: (any Error).self) {
                try await RawConnection.open(port: world.port) { caller in
                    try await caller.send("GET /api HTTP/1.0\r\n\r\n")
                    return try await caller.readToEnd()
                }
            }
        }
    }

    @Test("R5: a response that ends with the connection becomes chunked, and the caller's connection stays open")
    func untilClose() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            if socket.readRequest() != nil { socket.write("HTTP/1.1 200 OK\r\n\r\nabc") }
        } _: { world, container in
            try await RawConnection.open(port: world.port) { caller in
                for _ in 0..<3 {
                    try await caller.send("GET /api HTTP/1.1\r\nHost: a\r\n\r\n")
                    let text = try await caller.read(through: "0\r\n\r\n")
                    #expect(text.contains("3\r\nabc\r\n"))
                }
            }
            #expect(container.connections == 3)
        }
    }

    @Test("R9: bytes behind a response are dropped with the container's connection")
    func tooLong() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            while socket.readRequest() != nil {
                socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\(socket.number)-evil")
            }
        } _: { world, container in
            for number in 1...2 {
                let response = try await world.get()
                #expect(response.body == "\(number)-")
            }
            #expect(container.mostOpen == 1)
        }
    }

    @Test(
        "R8: a response before the end of the request is passed on; a small rest is dropped, a large one ends the connection"
    )
    func early() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readHead() != nil else { return }
            socket.answer("early")
            socket.waitForClose()
        } _: { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                for _ in 0..<2 {
                    try await caller.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n")
                    let response = try await caller.readResponse()
                    #expect(response.body == "early")
                    #expect(response.headers["connection"] == nil)
                    try await caller.send(String(repeating: "x", count: 60000))
                }
            }
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n")
                let response = try await caller.readResponse()
                #expect(response.body == "early")
                #expect(response.headers["connection"] == "close")
                #expect(try await caller.readToEnd().isEmpty)
            }
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                #expect(try await caller.readResponse().headers["connection"] == "close")
            }
            try await world.expectLoad([0, 0])
        }
    }

    @Test("R7: the container's 100 is passed on once", arguments: [true, false])
    func expect(_ isAnswered: Bool) async throws {
        let clock = ManualClock()
        try await ProxyWorld.with(
            container: { socket in
                guard let head = socket.readHead(), head.contains("Expect: 100-continue") else { return }
                if isAnswered { socket.write("HTTP/1.1 100 Continue\r\n\r\n") }
                socket.answer(socket.read(2) ?? "")
            }, clock: clock
        ) { world, container in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(
                    "POST /api HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
                if !isAnswered {
                    try await expectEventually { container.requests.count == 1 }
                    clock.advance(by: .seconds(1))
                }
                #expect(try await caller.readResponse(hasBody: false).status == 100)
                try await caller.send("ab")
                let response = try await caller.readResponse()
                #expect(response.status == 200)
                #expect(response.body == "ab")
            }
        }
    }

    @Test("R7: a request that is refused gets no 100")
    func expectRefused() async throws {
        try await ProxyWorld.with(container: { _ in }, policy: .init(maxPayload: 1)) { world, container in
            let response = try await world.send(
                "POST /api HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            #expect(response.status == 413)
            #expect(container.connections == 0)
        }
    }

    @Test("N6: the response to a request whose body is too slow says that the connection ends")
    func slowBody() async throws {
        try await ProxyWorld.with(
            container: { $0.waitForClose() },
            limits: HTTPServerLimits(bodyGrace: .milliseconds(100), lingerTime: .milliseconds(200))
        ) { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
                let response = try await caller.readResponse()
                #expect(response.status == 408)
                #expect(response.headers["connection"] == "close")
                #expect(try await caller.readToEnd().isEmpty)
            }
            try await world.expectLoad([0, 0])
        }
    }

    @Test("R5: pipelined requests of exchanges and of other handlers are answered in order on one connection")
    func mixed() async throws {
        let container = try ScriptedContainer { socket in
            while let request = socket.readRequest() {
                socket.answer(String(request.head.dropFirst(5).prefix { $0 != " " }))
            }
        }
        defer { container.stop() }
        try await ProxyWorld.with(
            [ProxyWorld.realtime("api")], replicas: [("api", LoopbackConnector(port: container.port))]
        ) { world in
            try await RawConnection.open(port: world.port) { caller in
                var text = ""
                for number in 0..<20 {
                    text +=
                        "GET /api/\(number) HTTP/1.1\r\nHost: a\r\n\r\nGET /other/\(number) HTTP/1.1\r\nHost: a\r\n\r\n"
                }
                try await caller.send(text)
                for number in 0..<20 {
                    #expect(try await caller.readResponse().body == "\(number)")
                    #expect(try await caller.readResponse().status == 404)
                }
            }
        }
    }

    @Test("R5: 3,000 pipelined requests that are refused at once are answered in order")
    func manyRefused() async throws {
        try await ProxyWorld.with([any Connector]()) { world in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(String(repeating: "TRACE /api HTTP/1.1\r\nHost: a\r\n\r\n", count: 3000))
                for _ in 0..<3000 {
                    let response = try await caller.readResponse()
                    guard response.status == 405 else { return #expect(response.status == 405) }
                }
            }
        }
    }
}
