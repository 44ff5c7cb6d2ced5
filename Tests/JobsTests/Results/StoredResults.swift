import Core
import Synchronization

@testable import Jobs

/// A store with the lines, batches and bodies that a test gives it. It has nothing else.
final class StoredResults: JobStore, RequestQueue {
    struct State {
        var lines: [RecordedLine] = []
        var batches: [StoredBatch] = []
        var files: [String: [UInt8]] = [:]
        /// The largest page that was asked for, and the bytes of inline replies in the largest one.
        var largestPage = 0
        var openReaders = 0
        var largestRead = 0
    }

    let state = Mutex(State())
    /// What was recorded of the job ``retryID``.
    private let retry: StoredResults?

    static let id = RequestID(now: Timestamp(seconds: 1_000_000), random: 3)
    static let retryID = RequestID(now: Timestamp(seconds: 2_000_000), random: 3)

    init(retry: StoredResults? = nil) {
        self.retry = retry
    }

    /// The job with what was recorded so far.
    func job(_ id: RequestID = StoredResults.id, batchSize: Int = 4) -> Job {
        let now = Timestamp(seconds: 1_000_000)
        let specification = APISpecification(
            name: "sum", networking: .init(endpoint: "/sum"), kind: .batch(.init(pod: .init(containers: []))))
        let version = DeployedAPI(
            specification: specification, id: "1", specID: "1", podID: "1", deploymentID: "1",
            initialDeployment: now, lastUpdated: now)
        var job = Job(
            id: id, version: version,
            submission: JobSubmission(workers: 1, work: .batch(.init(batchSize: batchSize))), createdAt: now)
        job.counts.lines = Int64(state.withLock { $0.lines.count })
        return job
    }

    /// A body in its row, or in a file.
    func body(_ text: String, isStored: Bool = false) -> Body {
        guard isStored else { return .inline(Array(text.utf8)) }
        return state.withLock { state in
            let key = "\(state.files.count)"
            state.files[key] = Array(text.utf8)
            return .stored(key: key, size: Int64(text.utf8.count))
        }
    }

    func succeed(_ items: ItemSet, _ reply: Body?, isSplit: Bool = false, attempts: Int = 1) {
        record(ResultLine(items: items, verdict: .succeeded(reply: reply, isSplit: isSplit)), attempts)
    }

    func fail(_ items: ItemSet, _ failure: RequestFailure, attempts: Int = 1) {
        record(ResultLine(items: items, verdict: .failed(failure)), attempts)
    }

    private func record(_ line: ResultLine, _ attempts: Int) {
        state.withLock { state in
            state.lines.append(
                RecordedLine(number: Int64(state.lines.count + 1), attempts: attempts, line: line))
        }
    }

    // MARK: What is read

    func lines(of job: RequestID, after number: Int64, limit: Int, now: Timestamp) async throws -> [RecordedLine] {
        if job == Self.retryID, let retry {
            return try await retry.lines(of: Self.id, after: number, limit: limit, now: now)
        }
        return state.withLock { state in
            let page = Array(state.lines.dropFirst(Int(clamping: number)).prefix(limit))
            let bytes = page.reduce(0) { sum, record in
                if case .inline(let bytes)? = record.line.reply { sum + bytes.count } else { sum }
            }
            state.largestPage = max(state.largestPage, bytes)
            return page
        }
    }

    func batches(
        of job: RequestID, in states: Set<StoredBatch.State>, after index: Int64?, limit: Int, now: Timestamp
    ) async throws -> [StoredBatch] {
        state.withLock { state in
            Array(
                state.batches.filter { states.contains($0.state) && $0.batch.index > index ?? -1 }.prefix(limit))
        }
    }

    func reader(of body: Body) async throws -> any BodyReader {
        try state.withLock { state in
            guard case .stored(let key, _) = body, let bytes = state.files[key] else {
                throw PlatformError(.notFound, "This body is gone.")
            }
            state.openReaders += 1
            return FileReader(bytes, store: self)
        }
    }

    /// Reads a small file a few bytes at a time, so that every element is cut.
    private final class FileReader: BodyReader {
        private let rest: Mutex<ArraySlice<UInt8>>
        private let piece: Int
        private let store: StoredResults

        init(_ bytes: [UInt8], store: StoredResults) {
            self.rest = Mutex(bytes[...])
            self.piece = bytes.count < 1000 ? 3 : .max
            self.store = store
        }

        func read(upTo limit: Int) async throws -> [UInt8]? {
            store.state.withLock { $0.largestRead = max($0.largestRead, limit) }
            return rest.withLock { rest in
                let bytes = Array(rest.prefix(min(limit, piece)))
                rest = rest.dropFirst(bytes.count)
                return bytes.isEmpty ? nil : bytes
            }
        }

        func close() async { store.state.withLock { $0.openReaders -= 1 } }
    }

    // MARK: What is not there

    private static let missing = PlatformError(.internal, "This store has only results.")

    func makeBodyWriter() async throws -> any BodyWriter { throw Self.missing }
    func claim(api: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp) async throws
        -> [ClaimedRequest]
    { throw Self.missing }
    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] { throw Self.missing }
    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult { throw Self.missing }
    func release(_ leases: [Lease], now: Timestamp) async throws { throw Self.missing }
    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? { throw Self.missing }
    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> { AsyncStream { $0.finish() } }
    func stage(_ batches: [Batch], of job: Job, now: Timestamp) async throws { throw Self.missing }
    func discardStaged(_ job: RequestID) async throws { throw Self.missing }
    func createJob(_ job: Job, batches: [Batch], now: Timestamp) async throws -> JobCreation { throw Self.missing }
    func append(_ batches: [Batch], to job: RequestID, cursor: [UInt8], isLast: Bool, now: Timestamp) async throws
        -> Job?
    { throw Self.missing }
    func job(_ id: RequestID, api: String, now: Timestamp) async throws -> Job? { throw Self.missing }
    func jobs(of api: String, filter: JobFilter, now: Timestamp) async throws -> [Job] { throw Self.missing }
    func openJobs() async throws -> [Job] { throw Self.missing }
    func jobCounts(of api: String) async throws -> (pending: Int, active: Int) { throw Self.missing }
    func change(_ job: RequestID, to status: JobStatus, reason: String?, now: Timestamp) async throws -> Job? {
        throw Self.missing
    }
    func stop(_ job: RequestID, _ stop: JobStop, now: Timestamp) async throws -> Job? { throw Self.missing }
    func cancelRest(of job: RequestID, limit: Int, now: Timestamp) async throws -> Int { throw Self.missing }
    func save(_ run: JobRun, of job: RequestID, files: [JobFile], now: Timestamp) async throws -> Bool {
        throw Self.missing
    }
    func runs(of job: RequestID, limit: Int) async throws -> [JobRun] { throw Self.missing }
    func add(_ files: [JobFile], to job: RequestID, now: Timestamp) async throws { throw Self.missing }
    func files(of job: RequestID, kind: JobFile.Kind) async throws -> [JobFile] { throw Self.missing }
    func schedules(of api: String) async throws -> [String: ScheduleState] { throw Self.missing }
    func save(_ state: ScheduleState, of schedule: String, api: String) async throws { throw Self.missing }
    func removeSchedule(_ schedule: String, of api: String) async throws { throw Self.missing }
}
