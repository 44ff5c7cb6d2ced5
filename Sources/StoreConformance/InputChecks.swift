import Core
import Testing

extension StoreCheck {
    static let inputs = [
        StoreCheck("C2: an empty and a binary payload arrive as they were sent") { fixture in
            try await fixture.deploy()
            let payloads: [[UInt8]] = [[], [0], [0, 0, 0], Array(0...255), StoreFixture.bytes(Limits.inlineBody)]
            for (number, payload) in payloads.enumerated() {
                let submission = fixture.submission(number, payload: .inline(payload))
                _ = try await fixture.store.submit(submission, maxQueueLength: nil, now: fixture.at(0))
            }
            #expect(try await fixture.claim(10).map(\.payload) == payloads.map(Body.inline))
        },
        StoreCheck("C5: an empty, a binary and a full inline result come back as they were") { fixture in
            try await fixture.deploy()
            let results: [[UInt8]] = [[], [0], Array(0...255), StoreFixture.bytes(Limits.inlineBody)]
            for (number, result) in results.enumerated() {
                try await fixture.submit(number...number)
                _ = try await fixture.store.finish(
                    try await fixture.claimOne(), outcome: .completed(.inline(result)), now: fixture.at(0))
                #expect(try await fixture.read(number)?.result == .inline(result))
            }
        },
        StoreCheck("C3: header lists of any size and text, and any query, survive") { fixture in
            try await fixture.deploy()
            let odd = [
                HeaderField("", ""), HeaderField("x", ""), HeaderField("x", "a\0b"), HeaderField("x", "ü😀\u{FFFD}"),
                HeaderField("x", "'; DROP TABLE request; --"), HeaderField("x", "\r\n\t\""),
            ]
            let many = (0..<2000).map { HeaderField("x-\($0)", String(repeating: "v", count: $0 % 100)) }
            let long = [HeaderField("x", String(repeating: "é", count: 100_000))]
            let queries: [String?] = [nil, "", "a\0b"]
            let lists: [[HeaderField]] = [odd, many, long]
            for (number, headers) in lists.enumerated() {
                let submission = fixture.submission(number, headers: headers, query: queries[number])
                _ = try await fixture.store.submit(submission, maxQueueLength: nil, now: fixture.at(0))
                let claimed = try #require(try await fixture.claim().first)
                #expect(claimed.headers == headers)
                #expect(claimed.query == queries[number])
            }
        },
        StoreCheck("Names of any text are told apart") { fixture in
            let names = [
                "a", "A", "a ", "ü", "😀", "'", "\"", "a/b", "..", "%", "NULL", String(repeating: "n", count: 300),
            ]
            for name in names { try await fixture.deploy(name) }
            for (number, name) in names.enumerated() { try await fixture.submit(number...number, api: name) }
            for (number, name) in names.enumerated() {
                #expect(
                    try await fixture.claim(9, api: name, holder: .init(process: name, replica: name)).map(\.id) == [
                        fixture.id(number)
                    ])
                #expect(try await fixture.counts(name) == QueueCounts(inProgress: 1))
            }
            for name in names {
                #expect(try await fixture.store.releaseLeases(heldBy: name, now: fixture.at(1)) == 1, "\(name)")
            }
            #expect(try await fixture.store.deployedAPIs().map(\.name) == names.sorted())
        },
        StoreCheck("A3: an error's text survives, whatever it is") { fixture in
            try await fixture.deploy()
            try await fixture.submit(1...1)
            let failure = RequestFailure(
                .containerStatus, "\0\"\\/\u{2028}😀", statusCode: -1,
                body: String(repeating: "\u{FFFD}", count: Limits.failureBody))
            _ = try await fixture.store.finish(
                try await fixture.claimOne(), outcome: .failed(failure), now: fixture.at(0))
            #expect(try await fixture.read(1)?.failure == failure)
        },
        StoreCheck("Times at the ends of the calendar do not break anything") { fixture in
            try await fixture.deploy(policy: .init(retention: .seconds(Int64.max / 2)))
            let never = Timestamp(microseconds: .max)
            try await fixture.submit(1...1, deadline: never)
            let lease = try #require(try await fixture.claim(visibility: .seconds(Int64.max / 2)).first).lease
            #expect(try await fixture.store.maintain(now: fixture.at(1_000_000)) == Upkeep())
            _ = try await fixture.store.finish(
                lease, outcome: .retry(StoreFixture.failure, notBefore: Timestamp(microseconds: .min)),
                now: fixture.at(0))
            let again = try await fixture.claimOne()
            _ = try await fixture.store.finish(again, outcome: .completed(.empty), now: fixture.at(0))
            #expect(try await fixture.store.maintain(now: fixture.at(1_000_000_000)) == Upkeep())
            #expect(try await fixture.status(1, now: fixture.at(1_000_000_000)) == .completed)
        },
    ]
}
