import Core
import Dequeuer
import Synchronization
import TestSupport
import Testing

@Suite("Delivery of batches", .timeLimit(.minutes(5)))
struct BatchDeliveryTests {
    private static func retrying(_ on: Set<RetryPolicy.Reason>, attempts: Int = 3) -> RetryPolicy {
        RetryPolicy(maxAttempts: attempts, on: on, backoff: .milliseconds(1))
    }

    @Test("B3, B5: a worker gets POST / with the items to the byte and the headers of its batch")
    func request() async throws {
        let seen = Journal<SeenRequest>()
        let items = ["1.0", "12345678901234567890", #"{"b":1, "a":"\u00e9","b":2}"#]
        let long = (0..<3000).map { "\"item number \($0) with some text in it to make the batch large\"" }
        try await BatchPlatform.with { connection in
            while let request = try await connection.readRequest() {
                seen.append(request)
                try await connection.answer("null", type: nil)
            }
        } _: { platform in
            try await platform.add(items, from: 5, index: 0)
            try await platform.waitForEnd()
            try await platform.add(long, from: 8, index: 1, isStored: true)
            try await platform.waitForEnd()
        }
        let requests = seen.all
        #expect(requests.map(\.line) == ["POST / HTTP/1.1", "POST / HTTP/1.1"])
        #expect(requests.first?.body == bytes("[" + items.joined(separator: ",") + "]"))
        #expect(requests.last?.body == bytes("[" + long.joined(separator: ",") + "]"))
        #expect((requests.last?.body.count ?? 0) > Limits.inlineBody)
        for (number, request) in requests.enumerated() {
            let index = Int64(number)
            let wanted: [(String, String)] = [
                ("host", "localhost:8080"), ("content-type", "application/json"),
                ("content-length", "\(request.body.count)"), ("x-cortex-job-id", BatchPlatform.job.description),
                ("x-cortex-request-id", Batch.id(index: index, of: BatchPlatform.job).description),
                ("x-cortex-batch-index", "\(index)"), ("x-cortex-item-index", number == 0 ? "5" : "8"),
                ("x-cortex-attempt", "1"),
            ]
            for (name, value) in wanted { #expect(request.values(name) == [value], "\(name)") }
        }
    }

    @Test(
        "B6, B8: what a reply with status 200 becomes",
        arguments: [
            ("[1, 2]", "", ["0 1: [1, 2] split"]), ("[1,2]\n", "", ["0 1: [1,2] split"]),
            ("[1,2]", "X-Cortex-Results: batch\r\n", ["0 1: [1,2]"]), ("[1,2,3]", "", ["0 1: [1,2,3]"]),
            (" {\"sum\": 1.0}", "", ["0 1: {\"sum\": 1.0}"]), ("<p>done</p>", "", ["0 1: nil"]), ("", "", ["0 1: nil"]),
            ("[1,2]", "X-Cortex-Failed-Items: 0\r\n", ["1: [2] split", "0: item_failed"]),
            ("[1,2]", "X-Cortex-Failed-Items: 1\r\nX-Cortex-Results: batch\r\n", ["0: [1,2]", "1: item_failed"]),
            ("{}", "X-Cortex-Failed-Items: 1\r\n", ["0: {}", "1: item_failed"]),
            ("oops", "X-Cortex-Failed-Items: 1\r\n", ["0: nil", "1: item_failed"]),
            ("[1,2]", "X-Cortex-Failed-Items: 0,1\r\n", ["0 1: item_failed"]),
            ("[1,2]", "X-Cortex-Failed-Items: \r\n", ["0 1: [1,2] split"]),
            ("[1,2]", "X-Cortex-Failed-Items: 2\r\n", ["0 1: container_malformed"]),
            ("\"" + String(repeating: "x", count: 2000) + "\"", "", ["0 1: result_too_large"]),
            (String(repeating: "x", count: 2000), "", ["0 1: result_too_large"]),
        ] as [(String, String, [String])], ["application/json", "text/plain", nil] as [String?])
    func replies(_ reply: (text: String, headers: String, lines: [String]), type: String?) async throws {
        try await BatchPlatform.with(maxResult: 1024) { connection in
            while try await connection.readRequest() != nil {
                try await connection.answer(reply.text, type: type, extra: reply.headers)
            }
        } _: { platform in
            try await platform.add(["10", "20"])
            try await platform.waitForEnd()
            #expect(try await platform.shortLines() == reply.lines)
            #expect(platform.outcomes.count == 1)
        }
    }

    @Test("B8: a chunked reply over max_result fails its batch, JSON or not", arguments: ["1", "x"])
    func chunked(_ letter: String) async throws {
        try await BatchPlatform.with(maxResult: 1024) { connection in
            _ = try await connection.readRequest()
            let text = String(repeating: letter, count: 1000)
            try await connection.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n\(text)\r\n3e8\r\n\(text)\r\n0\r\n\r\n")
        } _: { platform in
            try await platform.add(["10", "20"])
            try await platform.waitForEnd()
            #expect(try await platform.shortLines() == ["0 1: result_too_large"])
        }
    }

    @Test(
        "B6, B7: what is no success fails the whole batch, by default at the first answer",
        arguments: [
            ("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", "container_status"),
            ("HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\n[1,2]", "container_status"),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "container_status"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "container_malformed"),
            ("FTP\r\n\r\n", "container_malformed"),
        ])
    func failures(_ answer: String, _ kind: String) async throws {
        let deliveries = Mutex(0)
        try await BatchPlatform.with { connection in
            _ = try await connection.readRequest()
            deliveries.withLock { $0 += 1 }
            try await connection.write(answer)
        } _: { platform in
            try await platform.add(["10", "20"])
            try await platform.waitForEnd()
            #expect(try await platform.shortLines() == ["0 1: \(kind)"])
            #expect(deliveries.withLock { $0 } == 1)
        }
    }

    @Test("B6, B9: the failed items are delivered again as a smaller batch with the same id and batch index")
    func remainder() async throws {
        let seen = Journal<SeenRequest>()
        try await BatchPlatform.with(retries: Self.retrying([.itemFailed])) { connection in
            while let request = try await connection.readRequest() {
                seen.append(request)
                switch seen.all.count {
                case 1: try await connection.answer("[0,1,2,3]", extra: "X-Cortex-Failed-Items: 3,1\r\n")
                case 2: try await connection.answer("[1,3]", extra: "X-Cortex-Failed-Items: 0\r\n")
                default: try await connection.answer("[1]")
                }
            }
        } _: { platform in
            try await platform.add(["\"a\" ", " {\"b\" : 1}", "[\"c,\"]", "4.0"], from: 7, index: 2)
            try await platform.waitForEnd()
            #expect(try await platform.shortLines() == ["7 9: [0,2] split", "10: [3] split", "8: [1] split"])
        }
        let requests = seen.all
        #expect(
            requests.map { String(decoding: $0.body, as: UTF8.self) } == [
                "[\"a\" , {\"b\" : 1},[\"c,\"],4.0]", "[{\"b\" : 1},4.0]", "[{\"b\" : 1}]",
            ])
        #expect(Set(requests.flatMap { $0.values("x-cortex-request-id") }).count == 1)
        #expect(requests.flatMap { $0.values("x-cortex-batch-index") } == ["2", "2", "2"])
        #expect(requests.flatMap { $0.values("x-cortex-item-index") } == ["7", "8", "8"])
        #expect(requests.flatMap { $0.values("x-cortex-attempt") } == ["1", "2", "3"])
    }

