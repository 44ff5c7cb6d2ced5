/// The part of a store that jobs need. What ``RequestQueue`` says of writes, errors and time holds here too.
///
/// **A job's batches are requests of a hidden queue** named ``Job/queue``. ``RequestQueue`` works on it as on the queue
/// of an API, with the delivery rules of the job's version; it is in no list of APIs. A claim from it makes the job
/// ``JobStatus/running`` if it is not. Nothing is claimed from the queue of a job that has a ``Job/stop`` or has ended.
/// ``Outcome/batch(_:)`` and ``Outcome/completion(_:)`` are the outcomes of such requests; they are still recorded
/// while a job is being stopped, not after its end. The other outcomes have the same meaning for a whole batch
/// (``JobDeliveryEnd``). An outcome that does not fit the items of its batch throws ``PlatformError`` `internal`
/// (``BatchOutcome/fits(_:)``).
///
/// **The end of the last batch** (its input is complete, there is no ``Job/stop``, no batch is open) makes the request
/// of the call after it, in the same step: ``Job/completion`` becomes ``JobCompletion/running``. The outcome of that
/// request ends the job: ``JobStatus/succeeded`` when no item failed and the call did not fail, otherwise
/// ``JobStatus/completedWithFailures``. A job that is being stopped only gets the outcome.
///
/// **A deleted API.** With its requests kept, its open jobs get ``JobStop/apiDeleted``, and no caller sees its jobs
/// until it is deployed again; otherwise its jobs are erased.
package protocol JobStore: Sendable {
    // MARK: Submission

    /// Adds batches to a job that does not exist yet. They are not visible before ``createJob(_:batches:now:)``. The
    /// next start of the store removes those of a job that was not created. They may be lost before the job is created,
    /// also after a return: then its creation is ``JobCreation/unknownAPI``.
    ///
    /// - Throws: ``PlatformError`` `not_found` when the API is not deployed. After an error,
    ///   discard what was staged.
    func stage(_ batches: [Batch], of job: Job, now: Timestamp) async throws

    /// Removes what was staged for a job that is not created.
    func discardStaged(_ job: RequestID) async throws

    /// Creates a job with its first batches, behind those that were staged. Its ``Job/isInputComplete`` says whether
    /// more will follow. With no batch, and all of its input there, a Batch job ends at once.
    ///
    /// The key of its submission, its planned time and `max_queued_jobs` are checked in the same step. When the result
    /// is not `created`, nothing is stored, and what was staged is removed; the bodies of `batches` stay the caller's.
    /// After an error, what was staged is of no use: discard it.
    func createJob(_ job: Job, batches: [Batch], now: Timestamp) async throws -> JobCreation

    /// Adds batches to a job whose input is being listed, together with the new cursor. The call with `isLast` makes
    /// the input complete.
    ///
    /// - Returns: the job afterwards; `nil` when it does not exist, is being stopped, or its input is complete. Then
    ///   nothing was changed.
    func append(_ batches: [Batch], to job: RequestID, cursor: [UInt8], isLast: Bool, now: Timestamp) async throws
        -> Job?

    // MARK: State

    /// A job, unless it is another API's or its retention is over.
    func job(_ id: RequestID, api: String, now: Timestamp) async throws -> Job?

    /// Jobs of an API, newest first.
    func jobs(of api: String, filter: JobFilter, now: Timestamp) async throws -> [Job]

    /// All open jobs of all APIs in the order of submission, also those of an API that was deleted with its requests
    /// kept.
    func openJobs() async throws -> [Job]

    /// The number of an API's jobs that are pending and not being stopped, and of its other open jobs.
    func jobCounts(of api: String) async throws -> (pending: Int, active: Int)

    /// Changes the status of a job as ``JobStatus/origins`` allows, or only its reason (`status` is what it has). A job
    /// ends only when none of its requests is open (``cancelRest(of:limit:now:)``); its retention begins. One that is
    /// being stopped gets no other status than that of its ``Job/stop``, whose reason is the default of `reason`.
    ///
    /// - Returns: the job afterwards; `nil` when the change is not allowed or there is no such job.
    func change(_ job: RequestID, to status: JobStatus, reason: String?, now: Timestamp) async throws -> Job?

    /// Records that a job is to be stopped. From then on nothing is claimed from its queue. A second stop changes
    /// nothing.
    ///
    /// - Returns: the job afterwards; `nil` when it is not open, cannot get the status of `stop`, or there is no such
    ///   job.
    func stop(_ job: RequestID, _ stop: JobStop, now: Timestamp) async throws -> Job?

    /// Cancels up to `limit` open batches of a job that is being stopped, also those that are being delivered, and the
    /// call after the last batch. Their leases become invalid.
    ///
    /// - Returns: how many requests of the job are still open.
    func cancelRest(of job: RequestID, limit: Int, now: Timestamp) async throws -> Int

    // MARK: Results

    /// Lines of a job in the order of their numbers.
    ///
    /// - Parameters:
    ///   - number: only lines behind this one; 0 begins with the first.
    ///   - limit: clamped to ``Limits/listPage``.
    func lines(of job: RequestID, after number: Int64, limit: Int, now: Timestamp) async throws -> [RecordedLine]

    /// Batches of a job that have not succeeded, in the order of their indexes. A partly failed batch has only the
    /// items that failed.
    ///
    /// - Parameters:
    ///   - index: only batches behind this one; `nil` begins with the first.
    ///   - limit: clamped to ``Limits/listPage``.
    func batches(
        of job: RequestID, in states: Set<StoredBatch.State>, after index: Int64?, limit: Int, now: Timestamp
    ) async throws -> [StoredBatch]

    // MARK: Runs

    /// Saves a run of a Task job together with the files that it left. A run that has ended does not change any more;
    /// one that was lost may be followed by one in another pod (``JobRun/replacement(by:)``).
    ///
    /// - Returns: whether it is saved. If not, or if it was saved before, the bodies of `files` stay the caller's.
    func save(_ run: JobRun, of job: RequestID, files: [JobFile], now: Timestamp) async throws -> Bool

    /// The runs of a job, newest first.
    func runs(of job: RequestID, limit: Int) async throws -> [JobRun]

    /// Adds files to a job, in place of those with the same kind, worker, attempt and path. Files of a job that does
    /// not exist are erased.
    func add(_ files: [JobFile], to job: RequestID, now: Timestamp) async throws

    /// Files of a job, sorted by worker, attempt and path.
    func files(of job: RequestID, kind: JobFile.Kind) async throws -> [JobFile]

    // MARK: Schedules

    /// What is saved of an API's schedules, by name.
    func schedules(of api: String) async throws -> [String: ScheduleState]

    /// Saves the state of a schedule. Deleting the API erases it; for an API that is not deployed nothing happens.
    func save(_ state: ScheduleState, of schedule: String, api: String) async throws

    /// Erases what is saved of a schedule that was removed.
    func removeSchedule(_ schedule: String, of api: String) async throws
}

