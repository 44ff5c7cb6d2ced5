import Core
import Synchronization
import TestSupport
import Testing

@Suite("Delivery", .timeLimit(.minutes(5)))
struct DeliveryTests {
    @Test(
        "C1, C2, C3: the container gets POST / with the caller's bytes, type, headers and query, and the request's id")
    func request() async throws {
        let seen = Journal<SeenRequest>()
        try await Platform.with { connection in
            while let request = try await connection.readRequest() {
                seen.append(request)
                try await connection.answer("1")
            }
        } _: { platform, _ in
            let binary = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            let id = try await platform.submit(
                .inline(binary),
                headers: [HeaderField("content-type", "Image/PNG; a=\"b\""), HeaderField("x-user", "é")],
                query: "top=3&q=%2F")
            #expect(try await platform.end(of: id).status == .completed)
            let empty = try await platform.run(.empty)
            #expect(empty.status == .completed)
            let large = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
            let file = try await platform.run(platform.file(large), headers: [HeaderField("content-type", "a/b")])
            #expect(file.status == .completed)

            let requests = seen.all
            #expect(requests.map(\.line) == ["POST /?top=3&q=%2F HTTP/1.1", "POST / HTTP/1.1", "POST / HTTP/1.1"])
            #expect(requests.map(\.body) == [binary, [], large])
            #expect(requests.map(\.contentLength) == [1000, 0, 300_000])
            #expect(requests.map { $0.values("transfer-encoding") } == [[], [], []])
            #expect(requests.map { $0.values("content-type") } == [["Image/PNG; a=\"b\""], [], ["a/b"]])
            #expect(requests[0].values("x-user") == ["é"])
            #expect(requests[0].values("x-cortex-request-id") == [id.description])
            #expect(requests.allSatisfy { $0.values("accept-encoding").isEmpty })
        }
    }

    @Test(
        "C5: the result is the container's JSON to the byte",
        arguments: [
            "12345678901234567890", "1.0", "1e400", "{\"b\":1,\"a\":2,\"b\":3}", #""\u00e9\ud800\/""#, " [ 1 ,\n2 ] ",
            "null", "\"é😀\"",
            "[" + String(repeating: "{\"a\":\"x\"},", count: 20_000) + "0]",
        ])
    func verbatim(_ json: String) async throws {
        try await Platform.with { connection in
            while try await connection.readRequest() != nil { try await connection.answer(json) }
        } _: { platform, _ in
            let record = try await platform.run()
            #expect(record.status == .completed)
            #expect(record.attempts == 1)
            #expect(try await platform.result(record) == bytes(json))
        }
    }

    @Test(
        "C4, A3: what is no result is a final failure of its own kind",
        arguments: [
            ("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", .containerStatus, 500, "oops"),
            ("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", .containerStatus, 302, ""),
            ("HTTP/1.1 204 No Content\r\n\r\n", .containerStatus, 204, ""),
            (
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
                .containerStatus, 201, "{}"
            ),
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", .containerStatus, 101,
                ""
            ),
            (
                "HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\n\u{1}\u{2}é".dropLast() + "z", .containerStatus, 500,
                "\u{1}\u{2}z"
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", .containerNotJSONType, nil, nil),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", .containerNotJSONType, nil,
                nil
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\nNaN",
                .containerInvalidJSON, nil, nil
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n", .containerInvalidJSON,
                nil, nil
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{} x",
                .containerInvalidJSON, nil, nil
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[1,2",
                .containerInvalidJSON, nil, nil
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
                .containerInvalidJSON,
                nil, nil
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2000\r\n\r\n", .resultTooLarge,
                nil, nil
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n\""
                    + String(repeating: "x", count: 1023) + "\r\n2\r\nx\"\r\n0\r\n\r\n", .resultTooLarge, nil, nil
            ),
        ] as [(String, RequestFailure.Kind, Int?, String?)])
    func failures(_ answer: String, _ kind: RequestFailure.Kind, _ status: Int?, _ body: String?) async throws {
        var settings = Platform.Settings()
        settings.requests.maxResult = 1024
        try await Platform.with(settings) { connection in
            _ = try await connection.readRequest()
            try await connection.write(answer)
        } _: { platform, server in
            let record = try await platform.run()
            #expect(record.status == .failed)
            #expect(record.failure?.kind == kind, "\(String(describing: record.failure))")
            #expect(record.failure?.statusCode == status)
            #expect(record.failure?.body == body)
            #expect(record.attempts == 1)
            #expect(server.connections == 1)
        }
    }

    @Test(
        "C4: any honest framing of an answer is understood",
        arguments: [
            "HTTP/1.1 200 OK\r\ncontent-type: Application/JSON; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n2;x=y\r\n1,\r\n2\r\n2]\r\n0\r\nT: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[1,2]",
            "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[1,2]",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n[1,2]",
            "HTTP/1.1 200\r\nContent-Type:application/json\r\nContent-Length: 5\r\n\r\n[1,2]",
        ], [false, true])
    func framing(_ answer: String, _ isDripped: Bool) async throws {
        try await Platform.with { connection in
            _ = try await connection.readRequest()
            if isDripped {
                for byte in answer.utf8 { try await connection.write([byte]) }
            } else {
                try await connection.write(answer)
            }
        } _: { platform, _ in
            let record = try await platform.run()
            #expect(record.status == .completed, "\(String(describing: record.failure))")
            #expect(try await platform.result(record) == bytes("[1,2]"))
        }
    }

