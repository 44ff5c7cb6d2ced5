import Core
import TestSupport
import Testing

@Suite("Hostile containers", .timeLimit(.minutes(5)))
struct HostileContainerTests {
    private func failure(
        maxResult: Int64 = Limits.maxResult,
        _ handler: @escaping @Sendable (inout ContainerServer.Connection) async throws -> Void
    ) async throws -> RequestFailure? {
        var settings = Platform.Settings()
        settings.requests.maxResult = maxResult
        nonisolated(unsafe) var failure: RequestFailure?  // written once, by the body below, before it is read
        try await Platform.with(settings) { connection in
            guard try await connection.readRequest() != nil else { return }
            try await handler(&connection)
            await connection.waitForClose()
        } _: { platform, server in
            let record = try await platform.run()
            #expect(record.attempts == 1)
            failure = record.failure
            #expect(try await eventually { server.openConnections == 0 })
        }
        return failure
    }

    @Test("A3: headers without end, too many, or malformed are refused")
    func headers() async throws {
        let endless = try await failure { connection in
            try await connection.write("HTTP/1.1 200 OK\r\nX: ")
            for _ in 0..<1000 { try await connection.write([UInt8](repeating: 0x78, count: 4096)) }
        }
        #expect(endless?.kind == .containerInvalidJSON)
        #expect(endless?.message.contains("headers") == true)
        let many = try await failure { connection in
            try await connection.write("HTTP/1.1 200 OK\r\n")
            for index in 0..<100_000 { try await connection.write("X-\(index): y\r\n") }
        }
        #expect(many?.kind == .containerInvalidJSON)
        let interim = try await failure { connection in
            while true { try await connection.write("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n") }
        }
        #expect(interim?.kind == .containerInvalidJSON)
    }

    @Test(
        "A3: an answer that is not HTTP is a named failure and final",
        arguments: [
            "hello\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "\u{0}\u{0}\u{0}\u{0}",
            "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
        ])
    func framing(_ answer: String) async throws {
        let failure = try await failure { try await $0.write(answer) }
        #expect(failure?.kind == .containerInvalidJSON, "\(String(describing: failure))")
    }

    @Test("A3: a body without end stops at max_result")
    func endlessBody() async throws {
        let failure = try await failure(maxResult: 1 << 20) { connection in
            try await connection.write(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n\"")
            while true { try await connection.write([UInt8](repeating: 0x78, count: 65536)) }
        }
        #expect(failure?.kind == .resultTooLarge)
    }

    @Test("A3: an error page without end is cut at 4 KiB")
    func endlessError() async throws {
        let failure = try await failure { connection in
            try await connection.write("HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\n")
            while true { try await connection.write([UInt8](repeating: 0x78, count: 65536)) }
        }
        #expect(failure?.kind == .containerStatus)
        #expect(failure?.body == String(repeating: "x", count: 4096))
    }

    @Test("A3: invalid JSON ends at its first wrong byte, however much follows")
    func endlessGarbage() async throws {
        let failure = try await failure { connection in
            try await connection.write(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n[1,,")
            while true { try await connection.write([UInt8](repeating: 0x20, count: 65536)) }
        }
        #expect(failure?.kind == .containerInvalidJSON)
        #expect(failure?.message.contains("byte 3") == true)
    }

    @Test("C4: bytes after an answer are not taken for the next one")
    func smuggled() async throws {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n"
        try await Platform.with { connection in
            while try await connection.readRequest() != nil {
                try await connection.write("\(answer)\(connection.number)\(answer)9")
            }
        } _: { platform, _ in
            for number in 1...3 {
                let record = try await platform.run()
                #expect(try await platform.result(record) == bytes("\(number)"))
            }
        }
    }
}
