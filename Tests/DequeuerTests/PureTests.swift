import ContainerHTTP
import Core
import NIOHTTP1
import TestSupport
import Testing

@testable import Dequeuer

private let start = Timestamp(seconds: 1_000_000)

@Suite("Verdict")
struct VerdictTests {
    @Test(
        "C4: only the media type application/json counts, parameters and any case allowed",
        arguments: [
            ("application/json", true), ("Application/JSON", true), ("application/json; charset=utf-8", true),
            ("application/json;charset=utf-8", true), (" application/json ", true), ("application/json ;x", true),
            ("application/jsonp", false), ("application/json+ld", false), ("application/ld+json", false),
            ("text/json", false), ("", false),
            ("application/json, text/html", false), ("text/html; application/json", false),
        ])
    func types(_ type: String, _ isJSON: Bool) {
        #expect(Verdict.isJSON(type) == isJSON)
        let verdict = Verdict.of(AnswerHead(status: 200, contentTypes: [type]), maxResult: 10)
        if isJSON {
            #expect(verdict == .readResult)
        } else {
            guard case .failed(let failure) = verdict else {
                Issue.record("\(verdict)")
                return
            }
            #expect(failure.kind == .containerNotJSONType)
        }
    }

    @Test(
        "C4: any status but 200 is container_status, redirects too",
        arguments: [201, 202, 204, 206, 301, 302, 304, 400, 404, 500, 503, 999])
    func statuses(_ status: Int) {
        #expect(
            Verdict.of(AnswerHead(status: status, contentTypes: ["application/json"]), maxResult: 10)
                == .readText(status: status))
        let failure = Verdict.wrongStatus(status, body: bytes("no"))
        #expect(failure.kind == .containerStatus)
        #expect(failure.statusCode == status)
        #expect(failure.body == "no")
    }

    @Test(
        "A3: the message describes the status correctly",
        arguments: [
            (0, "status 000. HTTP has no such status"), (42, "status 042. HTTP has no such status"),
            (101, "status 101. It switches to another protocol"), (100, "status 100. That is no final answer"),
            (404, "status 404. It has no handler"),
        ])
    func statusMessages(status: Int, text: String) {
        #expect(Verdict.wrongStatus(status, body: []).message.contains(text))
    }

    @Test("A3: an announced length over max_result is refused before a byte is read, the limit itself is not")
    func announced() {
        func verdict(_ length: Int64) -> Verdict.OfHead {
            Verdict.of(
                AnswerHead(status: 200, contentTypes: ["application/json"], contentLength: length), maxResult: 10)
        }
        #expect(verdict(10) == .readResult)
        #expect(verdict(11) == .failed(Verdict.tooLarge(10)))
    }

    @Test("C4: a compressed answer and a missing or second Content-Type are refused by name")
    func odd() {
        func kind(_ head: AnswerHead) -> RequestFailure.Kind? {
            guard case .failed(let failure) = Verdict.of(head, maxResult: 10) else { return nil }
            return failure.kind
        }
        #expect(
            kind(.init(status: 200, contentTypes: ["application/json"], contentEncoding: "gzip"))
                == .containerInvalidJSON)
        #expect(kind(.init(status: 200, contentTypes: ["application/json"], contentEncoding: "identity")) == nil)
        #expect(kind(.init(status: 200)) == .containerNotJSONType)
        #expect(kind(.init(status: 200, contentTypes: ["application/json", "text/html"])) == .containerNotJSONType)
    }

    @Test("A3: a wrong answer is kept as text, bad bytes as U+FFFD, 4 KiB of it, no character torn")
    func texts() {
        #expect(Verdict.wrongStatus(500, body: [0x61, 0xFF, 0x62]).body == "a\u{FFFD}b")
        let long = bytes(String(repeating: "x", count: 4095) + "é")
        #expect(Verdict.wrongStatus(500, body: long).body == String(repeating: "x", count: 4095))
        #expect(Verdict.wrongStatus(500, body: bytes(String(repeating: "x", count: 9000))).body?.utf8.count == 4096)
    }
}

@Suite("Retries")
struct RetryPolicyTests {
    private static let kinds: [(RequestFailure, RetryPolicy.Reason?)] = [
        (.init(.containerUnreachable, ""), .unreachable), (.init(.replicaLost, ""), .unreachable),
        (.init(.timeout, ""), .timeout),
        (.init(.containerStatus, "", statusCode: 500), .status5xx),
        (.init(.containerStatus, "", statusCode: 599), .status5xx),
        (.init(.containerStatus, "", statusCode: 404), nil), (.init(.containerStatus, "", statusCode: 600), nil),
        (.init(.containerNotJSONType, ""), .invalidResponse), (.init(.containerInvalidJSON, ""), .invalidResponse),
        (.init(.resultTooLarge, ""), nil),
        (.init(.expired, ""), nil),
    ]

