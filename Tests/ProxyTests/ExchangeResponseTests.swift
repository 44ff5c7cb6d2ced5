import Core
import Foundation
import HTTPServing
import Synchronization
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
        try await ProxyWorld.with(
            container: { socket in
                guard socket.readHead() != nil else { return }
                socket.answer("early")
                socket.waitForClose()
            }, limits: HTTPServerLimits(lingerTime: .seconds(5))
        ) { world, _ in
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
                let body = socket.read(2) ?? ""
                // Too late: the platform has sent it.
                if !isAnswered { socket.write("HTTP/1.1 100 Continue\r\n\r\n") }
                socket.answer(body)
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

    @Test("R16: a body that exceeds max_payload while it arrives is 413, and the container gets no complete request")
    func payloadWhileStreaming() async throws {
        let received = Mutex("")
        try await ProxyWorld.with(
            container: { socket in
                guard socket.readHead() != nil else { return }
                let rest = socket.readToEnd()
                received.withLock { $0 = rest }
            }, policy: .init(maxPayload: 5)
        ) { world, container in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                try await expectEventually { container.requests.count == 1 }
                try await caller.send("3\r\ndef\r\n0\r\n\r\n")
                let response = try await caller.readResponse()
                #expect(response.status == 413)
                #expect(response.headers["connection"] == "close")
            }
            try await expectEventually { received.withLock { $0.contains("abc") } }
            #expect(received.withLock { !$0.contains("def") && !$0.contains("0\r\n") })
        }
    }

    @Test("R2, R9: bytes behind the response to HEAD reach no caller")
    func head() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            while socket.readRequest() != nil { socket.answer("evil") }
        } _: { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                for _ in 0..<2 {
                    try await caller.send("HEAD /api HTTP/1.1\r\nHost: a\r\n\r\n")
                    let response = try await caller.readResponse(hasBody: false)
                    #expect(response.status == 200)
                    #expect(response.headers["content-length"] == "4")
                }
            }
        }
    }

    @Test("R5: a large upload to a container that pauses arrives completely, and so does the response")
    func largeUpload() async throws {
        let signal = Signal()
        let piece = String(repeating: "x", count: 65536)
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readHead() != nil else { return }
            signal.wait()
            var count = 0
            while count < 256, socket.read(65536) == piece { count += 1 }
            socket.answer("\(count)")
        } _: { world, container in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: \(256 * 65536)\r\n\r\n")
                try await expectEventually { container.requests.count == 1 }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await Task.sleep(for: .milliseconds(100))
                        signal.fire()
                    }
                    for _ in 0..<256 { try await caller.send(piece) }
                    try await group.waitForAll()
                }
                #expect(try await caller.readResponse().body == "256")
            }
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

    @Test("R6: interim responses come at once and in order, and trailers pass in both directions")
    func interim() async throws {
        let answer = Signal()
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard let head = socket.readHead(), let body = socket.read(through: "\r\n\r\n") else { return }
            socket.write("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
            answer.wait()
            let seen = head.contains("chunked") && body.hasSuffix("0\r\nX-Up: 1\r\n\r\n")
            socket.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Down: \(seen)\r\nHost: evil\r\n\r\n"
            )
        } _: { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(
                    "POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 1\r\nAuthorization: x\r\n\r\n"
                )
                #expect(try await caller.readResponse(hasBody: false).status == 103)
                #expect(try await caller.readResponse(hasBody: false).status == 102)
                answer.fire()
                #expect(try await caller.readResponse(hasBody: false).status == 200)
                let body = try await caller.read(through: "0\r\n") + caller.read(through: "\r\n\r\n")
                #expect(body == "2\r\nok\r\n0\r\nX-Down: true\r\n\r\n")
            }
        }
    }

    @Test(
        "R6: the final response behind an interim one with Connection: close is not lost",
        arguments: ["Connection: close", "connection:  X-A , CLOSE\r\nX-A: b", "Proxy-Connection: close"],
        [true, false])
    func interimClose(_ fields: String, _ isAtOnce: Bool) async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            while socket.readRequest() != nil {
                let interim = "HTTP/1.1 103 Early Hints\r\nLink: close\r\n\(fields)\r\n\r\n"
                let text = interim + interim + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                if isAtOnce {
                    socket.write(text)
                } else {
                    for byte in text.unicodeScalars { socket.write(String(byte)) }
                }
            }
        } _: { world, container in
            try await RawConnection.open(port: world.port) { caller in
                for _ in 0..<2 {
                    try await caller.send("GET /api HTTP/1.1\r\nHost: a\r\n\r\n")
                    for _ in 0..<2 {
                        let interim = try await caller.readResponse(hasBody: false)
                        #expect(interim.status == 103)
                        #expect(interim.headers["link"] == "close")
                        #expect(interim.headers["x-a"] == nil)
                    }
                    #expect(try await caller.readResponse().body == "ok")
                }
            }
        }
    }

    @Test("R3, R6: a trailer of a request that is not UTF-8 is 400, and the container gets no complete request")
    func invalidTrailer() async throws {
        let received = Mutex("")
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readHead() != nil else { return }
            let rest = socket.readToEnd()
            received.withLock { $0 = rest }
        } _: { world, container in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
                try await expectEventually { container.requests.count == 1 }
                try await caller.send(bytes: Array("0\r\nX-Up: ".utf8) + [0xE9] + Array("\r\n\r\n".utf8))
                let response = try await caller.readResponse()
                #expect(response.status == 400)
                #expect(response.body.contains("X-Up"))
            }
            try await world.expectLoad([0, 0])
            try await expectEventually { received.withLock { $0.contains("hi") } }
            #expect(received.withLock { !$0.contains("0\r\n") })
        }
    }

    @Test("R4, R6, R9: trailers and interim responses of a container that are not UTF-8 are refused")
    func invalidResponse() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard let request = socket.readRequest() else { return }
            if request.head.contains("/interim ") {
                socket.write(Array("HTTP/1.1 103 Early Hints\r\nLink: ".utf8) + [0xE9] + Array("\r\n\r\n".utf8))
                socket.answer()
            } else {
                let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Down: "
                socket.write(Array(chunks.utf8) + [0xE9] + Array("\r\n\r\n".utf8))
            }
            socket.waitForClose()
        } _: { world, container in
            let response = try await world.get("/api/interim")
            #expect(response.status == 502)
            #expect(response.body.contains("container_malformed"))
            #expect(response.body.contains("Link"))
            for version in ["HTTP/1.1\r\nHost: a", "HTTP/1.0"] {
                try await RawConnection.open(port: world.port) { caller in
                    try await caller.send("GET /api/trailer \(version)\r\n\r\n")
                    // A caller of HTTP/1.0 sees only a reset.
                    let text = (try? await caller.readToEnd()) ?? "reset"
                    #expect(version == "HTTP/1.0" ? text == "reset" : text.hasSuffix("2\r\nok\r\n"), "\(text)")
                }
            }
            try await world.expectLoad([0, 0])
            #expect(container.mostOpen == 1)
        }
    }

    @Test(
        "R9, R27: a chunk size of a container has 16 digits at most, leading zeros included",
        arguments: [("0000000000000002", true), ("00000000000000002", false), ("1000000000000001", false)])
    func chunkDigits(_ size: String, _ isRead: Bool) async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard socket.readRequest() != nil else { return }
            socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            socket.write(size + "\r\nbc\r\n0\r\n\r\n")
            socket.waitForClose()
        } _: { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send("GET /api HTTP/1.1\r\nHost: a\r\n\r\n")
                let text = isRead ? try await caller.read(through: "0\r\n\r\n") : try await caller.readToEnd()
                #expect(text.hasSuffix(isRead ? "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n" : "1\r\na\r\n"), "\(text)")
            }
            try await world.expectLoad([0, 0])
        }
    }

    @Test("R3, R4, R6: tabs and spaces around values are removed in both directions, trailers included")
    func whiteSpace() async throws {
        try await ProxyWorld.with { (socket: ContainerSocket) in
            guard let head = socket.readHead(), let body = socket.read(through: "\r\n\r\n") else { return }
            let seen = head.contains("\r\nX-A: b\tc\r\n") && body.hasSuffix("X-T: v\r\n\r\n")
            socket.write(
                "HTTP/1.1 200 OK\r\nX-B: \t\(seen) \t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-D:\tw\t\r\n\r\n")
        } _: { world, _ in
            try await RawConnection.open(port: world.port) { caller in
                try await caller.send(
                    "POST /api HTTP/1.1\r\nHost: a\t\r\nX-A:\t b\tc \t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: v\t\r\n\r\n"
                )
                let head = try await caller.read(through: "\r\n\r\n")
                #expect(head.contains("\r\nX-B: true\r\n"), "\(head)")
                #expect(try await caller.read(through: "0\r\n") == "0\r\n")
                #expect(try await caller.read(through: "\r\n\r\n") == "X-D: w\r\n\r\n")
            }
        }
    }
}
