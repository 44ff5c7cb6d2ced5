/// The part of a store that a dequeuer needs: it takes requests under leases, reads and writes their bodies, and
/// records how each delivery ended.
///
/// Every write has happened durably when it returns. Every method throws ``PlatformError`` `store_unavailable` when it
/// could not be carried out, and then nothing was changed. Safe from any task.
///
/// **Time.** `now` is the caller's calendar clock. A store that one process uses at a time compares it with the times
/// that earlier calls stored. Several processes may have clocks that differ. A store that they share therefore uses the
/// clock of its database for what orders the processes among each other: the ends of leases (`claim`, `extend`,
/// `Store.maintain`) and heartbeats (`Store.beat`). It stores the caller's `now` only where users see it
/// (`submitted_at`, the end of a request) and for what is far longer than clocks differ (retention, retry times, queue
/// deadlines). Correctness never depends on a clock: a token decides whether a lease is good.
///
/// **Order.** A queue is ordered by ``RequestID``, which begins with the time when its process accepted the request.
/// With one process this is the order of submission. With several it is that order up to the difference of their
/// clocks; a store may not reorder beyond that, and may use a sequence of its own to be exact. A request that returns
/// to the queue keeps its place.
package protocol RequestQueue: Sendable {
    // MARK: Bodies

    /// A writer for a payload or a result: up to ``Limits/inlineBody`` bytes stay inline, more go into a file.
    func makeBodyWriter() async throws -> any BodyWriter

    /// Reads a body from its first byte.
    ///
    /// - Throws: ``PlatformError`` `not_found` when its file is gone.
    func reader(of body: Body) async throws -> any BodyReader

    // MARK: Leases

    /// Takes up to `limit` requests from an API's queue, oldest first among those whose retry time has come. Each gets
    /// a lease until `now + visibility`.
    func claim(api: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp) async throws
        -> [ClaimedRequest]

    /// Moves the end of these leases to `now + visibility`.
    ///
    /// - Returns: those that are no longer good.
    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease]

    /// Ends, retries or releases a delivery; it counts as an attempt unless it was ``Outcome/interrupted``. A stale
    /// lease changes nothing; the outcome's body is then the caller's to discard.
    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult

    /// Ends or retries several deliveries, in one step where the store can. A failure of one does not affect the
    /// others.
    ///
    /// - Returns: what `finish` would return or throw for each, in the same order.
    func finish(_ deliveries: [(lease: Lease, outcome: Outcome)], now: Timestamp) async
        -> [Result<LeaseResult, any Error>]

    /// Releases deliveries: each request is in the queue again, at its old place, with no attempt counted. Stale leases
    /// are skipped.
    func release(_ leases: [Lease], now: Timestamp) async throws

    // MARK: State of a request

    /// A request, unless it is another API's or its retention is over.
    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord?

    // MARK: Hints

    /// Hints about what changed, from now on. Correctness never depends on them: they may be late, merged or lost. A
    /// stream may end while the store lives; its reader then asks for another.
    ///
    /// - Parameter kinds: what the reader wants; it is not woken for anything else.
    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges>
}

extension RequestQueue {
    /// Hints of every kind.
    package func changes() -> AsyncStream<StoreChanges> { changes(.all) }

    /// One after the other.
    package func finish(_ deliveries: [(lease: Lease, outcome: Outcome)], now: Timestamp) async
        -> [Result<LeaseResult, any Error>]
    {
        var results: [Result<LeaseResult, any Error>] = []
        for delivery in deliveries {
            do {
                results.append(.success(try await finish(delivery.lease, outcome: delivery.outcome, now: now)))
            } catch {
                results.append(.failure(error))
            }
        }
        return results
    }
}

/// A hint: what one commit changed.
package struct StoreChanges: Sendable, Hashable {
    /// The parts of a hint.
    package struct Kinds: OptionSet, Sendable, Hashable {
        package static let queued = Kinds(rawValue: 1)
        package static let ended = Kinds(rawValue: 2)
        package static let apis = Kinds(rawValue: 4)
        package static let replicas = Kinds(rawValue: 8)
        package static let jobs = Kinds(rawValue: 16)
        package static let all: Kinds = [.queued, .ended, .apis, .replicas, .jobs]

        package let rawValue: Int

        package init(rawValue: Int) { self.rawValue = rawValue }
    }

    /// APIs with work in their queue that was not there before.
    package var queued: Set<String>
    /// Requests that ended.
    package var ended: Set<RequestID>
    /// APIs that were deployed or deleted.
    package var apis: Set<String>
    /// APIs whose requested number of replicas changed.
    package var replicas: Set<String>
    /// Jobs that were created or changed, or have new lines, runs or files.
    package var jobs: Set<RequestID>

    package init(
        queued: Set<String> = [], ended: Set<RequestID> = [], apis: Set<String> = [], replicas: Set<String> = [],
        jobs: Set<RequestID> = []
    ) {
        self.queued = queued
        self.ended = ended
        self.apis = apis
        self.replicas = replicas
        self.jobs = jobs
    }

    /// The parts that say something.
    package var kinds: Kinds {
        var kinds: Kinds = []
        if !queued.isEmpty { kinds.insert(.queued) }
        if !ended.isEmpty { kinds.insert(.ended) }
        if !apis.isEmpty { kinds.insert(.apis) }
        if !replicas.isEmpty { kinds.insert(.replicas) }
        if !jobs.isEmpty { kinds.insert(.jobs) }
        return kinds
    }

    package var isEmpty: Bool { kinds.isEmpty }

    /// The same hint without the other kinds.
    package func only(_ wanted: Kinds) -> StoreChanges {
        guard !kinds.isSubset(of: wanted) else { return self }
        return StoreChanges(
            queued: wanted.contains(.queued) ? queued : [], ended: wanted.contains(.ended) ? ended : [],
            apis: wanted.contains(.apis) ? apis : [], replicas: wanted.contains(.replicas) ? replicas : [],
            jobs: wanted.contains(.jobs) ? jobs : [])
    }
}
