/// The durable memory of the platform: deployed APIs and the queue of requests.
///
/// What every adapter promises is the suite `StoreConformance`. Every write takes `now` and has happened durably when
/// it returns; every method throws ``PlatformError`` `store_unavailable` when it could not be carried out, and then
/// nothing was changed.
package protocol Store: Sendable {
    // MARK: Deployed APIs

    /// Makes `api` the present version of its name, and keeps it among its last ``Limits/versions`` versions.
    func deploy(_ api: DeployedAPI, now: Timestamp) async throws

    /// The present versions of all APIs, sorted by name.
    func deployedAPIs() async throws -> [DeployedAPI]

    /// The last versions of an API, newest first; empty for an unknown one.
    func versions(of api: String) async throws -> [DeployedAPI]

    /// Forgets an API (contract A13): what is queued or in progress becomes `cancelled`; unless `keepRequests`, its
    /// requests, bodies and versions are erased.
    ///
    /// Returns as soon as that is decided durably, however long the queue is: from then on nobody sees the API or its
    /// requests, no lease of it is good, and the name can be deployed again. What takes longer goes on in slices, in
    /// the background and after a restart.
    ///
    /// - Returns: whether it was deployed.
    func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool

    /// How many replicas an API should have, as last decided; `nil` when nothing was saved. Survives restarts.
    func requestedReplicas(of api: String) async throws -> Int?
    /// Decides anew how many replicas an API should have, unless that or its version was decided anew in the meantime.
    ///
    /// - Parameters:
    ///   - version: the id of the version for which `count` was decided.
    ///   - current: the number that `count` replaces. Where none was saved yet, any matches.
    /// - Returns: whether `count` is requested now; `false` when another version is present, another number is saved,
    ///   or nothing is deployed.
    func replaceRequestedReplicas(_ count: Int, of api: String, version: String, expecting current: Int) async throws
        -> Bool

    // MARK: Bodies

    /// A place for a payload or a result to be written to: up to ``Limits/inlineBody`` bytes stay inline, more go into
    /// a file.
    func makeBodyWriter() async throws -> any BodyWriter

    /// Reads a body from its first byte.
    ///
    /// - Throws: ``PlatformError`` `not_found` when its file is gone.
    func reader(of body: Body) async throws -> any BodyReader

    // MARK: Requests

    /// Enqueues a request; returns only after it is durable (contract A1).
    ///
    /// `maxQueueLength` is checked against the requests in queue, in the same step. When the result is not `accepted`,
    /// the submission's body stays the caller's: discard it.
    func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult

    /// Takes up to `limit` requests from an API's queue, oldest first among those whose retry time has come. Each gets
    /// a lease until `now + visibility`.
    func claim(api: String, limit: Int, visibility: Duration, holder: String, now: Timestamp) async throws
        -> [ClaimedRequest]

    /// Moves the end of these leases to `now + visibility`.
    ///
    /// - Returns: those that are no longer good.
    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease]

    /// Ends, retries or releases a delivery; it counts as an attempt unless it was ``Outcome/interrupted``. A stale
    /// lease changes nothing; the outcome's body is then the caller's to discard.
    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult

    /// Ends or retries several deliveries, in one step where the store can. One that goes wrong does not disturb the
    /// others.
    ///
    /// - Returns: what `finish` would return or throw for each, in the same order.
    func finish(_ endings: [Ending], now: Timestamp) async -> [Result<LeaseResult, any Error>]

    /// Gives deliveries back to the queue, at its old place, with no attempt counted. Stale leases are passed over.
    func release(_ leases: [Lease], now: Timestamp) async throws

    /// Gives back all leases of a holder that is known to be gone; `nil` means every lease there is (this store's only
    /// process has just started).
    ///
    /// - Returns: how many.
    func releaseLeases(heldBy holder: String?, now: Timestamp) async throws -> Int

    /// Cancels a request that has not ended.
    ///
    /// - Returns: the request as it stands afterwards and whether this call cancelled it; `nil` for an unknown one.
    func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )?

    /// Puts a failed request whose payload is still kept back into the queue, with its attempts and interruptions
    /// reset.
    ///
    /// - Throws: ``PlatformError`` `conflict` when it has not failed or its payload is gone.
    /// - Returns: the request as it stands afterwards; `nil` for an unknown one.
    func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord?

    /// A request, unless it is another API's or its retention is over.
    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord?

    /// Requests of an API, newest first; results are not read (`result` is `nil`).
    func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord]

    /// Queued and in-progress requests of every deployed API.
    func counts() async throws -> [String: QueueCounts]

    // MARK: Upkeep

    /// Gives back expired leases, fails what waited past its `queueDeadline`, erases what is past its retention or
    /// `keep_failed`. Call every few seconds.
    ///
    /// A retry that is further away than twice ``Limits/retryBackoff`` was put off by a clock that was set back since:
    /// it is due at once.
    func maintain(now: Timestamp) async throws -> Upkeep

    /// Hints about what changed, from now on. Correctness never depends on them: they may be late, merged or lost.
    func changes() -> AsyncStream<StoreChanges>
}

extension Store {
    /// One after the other.
    package func finish(_ endings: [Ending], now: Timestamp) async -> [Result<LeaseResult, any Error>] {
        var results: [Result<LeaseResult, any Error>] = []
        for ending in endings {
            do {
                results.append(.success(try await finish(ending.lease, outcome: ending.outcome, now: now)))
            } catch {
                results.append(.failure(error))
            }
        }
        return results
    }
}

/// What a store's upkeep did.
package struct Upkeep: Sendable, Hashable {
    package var rescued = 0
    package var expired = 0
    package var purged = 0

    package init(rescued: Int = 0, expired: Int = 0, purged: Int = 0) {
        self.rescued = rescued
        self.expired = expired
        self.purged = purged
    }
}

/// A hint: what one commit changed.
package struct StoreChanges: Sendable, Hashable {
    /// APIs with work in their queue that was not there before.
    package var queued: Set<String>
    /// Requests that ended.
    package var ended: Set<RequestID>
    /// APIs that were deployed or deleted.
    package var apis: Set<String>

    package init(queued: Set<String> = [], ended: Set<RequestID> = [], apis: Set<String> = []) {
        self.queued = queued
        self.ended = ended
        self.apis = apis
    }

    package var isEmpty: Bool { queued.isEmpty && ended.isEmpty && apis.isEmpty }
}