/// The result of the creation of a job.
package enum JobCreation: Sendable, Hashable {
    case created(Job)
    /// The idempotency key, or the planned time of the schedule, was used by this job with the same content.
    case existing(Job)
    /// The idempotency key was used with other content.
    case idempotencyMismatch
    /// `max_queued_jobs` are pending.
    case queueFull
    /// No API of this name is deployed (any more).
    case unknownAPI
}

/// The jobs of an API that a list shows.
package struct JobFilter: Sendable, Hashable {
    /// `nil` for all.
    package var statuses: Set<JobStatus>?
    /// Only jobs older than this id; `nil` begins with the newest.
    package var before: RequestID?
    /// At most this many; clamped to ``Limits/listPage``.
    package var limit: Int

    package init(statuses: Set<JobStatus>? = nil, before: RequestID? = nil, limit: Int = 100) {
        self.statuses = statuses
        self.before = before
        self.limit = limit
    }
}

/// What is durable of a schedule.
package struct ScheduleState: Sendable, Hashable {
    /// Which planned times it has: a change of it starts a new plan.
    package var fingerprint: String
    /// Every planned time up to this one has its job or its skip. It only grows.
    package var lastPlanned: Timestamp
    package var isSuspended: Bool
    /// A planned time that waits for the end of the running job (`overlap: queue` or `replace`).
    package var waiting: Timestamp?
    /// The last job that it made.
    package var lastJob: RequestID?
    /// The newest first.
    package var skips: [Skip]

    /// Planned times without a job, of one cause.
    package struct Skip: Sendable, Hashable {
        /// The newest of them.
        package var plannedAt: Timestamp
        package var count: Int
        package var reason: String

        package init(plannedAt: Timestamp, count: Int, reason: String) {
            self.plannedAt = plannedAt
            self.count = count
            self.reason = reason
        }
    }

    package init(
        fingerprint: String, lastPlanned: Timestamp, isSuspended: Bool = false, waiting: Timestamp? = nil,
        lastJob: RequestID? = nil, skips: [Skip] = []
    ) {
        self.fingerprint = fingerprint
        self.lastPlanned = lastPlanned
        self.isSuspended = isSuspended
        self.waiting = waiting
        self.lastJob = lastJob
        self.skips = skips
    }
}
