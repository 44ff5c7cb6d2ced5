/// The durable memory of the platform: deployed APIs and the queue of requests.
///
/// What every adapter promises is the suite `StoreConformance`. What ``RequestQueue`` says of writes, errors and time
/// holds for every method.
///
/// One process may use a store, or several at the same time (``beat(process:now:)``). Every method may be called by any
/// of them at any time.
package protocol Store: RequestQueue, JobStore {
    /// The kind of store in one word, as `/info` and messages name it: `sqlite`, `memory`.
    var name: String { get }

    // MARK: Deployed APIs

    /// Makes `api` the present version of its name, unless another version became present meanwhile, and keeps it among
    /// its last ``Limits/versions`` versions.
    ///
    /// - Parameter expecting: the id of the version that `api` was decided for and replaces; `nil` when none was
    ///   deployed.
    /// - Returns: whether `api` is present now; `false` when another version, or none, is present than expected, and
    ///   then nothing was changed.
    func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool

    /// The present versions of all APIs, sorted by name.
    func deployedAPIs() async throws -> [DeployedAPI]

    /// The last versions of an API, newest first; empty for an unknown one.
    func versions(of api: String) async throws -> [DeployedAPI]

    /// Deletes an API (contract A13): what is queued or in progress becomes `cancelled`; unless `keepRequests`, its
    /// requests, bodies and versions are erased.
    ///
    /// Returns as soon as that is decided durably, however long the queue is: from then on no caller sees the API or
    /// its requests, no lease of it is good, and the name can be deployed again. What takes longer goes on in slices,
    /// in the background and after a restart.
    ///
    /// - Returns: whether it was deployed.
    func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool

    /// How many replicas an API should have, as last decided; `nil` when nothing was saved. Survives restarts.
    func requestedReplicas(of api: String) async throws -> Int?

    /// Saves how many replicas an API should have, unless that number or its version has been replaced.
    ///
    /// - Parameters:
    ///   - version: the id of the version for which `count` was decided.
    ///   - current: the number that `count` replaces. Where none was saved yet, any matches.
    /// - Returns: whether `count` is requested now; `false` when another version is present, another number is saved,
    ///   or nothing is deployed.
    func replaceRequestedReplicas(_ count: Int, of api: String, version: String, expecting current: Int) async throws
        -> Bool

    /// The saved state of a TrafficSplitter; `nil` when none was saved for its present version. Survives restarts.
    func splitState(of splitter: String) async throws -> SplitState?

    /// Saves the state of a TrafficSplitter, unless its version has been replaced. A deploy of another version and the
    /// splitter's deletion erase it.
    ///
    /// - Parameter version: the id of the version to which `state` belongs.
    /// - Returns: whether it is saved now; `false` when another version is present, or nothing is deployed.
    func saveSplitState(_ state: SplitState, of splitter: String, version: String) async throws -> Bool

    // MARK: Requests

    /// Enqueues a request; returns only after it is durable (contract A1).
    ///
    /// `maxQueueLength` is checked against the requests in queue, in the same step. When the result is not `accepted`,
    /// the submission's body stays the caller's: discard it.
    func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult

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

    /// Requests of an API, newest first; results are not read (`result` is `nil`).
    func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord]

    /// Queued and in-progress requests of every deployed API.
    func counts() async throws -> [String: QueueCounts]

    // MARK: Processes

    /// Releases all leases of a process that is known to be gone.
    ///
    /// - Returns: how many.
    func releaseLeases(heldBy process: String, now: Timestamp) async throws -> Int

    /// Records that a process lives. A process calls it before its first claim, and then every ``Limits/heartbeat``.
    ///
    /// A process that has called this is gone when its last call is ``Limits/processTimeout`` old; ``maintain(now:)``
    /// then releases its leases. A store that one process uses at a time knows more: the first call of a process means
    /// that every other one is gone, and releases the leases of all others at once. Leases of a process that has never
    /// called this only expire. A process that was taken for gone and calls again lives again; its old leases stay
    /// released.
    ///
    /// - Parameter process: the name of one run of a process, as in ``LeaseHolder/process``.
    /// - Returns: how many leases of other processes were released.
    func beat(process: String, now: Timestamp) async throws -> Int

    // MARK: Upkeep

    /// Releases expired leases and those of processes that are gone, fails what waited past its `queueDeadline`, erases
    /// what is past its retention or `keep_failed`. Call every few seconds.
    ///
    /// Every process of a store calls it, also at the same time as others: each step is done once, and a
    /// repeated call finds nothing more to do.
    ///
    /// A retry that is further away than twice ``Limits/retryBackoff`` was scheduled before the clock was set back: it
    /// becomes due at once.
    func maintain(now: Timestamp) async throws -> Upkeep
}

/// What one call of a store's upkeep did. The work of concurrent calls adds up to what one call would have done.
package struct Upkeep: Sendable, Hashable {
    /// Requests that returned to their queues because their lease expired or its process was gone.
    package var rescued = 0
    package var expired = 0
    package var purged = 0

    package init(rescued: Int = 0, expired: Int = 0, purged: Int = 0) {
        self.rescued = rescued
        self.expired = expired
        self.purged = purged
    }
}
