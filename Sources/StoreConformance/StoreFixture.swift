package import Core
import TestSupport
import Testing

/// A fresh store for one check, with short words for what every check does.
package struct StoreFixture: Sendable {
    package let store: any Store
    private let reopening: (@Sendable (any Store) async throws -> any Store)?

    /// - Parameter reopen: closes the store it is given and opens it again on the same data; `nil` for a store that
    ///   forgets.
    package init(
        _ store: any Store, reopen: (@Sendable (any Store) async throws -> any Store)? = nil
    ) {
        self.store = store
        self.reopening = reopen
    }

    /// The same data in a reopened store.
    func reopened() async throws -> StoreFixture {
        let reopening = try #require(reopening)
        return StoreFixture(try await reopening(store), reopen: reopening)
    }

    // MARK: Times and ids

    static let start = Timestamp(seconds: 1_800_000_000)

    /// Seconds after the beginning.
    func at(_ seconds: Int) -> Timestamp { Self.start + .seconds(seconds) }

    /// The n-th id: a larger number is younger.
    func id(_ number: Int) -> RequestID {
        var generator = SeededGenerator(seed: UInt64(number))
        return RequestID(now: Self.start + .milliseconds(number), using: &generator)
    }

    // MARK: APIs

    /// A version of an API.
    func api(_ name: String = "echo", version: Int = 1, policy: RequestPolicy = .init()) -> DeployedAPI {
        DeployedAPI(
            specification: APISpecification.async(
                name: name, networking: .init(endpoint: "/\(name)"),
                pod: .init(containers: [.init(name: "main", image: "i")]),
                requests: policy),
            id: "\(name)-\(version)", specID: "spec-\(version)", podID: "pod-\(version)",
            deploymentID: "deployment-\(version)",
            initialDeployment: Self.start, lastUpdated: at(version), submitted: #"{"name":"\#(name)"}"#)
    }

    func deploy(_ name: String = "echo", version: Int = 1, policy: RequestPolicy = .init()) async throws {
        try await store.deploy(api(name, version: version, policy: policy), now: Self.start)
    }

    /// The state of a splitter, without defaults.
    var splitState: SplitState {
        SplitState(
            rollBack: .init(api: "b", weight: 10, reason: "error rate 12 %", since: Self.start),
            owners: (0..<100).map { $0 < 90 ? "a" : "b" })
    }

    // MARK: Requests

    func submission(
        _ number: Int, api: String = "echo", payload: Body? = nil, headers: [HeaderField] = [], query: String? = nil,
        key: String? = nil, fingerprint: [UInt8] = [1], deadline: Timestamp? = nil
    ) -> Submission {
        Submission(
            id: id(number), api: api, payload: payload ?? .inline(Array("payload \(number)".utf8)), headers: headers,
            query: query, idempotency: key.map { .init(key: $0, fingerprint: fingerprint) }, queueDeadline: deadline)
    }

    /// Submits requests that must be accepted.
    func submit(
        _ numbers: ClosedRange<Int>, api: String = "echo", headers: [HeaderField] = [], deadline: Timestamp? = nil,
        now: Timestamp = start
    ) async throws {
        for number in numbers {
            let submission = submission(number, api: api, headers: headers, deadline: deadline)
            #expect(try await store.submit(submission, maxQueueLength: nil, now: now) == .accepted)
        }
    }

    /// The same for a long queue: side by side, so that a store may commit many at once.
    func submitMany(_ numbers: ClosedRange<Int>, api: String = "echo") async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for start in stride(from: numbers.lowerBound, through: numbers.upperBound, by: 50) {
                group.addTask { try await submit(start...min(start + 49, numbers.upperBound), api: api) }
            }
            try await group.waitForAll()
        }
    }

    func claim(
        _ limit: Int = 1, api: String = "echo", visibility: Duration = .seconds(30), holder: LeaseHolder = "replica",
        now: Timestamp = start
    ) async throws -> [ClaimedRequest] {
        try await store.claim(api: api, limit: limit, visibility: visibility, holder: holder, now: now)
    }

    /// Claims the one request that is next.
    func claimOne(api: String = "echo", holder: LeaseHolder = "replica", now: Timestamp = start) async throws -> Lease {
        try #require(try await claim(api: api, holder: holder, now: now).first).lease
    }

    func read(_ number: Int, api: String = "echo", now: Timestamp = start) async throws -> RequestRecord? {
        try await store.read(id(number), api: api, now: now)
    }

    func status(_ number: Int, api: String = "echo", now: Timestamp = start) async throws -> RequestStatus? {
        try await read(number, api: api, now: now)?.status
    }

    func counts(_ api: String = "echo") async throws -> QueueCounts? { try await store.counts()[api] }

    static let result = Body.inline(Array(#"{"answer": 42}"#.utf8))
    static let failure = RequestFailure(
        .containerStatus, "The container answered 500.", statusCode: 500, body: "Traceback \u{FFFD}")

    /// Brings the n-th request, alone in its queue, to a status.
    func bring(_ number: Int, to status: RequestStatus, api: String = "echo", now: Timestamp = start) async throws {
        try await submit(number...number, api: api, now: now)
        switch status {
        case .inQueue: return
        case .inProgress: _ = try await claimOne(api: api, now: now)
        case .completed:
            let lease = try await claimOne(api: api, now: now)
            #expect(try await store.finish(lease, outcome: .completed(Self.result), now: now) == .applied)
        case .failed:
            let lease = try await claimOne(api: api, now: now)
            #expect(try await store.finish(lease, outcome: .failed(Self.failure), now: now) == .applied)
        case .cancelled:
            #expect(try await store.cancel(id(number), api: api, now: now)?.wasCancelled == true)
        }
    }

    // MARK: Bodies

    /// Deterministic bytes of every value.
    static func bytes(_ count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: UInt64(count))
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }

    /// Writes a body in pieces.
    func body(_ bytes: [UInt8], pieces: Int = 10_000) async throws -> Body {
        let writer = try await store.makeBodyWriter()
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            try await writer.write(Array(bytes[start..<min(bytes.count, start + pieces)]))
        }
        return try await writer.finish()
    }

    func bytes(of body: Body, pieces: Int = 7000) async throws -> [UInt8] {
        let reader = try await store.reader(of: body)
        var bytes: [UInt8] = []
        while let piece = try await reader.read(upTo: pieces) {
            #expect(!piece.isEmpty && piece.count <= pieces)
            bytes += piece
        }
        await reader.close()
        return bytes
    }

    /// Whether a body in a file is gone.
    func isGone(_ body: Body) async throws -> Bool {
        do {
            await (try store.reader(of: body)).close()
            return false
        } catch let error as PlatformError where error.code == .notFound {
            return true
        }
    }

    func expectError(_ code: PlatformError.Code, _ body: () async throws -> Void) async {
        let error = await #expect(throws: PlatformError.self) { try await body() }
        #expect(error?.code == code)
    }
}
