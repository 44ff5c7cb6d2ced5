import Core
import Testing

extension StoreCheck {
    static let bodies = [
        StoreCheck("A9: up to 64 KiB stay inline, one byte more goes into a file") { fixture in
            for (size, isInline) in [(0, true), (1, true), (65_536, true), (65_537, false), (300_000, false)] {
                let bytes = StoreFixture.bytes(size)
                for pieces in [1 << 20, 999] {
                    let body = try await fixture.body(bytes, pieces: pieces)
                    #expect(body.size == Int64(size))
                    if case .inline = body { #expect(isInline, "\(size)") } else { #expect(!isInline, "\(size)") }
                    #expect(try await fixture.bytes(of: body) == bytes)
                }
            }
        },
        StoreCheck("A9: a body is read in pieces of any size") { fixture in
            let bytes = StoreFixture.bytes(70_000)
            for body in [try await fixture.body(bytes), .inline(bytes)] {
                for pieces in [1000, 69_999, 70_000, 1 << 30] {
                    #expect(try await fixture.bytes(of: body, pieces: pieces) == bytes)
                }
            }
        },
        StoreCheck("A9: several readers of one body do not disturb each other") { fixture in
            let bytes = StoreFixture.bytes(200_000)
            let body = try await fixture.body(bytes)
            try await withThrowingTaskGroup(of: [UInt8].self) { group in
                for size in [1001, 5003, 70_001] { group.addTask { try await fixture.bytes(of: body, pieces: size) } }
                for try await read in group { #expect(read == bytes) }
            }
        },
        StoreCheck("A9: empty pieces are nothing") { fixture in
            let writer = try await fixture.store.makeBodyWriter()
            for piece: [UInt8] in [[], [1], [], [2], []] { try await writer.write(piece) }
            #expect(try await writer.finish() == .inline([1, 2]))
        },
        StoreCheck("A9: a discarded body is gone, before its end and after") { fixture in
            let open = try await fixture.store.makeBodyWriter()
            try await open.write(StoreFixture.bytes(300_000))
            await open.discard()
            let finished = try await fixture.store.makeBodyWriter()
            try await finished.write(StoreFixture.bytes(300_001))
            let body = try await finished.finish()
            #expect(try await !fixture.isGone(body))
            await finished.discard()
            _ = try await fixture.store.maintain(now: fixture.at(0))
            #expect(try await fixture.isGone(body))
        },
        StoreCheck("A9: a file that is not the store's is not found") { fixture in
            for name in ["", "x", "../cortex.sqlite", "/etc/passwd", "..", ".", "a/b", "0-0", "body-999"] {
                let isGone = try await fixture.isGone(.stored(key: name, size: 1))
                #expect(isGone, "\(name)")
            }
        },
        StoreCheck("A9: payload and result in files pass through the queue") { fixture in
            try await fixture.deploy()
            let (sent, answered) = (StoreFixture.bytes(200_000), StoreFixture.bytes(100_001))
            let submission = fixture.submission(1, payload: try await fixture.body(sent))
            _ = try await fixture.store.submit(submission, maxQueueLength: nil, now: fixture.at(0))
            let claimed = try #require(try await fixture.claim().first)
            #expect(try await fixture.bytes(of: claimed.payload) == sent)
            let result = try await fixture.body(answered)
            _ = try await fixture.store.finish(claimed.lease, outcome: .completed(result), now: fixture.at(1))
            let record = try #require(try await fixture.read(1))
            #expect(try await fixture.bytes(of: try #require(record.result)) == answered)
            #expect(record.result?.size == 100_001)
        },
    ]

    static let erasing = [
        StoreCheck("A12: a payload's file goes when the request ends, a reader that has it open reads on") { fixture in
            try await fixture.deploy(policy: .init(keepFailed: .zero))
            let bytes = StoreFixture.bytes(150_000)
            for (number, ending) in ["complete", "fail", "cancel", "cancel in queue", "expire", "delete"].enumerated() {
                let payload = try await fixture.body(bytes)
                let submission = fixture.submission(number, payload: payload, deadline: fixture.at(40))
                _ = try await fixture.store.submit(submission, maxQueueLength: nil, now: fixture.at(0))
                let reader = try await fixture.store.reader(of: payload)
                var read = try #require(try await reader.read(upTo: 1000))
                switch ending {
                case "complete":
                    _ = try await fixture.store.finish(
                        try await fixture.claimOne(), outcome: .completed(.empty), now: fixture.at(1))
                case "fail":
                    _ = try await fixture.store.finish(
                        try await fixture.claimOne(), outcome: .failed(StoreFixture.failure), now: fixture.at(1))
                case "cancel":
                    _ = try await fixture.claimOne()
                    _ = try await fixture.store.cancel(fixture.id(number), api: "echo", now: fixture.at(1))
                case "cancel in queue":
                    _ = try await fixture.store.cancel(fixture.id(number), api: "echo", now: fixture.at(1))
                case "expire": _ = try await fixture.store.maintain(now: fixture.at(40))
                default: _ = try await fixture.store.delete(api: "echo", keepRequests: true, now: fixture.at(1))
                }
                _ = try await fixture.store.maintain(now: fixture.at(60 * (number + 1)))
                let isGone = try await fixture.isGone(payload)
                #expect(isGone, "\(ending)")
                while let piece = try await reader.read(upTo: 9999) { read += piece }
                await reader.close()
                #expect(read == bytes, "\(ending)")
            }
        },
        StoreCheck("A12: of a failed request the payload is kept, the credentials go at once") { fixture in
            try await fixture.deploy()
            let secret = ["Authorization", "authorization", "cookie", "proxy-authorization"].map {
                HeaderField($0, "secret")
            }
            let harmless = [HeaderField("content-type", "text/plain"), HeaderField("x-authorization", "1")]
            try await fixture.submit(1...1, headers: secret + harmless)
            try await fixture.submit(2...2, headers: secret + harmless, deadline: fixture.at(5))
            let claimed = try #require(try await fixture.claim().first)
            #expect(claimed.headers == secret + harmless)
            _ = try await fixture.store.finish(
                claimed.lease, outcome: .failed(StoreFixture.failure), now: fixture.at(1))
            _ = try await fixture.store.maintain(now: fixture.at(5))
            for number in 1...2 {
                _ = try await fixture.store.retry(fixture.id(number), api: "echo", now: fixture.at(6))
                let again = try #require(try await fixture.claim(now: fixture.at(6)).first)
                #expect(again.id == fixture.id(number))
                #expect(again.headers == harmless)
                #expect(again.payload == fixture.submission(number).payload)
            }
        },
        StoreCheck("A11: a retried delivery has all its headers") { fixture in
            try await fixture.deploy()
            let headers = [HeaderField("authorization", "Bearer x"), HeaderField("cookie", "y")]
            try await fixture.submit(1...1, headers: headers)
            _ = try await fixture.store.finish(
                try await fixture.claimOne(), outcome: .retry(StoreFixture.failure, notBefore: fixture.at(1)),
                now: fixture.at(1))
            #expect(try await fixture.claim(now: fixture.at(1)).first?.headers == headers)
        },
        StoreCheck("C6: a result's file goes after the retention, and with its API") { fixture in
            try await fixture.deploy(policy: .init(retention: .seconds(60)))
            var results: [Body] = []
            for number in 1...2 {
                try await fixture.submit(number...number)
                let result = try await fixture.body(StoreFixture.bytes(80_000))
                results.append(result)
                _ = try await fixture.store.finish(
                    try await fixture.claimOne(), outcome: .completed(result), now: fixture.at(number * 50))
            }
            _ = try await fixture.store.maintain(now: fixture.at(109))
            for result in results { #expect(try await !fixture.isGone(result)) }
            _ = try await fixture.store.maintain(now: fixture.at(125))
            #expect(try await fixture.isGone(results[0]))
            #expect(try await !fixture.isGone(results[1]))
            _ = try await fixture.store.delete(api: "echo", keepRequests: false, now: fixture.at(126))
            _ = try await fixture.store.maintain(now: fixture.at(180))
            #expect(try await fixture.isGone(results[1]))
        },
        StoreCheck("A10: the body of a stale finish is the caller's to discard") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            let lease = try await fixture.claimOne()
            _ = try await fixture.store.cancel(fixture.id(1), api: "echo", now: fixture.at(1))
            let writer = try await fixture.store.makeBodyWriter()
            try await writer.write(StoreFixture.bytes(70_000))
            let body = try await writer.finish()
            #expect(try await fixture.store.finish(lease, outcome: .completed(body), now: fixture.at(2)) == .stale)
            #expect(try await !fixture.isGone(body))
            await writer.discard()
            _ = try await fixture.store.maintain(now: fixture.at(3))
            #expect(try await fixture.isGone(body))
        },
    ]
}
