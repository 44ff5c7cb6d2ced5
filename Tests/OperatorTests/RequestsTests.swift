import Core
import NIOHTTP1
import StoreMemory
import TestSupport
import Testing
import Wire

@Suite("Requests")
struct RequestsTests {
    /// Submits `count` requests, oldest first, each a second later.
    static func submit(_ count: Int, to fixture: Fixture) async throws -> [RequestID] {
        var random = SeededGenerator(seed: 7)
        var ids: [RequestID] = []
        for _ in 0..<count {
            fixture.clock.advance(by: .seconds(1))
            let id = RequestID(now: fixture.clock.now(), using: &random)
            let result = try await fixture.store.submit(
                Submission(id: id, api: "iris", payload: .inline([1])), maxQueueLength: nil, now: fixture.clock.now())
            #expect(result == .accepted)
            ids.append(id)
        }
        return ids
    }

    static func fail(_ fixture: Fixture) async throws {
        let claimed = try await fixture.store.claim(
            api: "iris", limit: 1, visibility: .seconds(30), holder: "test", now: fixture.clock.now())
        let failure = RequestFailure(.containerStatus, "the container answered 500", statusCode: 500, body: "oops")
        _ = try await fixture.store.finish(claimed[0].lease, outcome: .failed(failure), now: fixture.clock.now())
    }

    @Test("O3: requests are listed newest first, page by page, by status")
    func list() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let ids = try await Self.submit(5, to: fixture)
            try await Self.fail(fixture)
            let all = try await fixture.call(.GET, "/requests/iris").decoded(RequestListDocument.self)
            #expect(all.requests.map(\.id) == ids.reversed())
            #expect(all.next == nil)
            let page = try await fixture.call(.GET, "/requests/iris?limit=2").decoded(RequestListDocument.self)
            #expect(page.next == ids[3])
            let next = try await fixture.call(.GET, "/requests/iris?limit=2&before=\(ids[3])").decoded(
                RequestListDocument.self)
            #expect(next.requests.map(\.id) == [ids[2], ids[1]])
            let failed = try await fixture.call(.GET, "/requests/iris?status=failed")
            #expect(
                failed.body
                    == #"{"requests":[{"attempt_errors":[{"body":"oops","kind":"container_status","message":"the container answered 500","status_code":500,"timestamp":"2027-01-15T08:00:05Z"}],"attempts":1,"error":{"body":"oops","kind":"container_status","message":"the container answered 500","status_code":500},"failures":[{"error":{"body":"oops","kind":"container_status","message":"the container answered 500","status_code":500},"timestamp":"2027-01-15T08:00:05Z"}],"id":"\#(ids[0])","status":"failed","submitted_at":"2027-01-15T08:00:01Z","timestamp":"2027-01-15T08:00:05Z"}]}"#
                    + "\n")
        }
    }

    @Test(
        "A4: parameters of a list are strict",
        arguments: ["limit=0", "limit=1001", "limit=x", "limit=", "status=done", "before=1"])
    func strict(query: String) async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let reply = try await fixture.call(.GET, "/requests/iris?\(query)")
            #expect(reply.status == 400)
            #expect(try reply.error.message.contains(query.prefix { $0 != "=" }))
        }
    }

    @Test("A12: a failed request goes back into the queue; any other is a conflict; an unknown one 404")
    func retry() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let ids = try await Self.submit(2, to: fixture)
            try await Self.fail(fixture)
            let reply = try await fixture.call(.POST, "/retry/iris/\(ids[0])")
            #expect(reply.status == 200, "\(reply.body)")
            #expect(try reply.decoded(RequestDocument.self).status == .inQueue)
            #expect(try await fixture.call(.POST, "/retry/iris/\(ids[1])").status == 409)
            #expect(try await fixture.call(.POST, "/retry/iris/01890a5d-ac96-774b-bcce-b302099a8057").status == 404)
            #expect(try await fixture.call(.POST, "/retry/iris/nonsense").status == 404)
        }
    }
}