    @Test("A11: by default only what no container answered is delivered again", arguments: kinds)
    func byDefault(_ failure: RequestFailure, _ reason: RetryPolicy.Reason?) {
        let outcome = RetryPolicy().outcome(of: failure, earlier: 0, now: start, chance: 0.5)
        #expect((outcome == .failed(failure)) == (reason != .unreachable))
    }

    @Test("A11: each reason widens it to its own kinds and no others", arguments: RetryPolicy.Reason.allCases)
    func widened(_ reason: RetryPolicy.Reason) {
        for (failure, itsReason) in Self.kinds {
            let outcome = RetryPolicy(on: [reason]).outcome(of: failure, earlier: 0, now: start, chance: 0.5)
            #expect((outcome != .failed(failure)) == (reason == itsReason), "\(failure)")
        }
    }

    @Test("A11: three deliveries in all; waits double, are spread by a fifth and end at five minutes")
    func waits() {
        let failure = RequestFailure(.replicaLost, "")
        func wait(_ policy: RetryPolicy, _ earlier: Int, _ chance: Double) -> Duration? {
            guard case .retry(_, let moment) = policy.outcome(of: failure, earlier: earlier, now: start, chance: chance)
            else { return nil }
            return moment - start
        }
        #expect(wait(.init(), 0, 0.5) == .seconds(1))
        #expect(wait(.init(), 1, 0.5) == .seconds(2))
        #expect(wait(.init(), 2, 0.5) == nil)
        #expect(wait(.init(maxAttempts: 1), 0, 0.5) == nil)
        #expect(wait(.init(), 0, 0) == .milliseconds(800))
        #expect(wait(.init(maxAttempts: 100), 60, 0.5) == .seconds(300))
        #expect(wait(.init(maxAttempts: .max), .max - 2, 0.5) == .seconds(300))
        #expect(wait(.init(backoff: .zero), 0, 0.5) == .zero)
    }
}

@Suite("Dispatch machine")
struct DispatchMachineTests {
    private let start = Instant(seconds: 1_000_000)

    private func machine() -> DispatchMachine {
        DispatchMachine(pollMin: .seconds(1), pollMax: .seconds(5), now: start)
    }

    @Test("C11: one claim at a time; a full claim is followed by another, a short one waits")
    func claims() {
        var machine = machine()
        #expect(machine.wantsClaim(now: start))
        machine.handle(.claiming, now: start, chance: 0.5)
        #expect(!machine.wantsClaim(now: start))
        #expect(machine.nextClaim == nil)
        machine.handle(.claimed(asked: 4, got: 4), now: start, chance: 0.5)
        #expect(machine.wantsClaim(now: start))
        machine.handle(.claiming, now: start, chance: 0.5)
        machine.handle(.claimed(asked: 4, got: 3), now: start, chance: 0.5)
        #expect(!machine.wantsClaim(now: start))
        #expect(machine.nextClaim == start + .seconds(1))
    }

    @Test("A10: a hint during a claim is not lost, and without hints the queue is polled less and less often")
    func hintsAndPolls() {
        var machine = machine()
        machine.handle(.claiming, now: start, chance: 0.5)
        machine.handle(.hint, now: start, chance: 0.5)
        machine.handle(.claimed(asked: 1, got: 0), now: start, chance: 0.5)
        #expect(machine.wantsClaim(now: start))
        var waits: [Duration?] = []
        for _ in 0..<5 {
            machine.handle(.claiming, now: start, chance: 0.5)
            machine.handle(.claimed(asked: 1, got: 0), now: start, chance: 0.5)
            waits.append(machine.nextClaim.map { $0 - start })
        }
        #expect(waits == [.seconds(2), .seconds(4), .seconds(5), .seconds(5), .seconds(5)])
        machine.handle(.due(start + .milliseconds(10)), now: start, chance: 0.5)
        #expect(machine.nextClaim == start + .milliseconds(10))
        #expect(machine.wantsClaim(now: start + .milliseconds(10)))
    }

