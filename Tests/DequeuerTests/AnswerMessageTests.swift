import Core
import Support
import TestSupport
import Testing

@testable import ContainerHTTP
@testable import Dequeuer

private let ok = "HTTP/1.1 200 OK\r\n"
private let json = "Content-Type: application/json\r\n"

private func body(_ text: String) -> String { "\(ok)\(json)Content-Length: \(text.utf8.count)\r\n\r\n\(text)" }

@Suite("What a failed request says", .timeLimit(.minutes(2)))
struct AnswerMessageTests {
    @Test(
        "A3: each way in which an answer is refused has a sentence of its own that names the cause",
        arguments: [
            // The body.
            (body(#"{"loss": NaN}"#), .containerInvalidJSON, ["`NaN` is not JSON", "byte 9"]),
            (body("[-Infinity]"), .containerInvalidJSON, ["`-Infinity` is not JSON"]),
            (body("{'a': 1}"), .containerInvalidJSON, ["single quotes", "double quotes"]),
            (body("[1,]"), .containerInvalidJSON, ["a comma stands before ]"]),
            (body("{} {}"), .containerInvalidJSON, ["something follows the value", "byte 3"]),
            (body("\u{FEFF}{}"), .containerInvalidJSON, ["byte order mark"]),
            (body(""), .containerInvalidJSON, ["it is empty"]),
            (body("[1, 2"), .containerInvalidJSON, ["ends too early", "list"]),
            (body("<html>"), .containerInvalidJSON, ["HTML"]),
            (body("None"), .containerInvalidJSON, ["`None` is not JSON", "null"]),
            // The status.
            ("HTTP/1.1 204 No Content\r\n\r\n", .containerStatus, ["204", "without content"]),
            ("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["201", "only 200 is a result"]),
            ("HTTP/1.1 206 Partial\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["206", "a part"]),
            (
                "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", .containerStatus,
                ["302", "Redirects are not followed"]
            ),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", .containerStatus, ["304", "conditional request"]),
            ("HTTP/1.1 300 Many\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["300", "offers no result"]),
            ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["404", "POST /"]),
            ("HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["405", "method"]),
            ("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["413", "size"]),
            ("HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["422", "Content-Type"]),
            ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["500", "logs"]),
            ("HTTP/1.1 418 No\r\nContent-Length: 0\r\n\r\n", .containerStatus, ["418", "status 200"]),
            // The media type.
            ("\(ok)Content-Length: 2\r\n\r\n{}", .containerNotJSONType, ["no Content-Type"]),
            (
                "\(ok)Content-Type: text/html; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}", .containerNotJSONType,
                ["text/html; charset=utf-8", "application/json"]
            ),
            (
                "\(ok)Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
                .containerInvalidJSON, ["compressed", "gzip"]
            ),
            // The framing.
            (
                "\(ok)\(json)Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
                .containerInvalidJSON, ["both Transfer-Encoding and Content-Length"]
            ),
            (
                "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2\n\n{}", .containerInvalidJSON,
                ["LF alone", "CR LF"]
            ),
            (
                "\(ok)Content-Type: application/json\nContent-Length: 2\r\n\r\n{}", .containerInvalidJSON, ["LF alone"]
            ),
            ("\(ok)\(json)Content-Length: -5\r\n\r\n", .containerInvalidJSON, ["Content-Length", "-5"]),
            ("\(ok)\(json)Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", .containerInvalidJSON, ["5, 6"]),
            (
                "\(ok)\(json)Transfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n", .containerInvalidJSON,
                ["chunk", "hexadecimal"]
            ),
            ("\(ok)no colon here\r\n\r\n", .containerInvalidJSON, ["no colon here", "name: value"]),
            ("\(ok)Bad Name: x\r\n\r\n", .containerInvalidJSON, ["Bad Name"]),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", .containerInvalidJSON, ["SSH-2.0-OpenSSH_9.2"]),
            ("HTTP/2.0 200 OK\r\n\r\n", .containerInvalidJSON, ["2.0", "HTTP/1.1"]),
            ("HTTP/1.1 abc\r\n\r\n", .containerInvalidJSON, ["abc", "three digits"]),
            ("\u{15}\u{3}\u{1}\u{0}\u{2}\u{2}F", .containerInvalidJSON, ["TLS"]),
            ("\u{0}\u{0}\u{12}\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}", .containerInvalidJSON, ["HTTP/2"]),
        ] as [(String, RequestFailure.Kind, [String])])
    func refusals(_ answer: String, _ kind: RequestFailure.Kind, _ words: [String]) async throws {
        try await Platform.with { connection in
            _ = try await connection.readRequest()
            try await connection.write(answer)
            await connection.waitForClose()
        } _: { platform, _ in
            let failure = try #require(try await platform.run().failure)
            #expect(failure.kind == kind)
            for word in words { #expect(failure.message.contains(word), "\(failure.message)") }
            #expect(!failure.message.contains("http_parser") && !failure.message.contains("unknown"))
        }
    }

    @Test(
        "A3: a lost connection says how much of the answer had come",
        arguments: [
            ("", "before any byte"), ("HTTP/1.1 200 OK\r\nContent-", "within the head"),
            ("\(ok)\(json)Content-Length: 5\r\n\r\n[1", "after 2 of 5 bytes"),
        ])
    func lost(_ partial: String, _ words: String) async throws {
        var settings = Platform.Settings()
        settings.requests.retries = RetryPolicy(maxAttempts: 1)
        try await Platform.with(settings) { connection in
            _ = try await connection.readRequest()
            if !partial.isEmpty { try await connection.write(partial) }
        } _: { platform, _ in
            let failure = try #require(try await platform.run().failure)
            #expect(failure.kind == .replicaLost)
            #expect(failure.message.contains(words), "\(failure.message)")
        }
    }

    @Test("A3: hostile bytes in place of an answer always become a named failure")
    func fuzz() {
        var generator = SeededGenerator(seed: 5)
        let seeds = [
            "\(ok)\(json)Content-Length: 5\r\n\r\n[1,2]",
            "\(ok)\(json)Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2]\r\n0\r\n\r\n",
            "HTTP/1.0 500 No\n\n", "GET / HTTP/1.1\r\n\r\n",
        ].map { Array($0.utf8) }
        for round in 0..<20_000 {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[place] = UInt8.random(in: 0...255, using: &generator)
            }
            bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &generator)))
            let reason = AnswerFault.reason(head: bytes, error: nil)
            #expect(!reason.isEmpty && reason.utf8.count < 1000)
        }
    }

    // MARK: What the platform itself does

    @Test(
        "C13: a replica that is killed for what its container did costs no attempt, three times; then the request names why",
        arguments: [
            (CutReason.livenessProbe("GET /live gave no answer within 1 s"), "killed by its liveness probe: GET /live"),
            (.diskLimit("was replaced: it stored more than its compute.disk"), "more than its compute.disk. Let"),
            (.diskShortage("was stopped: the disk is nearly full"), "the replica was stopped: the disk is nearly full"),
        ])
    func containersDoing(_ reason: CutReason, _ words: String) async throws {
        try await Platform.with { connection in
            _ = try await connection.readRequest()
        } _: { platform, server in
            platform.activity.expectLoss(reason)
            let record = try await platform.run()
            #expect(record.failure?.kind == .replicaLost)
            #expect(record.failure?.message.contains(words) == true, "\(record.failure?.message ?? "")")
            #expect(record.failure?.message.contains("In 4 deliveries ") == true)
            #expect(record.attempts == 1 && record.failures.count == 1)
            #expect(server.connections == 4)
        }
    }

    @Test(
        "C13, N7: a request whose replicas are replaced for compute.disk fails at the fourth, and the next one is served"
    )
    func replacedReplicas() async throws {
        let poisoned = Journal<Int>()
        try await Platform.with { connection in
            guard let request = try await connection.readRequest() else { return }
            if request.body == bytes("good") { return try await connection.answer("1") }
            poisoned.append(connection.number)
            await connection.waitForClose()
        } _: { platform, _ in
            let poison = try await platform.submit(.inline(bytes("poison")))
            try await expectEventually { poisoned.all.count == 1 }
            let good = try await platform.submit(.inline(bytes("good")))
            var activity: any ReplicaActivity = platform.activity
            for round in 1...4 {
                try await expectEventually { poisoned.all.count == round }
                activity.cut(.diskLimit("was replaced: it stored more than its compute.disk of 5 MiB"))
                activity = LocalReplicaActivity()
                platform.ready.yield([
                    ReadyReplica(
                        id: "api-\(round + 1)", api: platform.api, connector: platform.connector, activity: activity)
                ])
            }
            let failed = try await platform.end(of: poison)
            #expect(failed.failure?.kind == .replicaLost && failed.attempts == 1)
            #expect(
                failed.failure?.message.contains("In 4 deliveries the replica was replaced: it stored more") == true)
            #expect(try await platform.end(of: good).status == .completed)
            #expect(poisoned.all.count == 4)
        }
    }

    @Test("C13: a stop costs nothing, however often it comes; out of memory and a lost pod are attempts and are named")
    func otherReasons() async throws {
        let read = Journal<Int>()
        var settings = Platform.Settings()
        settings.requests.retries = RetryPolicy(maxAttempts: 1)
        try await Platform.with(settings) { connection in
            guard try await connection.readRequest() != nil, connection.number > 5 else { return }
            try await connection.answer("1")
        } _: { platform, _ in
            platform.activity.expectLoss(.stopped)
            let record = try await platform.run()
            #expect(record.status == .completed && record.attempts == 1)
        }
        try await Platform.with(settings) { connection in
            if try await connection.readRequest() != nil { read.append(1) }
            await connection.waitForClose()
        } _: { platform, _ in
            let id = try await platform.submit()
            try await expectEventually { !read.all.isEmpty }
            platform.activity.cut(.podLost("its supervisor process died"))
            let record = try await platform.end(of: id)
            #expect(record.failure?.kind == .replicaLost && record.attempts == 1)
            #expect(record.failure?.message.contains("the replica was lost: its supervisor process died") == true)
        }
        try await Platform.with(settings) { connection in
            _ = try await connection.readRequest()
        } _: { platform, _ in
            let id = try await platform.submit()
            // The kernel kills first; the platform learns of it later.
            try await expectEventually { platform.activity.inFlight == 1 }
            platform.activity.expectLoss(.outOfMemory(container: "api"))
            let record = try await platform.end(of: id)
            #expect(record.failure?.kind == .replicaLost && record.attempts == 1)
            #expect(record.failure?.message.contains("container api ran out of memory") == true)
        }
    }
}