    @Test("B6, B7: when the attempts are used up, the rest fails as item_failed")
    func remainderFails() async throws {
        try await BatchPlatform.with(retries: Self.retrying([.itemFailed], attempts: 2)) { connection in
            while try await connection.readRequest() != nil {
                try await connection.answer("\"some\"", extra: "X-Cortex-Failed-Items: 1\r\n")
            }
        } _: { platform in
            try await platform.add(["10", "20"])
            // A batch of one item has no position 1.
            try await platform.waitForEnd()
            #expect(try await platform.shortLines() == ["0: \"some\"", "1: container_malformed"])
        }
    }

    @Test("B6: a partly failed batch whose items and reply are large is cut in the store, and nothing is left over")
    func largeRemainder() async throws {
        let items = (0..<400).map { "\"" + String(repeating: "\($0 % 10)", count: 1000) + "\"" }
        let failed = stride(from: 0, to: 400, by: 4).map { $0 }
        let seen = Journal<[UInt8]>()
        try await BatchPlatform.with(retries: Self.retrying([.itemFailed])) { connection in
            while let request = try await connection.readRequest() {
                seen.append(request.body)
                let isFirst = seen.all.count == 1
                try await connection.answer(
                    String(decoding: request.body, as: UTF8.self),
                    extra: isFirst
                        ? "X-Cortex-Failed-Items: \(failed.map(String.init).joined(separator: ","))\r\n" : "")
            }
        } _: { platform in
            try await platform.add(items, isStored: true)
            try await platform.waitForEnd()
            let rest = "[" + failed.map { items[$0] }.joined(separator: ",") + "]"
            #expect(seen.all.map { String(decoding: $0, as: UTF8.self) }.last == rest)
            let succeeded = items.indices.filter { $0 % 4 != 0 }
            let lines = platform.lines
            #expect(lines.map(\.items) == [ItemSet(succeeded.map(Int64.init)), ItemSet(failed.map(Int64.init))])
            let texts = try await [platform.text(lines[0].reply), platform.text(lines[1].reply)]
            #expect(texts == ["[" + succeeded.map { items[$0] }.joined(separator: ",") + "]", rest])
            // The cut reply, the remainder and the second reply; the first reply was discarded.
            #expect(platform.store.state.withLock { $0.openWriters } == 3)
        }
    }