    @Test("A11: a retry's moment outlasts every claim that is sent before it, whatever the claim brings")
    func dues() {
        var machine = machine()
        machine.handle(.claiming, now: start, chance: 0.5)
        // A second and a first moment are noted while a claim is under way, one of them twice.
        for milliseconds in [30, 10, 30] {
            machine.handle(.due(start + .milliseconds(milliseconds)), now: start, chance: 0.5)
        }
        machine.handle(.claimed(asked: 1, got: 0), now: start + .milliseconds(20), chance: 0.5)
        #expect(machine.nextClaim == start + .milliseconds(10))
        #expect(machine.wantsClaim(now: start + .milliseconds(20)))
        machine.handle(.claiming, now: start + .milliseconds(20), chance: 0.5)
        machine.handle(.claimed(asked: 1, got: 0), now: start + .milliseconds(25), chance: 0.5)
        #expect(!machine.wantsClaim(now: start + .milliseconds(29)))
        #expect(machine.nextClaim == start + .milliseconds(30))
        machine.handle(.claiming, now: start + .milliseconds(30), chance: 0.5)
        machine.handle(.claimed(asked: 1, got: 0), now: start + .milliseconds(30), chance: 0.5)
        #expect(machine.nextClaim.map { $0 > start + .seconds(1) } == true)
    }

    @Test("A10: a store that does not answer is not called for a while, despite hints")
    func holds() {
        var machine = machine()
        machine.handle(.claimFailed, now: start, chance: 0.5)
        machine.handle(.hint, now: start, chance: 0.5)
        machine.handle(.due(start), now: start, chance: 0.5)
        #expect(!machine.wantsClaim(now: start + .milliseconds(249)))
        #expect(machine.nextClaim == start + .milliseconds(250))
        machine.handle(.claimFailed, now: start, chance: 0.5)
        #expect(machine.nextClaim == start + .milliseconds(500))
        for _ in 0..<100 { machine.handle(.claimFailed, now: start, chance: 0.5) }
        #expect(machine.nextClaim == start + .seconds(5))
    }
}

@Suite("Request to the container")
struct ContainerRequestTests {
    private func head(_ fields: [(String, String)], query: String? = nil, size: Int = 3) -> HTTPRequestHead {
        var generator = SystemRandomNumberGenerator()
        let request = ClaimedRequest(
            lease: Lease(api: "a", id: RequestID(now: start, using: &generator), token: 1),
            payload: .inline([UInt8](repeating: 0, count: size)), headers: fields.map { HeaderField($0.0, $0.1) },
            query: query, attempts: 0,
            submittedAt: start)
        return ContainerRequest.head(for: request, port: 8080)
    }

    @Test("C3: hop-by-hop headers, what the platform sets itself and forged X-Cortex-* do not reach the container")
    func dropped() {
        let head = head([
            ("connection", "close, X-Secret, content-type"), ("x-secret", "1"), ("keep-alive", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("upgrade", "h2c"), ("trailer", "x"), ("proxy-authorization", "x"), ("host", "evil"),
            ("content-length", "99"),
            ("accept-encoding", "gzip"), ("expect", "100-continue"), ("prefer", "wait=1"),
            ("X-Cortex-Request-ID", "forged"),
            ("X_Cortex_Request_ID", "forged"), ("x_cortex-Request_id", "forged"), ("http2-settings", "AAMA"),
            ("x-cortex-anything", "1"), ("bad name", "1"), ("x-inject", "a\r\nEvil: 1"), ("x-nul", "a\u{0}b"),
            ("", "x"),
            ("accept", "*/*"), ("cookie", "a=b"), ("x-twice", "1"), ("x-twice", "2"),
            ("content-type", "text/Plain; Charset=X"),
        ])
        #expect(
            head.headers.map { $0.name.lowercased() } == [
                "host", "content-length", "x-cortex-request-id", "accept", "cookie", "x-twice", "x-twice",
                "content-type",
            ])
        #expect(head.headers["content-length"] == ["3"])
        #expect(head.headers["content-type"] == ["text/Plain; Charset=X"])
        #expect(head.headers["x-cortex-request-id"] != ["forged"])
    }

    @Test(
        "C3: the path stays /, the query string is the caller's; nothing can end the request line",
        arguments: [
            (nil, "/"), ("", "/?"), ("a=b&c=%20", "/?a=b&c=%20"), ("a b", "/?a%20b"),
            ("x HTTP/1.1\r\nEvil: 1", "/?x%20HTTP/1.1%0D%0AEvil:%201"),
            ("../../etc", "/?../../etc"), ("é", "/?é"),
        ] as [(String?, String)])
    func target(_ query: String?, _ target: String) {
        #expect(head([], query: query).uri == target)
    }

    @Test("C2: an empty body has Content-Length 0, an absent Content-Type stays absent")
    func empty() {
        let head = head([], size: 0)
        #expect(head.headers["content-length"] == ["0"])
        #expect(head.headers["content-type"].isEmpty)
    }
}