    @Test("C11: max_concurrency requests are inside at a time, and never more", arguments: [1, 3])
    func concurrency(_ limit: Int) async throws {
        var settings = Platform.Settings()
        settings.maxConcurrency = limit
        let inside = Mutex((now: 0, most: 0))
        let gate = Gate()
        try await Platform.with(settings) { connection in
            while try await connection.readRequest() != nil {
                inside.withLock {
                    $0.now += 1
                    $0.most = max($0.most, $0.now)
                }
                await gate.wait()
                inside.withLock { $0.now -= 1 }
                try await connection.answer("1")
            }
        } _: { platform, server in
            var ids: [RequestID] = []
            for _ in 0..<20 { ids.append(try await platform.submit()) }
            #expect(try await eventually { inside.withLock { $0.now } == limit })
            #expect(platform.activity.inFlight == limit)
            gate.open()
            for id in ids { #expect(try await platform.end(of: id).status == .completed) }
            #expect(inside.withLock { $0.most } == limit)
            #expect(server.connections <= limit)
            #expect(try await eventually { platform.activity.inFlight == 0 })
        }
    }

    @Test("C11: a kept connection is used again; one that the container closed meanwhile costs no attempt")
    func keepAlive() async throws {
        let served = Journal<Int>()
        try await Platform.with { connection in
            // Two requests a connection, then it is closed without a word, as a server with a limit does.
            for _ in 0..<2 {
                guard try await connection.readRequest() != nil else { return }
                served.append(connection.number)
                try await connection.answer("1")
            }
        } _: { platform, server in
            for _ in 0..<6 {
                let record = try await platform.run()
                #expect(record.status == .completed)
                #expect(record.attempts == 1)
                _ = try await eventually { server.openConnections == (served.all.count % 2) }
            }
            #expect(served.all == [1, 1, 2, 2, 3, 3])
        }
    }

    @Test("C11: Connection: close is respected")
    func connectionClose() async throws {
        try await Platform.with { connection in
            guard try await connection.readRequest() != nil else { return }
            try await connection.answer("1", extra: "Connection: close\r\n")
            await connection.waitForClose()
        } _: { platform, server in
            for _ in 0..<3 {
                let record = try await platform.run()
                #expect(record.status == .completed)
            }
            #expect(server.connections == 3)
            #expect(try await eventually { server.openConnections == 0 })
        }
    }

    @Test("A11: refused connections are repeated within one delivery and count as no attempt", arguments: [1, 5])
    func refused(_ refusals: Int) async throws {
        var settings = Platform.Settings()
        settings.refusals = refusals
        try await Platform.with(settings) { connection in
            while try await connection.readRequest() != nil { try await connection.answer("1") }
        } _: { platform, _ in
            let record = try await platform.run()
            #expect(record.status == .completed)
            #expect(record.attempts == 1)
            #expect(record.failures.isEmpty)
            #expect(platform.connector.attempts == refusals + 1)
        }
    }

    @Test(
        "A3, A11: a port that keeps refusing is tried six times a delivery, in up to three deliveries",
        arguments: [12, 18])
    func unreachable(_ refusals: Int) async throws {
        var settings = Platform.Settings()
        settings.refusals = refusals
        try await Platform.with(settings) { connection in
            while try await connection.readRequest() != nil { try await connection.answer("1") }
        } _: { platform, _ in
            let record = try await platform.run()
            #expect(record.attempts == 3)
            #expect(record.status == (refusals < 18 ? .completed : .failed))
            #expect(record.failure?.kind == (refusals < 18 ? nil : .containerUnreachable))
            #expect(record.failures.map(\.failure.kind) == Array(repeating: .containerUnreachable, count: refusals / 6))
        }
    }

    @Test(
        "A3, A11: a connection lost after the request was sent is replica_lost and delivered again",
        arguments: [
            "", "HTTP/1.1 200 OK\r\nContent-",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n[1",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[1",
        ])
    func lost(_ partial: String) async throws {
        try await Platform.with { connection in
            _ = try await connection.readRequest()
            if !partial.isEmpty { try await connection.write(partial) }
        } _: { platform, _ in
            let record = try await platform.run()
            #expect(record.failure?.kind == .replicaLost, "\(String(describing: record.failure))")
            #expect(record.attempts == 3)
        }
    }

    @Test("A11: retries can be widened to container answers")
    func widened() async throws {
        var settings = Platform.Settings()
        settings.requests.retries = RetryPolicy(maxAttempts: 2, on: [.status5xx], backoff: .milliseconds(1))
        let count = Mutex(0)
        try await Platform.with(settings) { connection in
            while try await connection.readRequest() != nil {
                let isFirst = count.withLock { count -> Bool in
                    count += 1
                    return count == 1
                }
                try await connection.answer("1", status: isFirst ? "503 Busy" : "200 OK")
            }
        } _: { platform, _ in
            let record = try await platform.run()
            #expect(record.status == .completed)
            #expect(record.attempts == 2)
            #expect(record.failures.first?.failure.statusCode == 503)
        }
    }

    @Test("A11: what is missing in the store ends with a failure, not in a loop")
    func missingPayload() async throws {
        try await Platform.with { connection in
            while try await connection.readRequest() != nil { try await connection.answer("1") }
        } _: { platform, _ in
            let record = try await platform.run(.stored(key: "gone", size: 100_000))
            #expect(record.status == .failed)
            #expect(try await platform.run().status == .completed)
        }
    }
}