    @Test(
        "B7: what no container answered, and what retries.on names, is delivered again",
        arguments: ["lost", "large", "malformed"])
    func retries(_ fault: String) async throws {
        let deliveries = Mutex(0)
        try await BatchPlatform.with(maxResult: 100, retries: Self.retrying([.unreachable, .invalidResponse])) {
            connection in
            while try await connection.readRequest() != nil {
                let number = deliveries.withLock { count -> Int in
                    count += 1
                    return count
                }
                guard number < 3 else {
                    try await connection.answer("[1,2]")
                    continue
                }
                switch fault {
                case "lost": return
                case "large": try await connection.answer(String(repeating: "1", count: 200))
                default: try await connection.answer("[1,2]", extra: "X-Cortex-Failed-Items: all\r\n")
                }
            }
        } _: { platform in
            try await platform.add(["10", "20"])
            try await platform.waitForEnd()
            #expect(try await platform.shortLines() == ["0 1: [1,2] split"])
            #expect(deliveries.withLock { $0 } == 3)
        }
    }

    @Test("B7: a delivery that takes longer than timeout fails its batch alone")
    func timeout() async throws {
        let deliveries = Mutex(0)
        try await BatchPlatform.with(timeout: .seconds(1)) { connection in
            while try await connection.readRequest() != nil {
                guard
                    deliveries.withLock({ count in
                        count += 1; return count
                    }) > 1
                else {
                    await connection.waitForClose()
                    return
                }
                try await connection.answer("1")
            }
        } _: { platform in
            try await platform.add(["10"], from: 0, index: 0)
            try await platform.add(["20"], from: 1, index: 1)
            try await platform.waitForEnd()
            #expect(try await platform.shortLines() == ["0: timeout", "1: 1"])
        }
    }

    @Test(
        "A10, B6: when the store's answer is lost, the recorded bodies stay; when the lease is lost, they are discarded"
    )
    func lostAnswers() async throws {
        let reply =
            "["
            + Array(repeating: "\"" + String(repeating: "x", count: 1000) + "\"", count: 400)
            .joined(separator: ",") + "]"
        for isStale in [false, true] {
            try await BatchPlatform.with { connection in
                while try await connection.readRequest() != nil { try await connection.answer(reply) }
            } _: { platform in
                platform.store.state.withLock { state in
                    state.isStale = isStale
                    state.lostAnswers = isStale ? 0 : 1
                }
                try await platform.add(["10"])
                if isStale {
                    try await expectEventually { platform.store.state.withLock { $0.openWriters } == 0 }
                } else {
                    try await platform.waitForEnd()
                    try await expectEventually { platform.lines.count == 1 }
                    #expect(try await platform.text(platform.lines.first?.reply) == reply)
                    #expect(platform.store.state.withLock { $0.openWriters } == 1)
                }
            }
        }
    }

    @Test(
        "B11: after the last batch POST /on-job-complete is sent; 200 is success, 404 not handled, others are retried",
        arguments: [
            (["200 OK"], [.completion(.succeeded)]), (["404 Not Found"], [.completion(.notHandled)]),
            (["500 X", "200 OK"], [nil, .completion(.succeeded)]),
            (["503 X", "404 Not Found"], [nil, .completion(.notHandled)]), (["500 X", "500 X"], [nil, nil]),
            (["204 No Content"], [nil]),
        ] as [([String], [Outcome?])])
    func completion(_ statuses: [String], _ wanted: [Outcome?]) async throws {
        let seen = Journal<SeenRequest>()
        try await BatchPlatform.with(retries: Self.retrying([.status5xx], attempts: 2)) { connection in
            while let request = try await connection.readRequest() {
                seen.append(request)
                try await connection.answer("<p>bye</p>", status: statuses[min(seen.all.count, statuses.count) - 1])
            }
        } _: { platform in
            try await platform.addCompletion()
            try await platform.waitForEnd()
            let outcomes = platform.store.state.withLock { $0.completions }
            #expect(outcomes.count == wanted.count)
            for (outcome, wanted) in zip(outcomes, wanted) where wanted != nil { #expect(outcome == wanted) }
            if wanted.last == .some(nil) {
                guard case .completion(.failed(let failure))? = outcomes.last else {
                    Issue.record("\(outcomes)")
                    return
                }
                #expect(failure.kind == .containerStatus)
            }
            #expect(platform.lines.isEmpty)
        }
        for request in seen.all {
            #expect(request.line == "POST /on-job-complete HTTP/1.1")
            #expect(request.body == bytes(#"{"message":"job_complete"}"#))
            #expect(request.values("content-type") == ["application/json"])
            #expect(request.values("x-cortex-job-id") == [BatchPlatform.job.description])
            #expect(request.values("x-cortex-batch-index").isEmpty)
        }
    }
}

extension ResultLine {
    fileprivate var reply: Body? {
        if case .succeeded(let reply, _) = verdict { reply } else { nil }
    }
}
