import Core
import Foundation
import GRDB
import Records

/// The writer's copy of the last commit in memory: the APIs and the number of open requests of each. With it, counts,
/// policies and the check for work need no SQL. It is correct because this process is the only writer.
struct StoreState: Sendable {
    /// The deployed APIs, and deleted ones whose requests are kept.
    var apis: [String: StoredAPI] = [:]
    /// By the API's number.
    var counts: [Int64: QueueCounts] = [:]
    /// The open jobs.
    var jobs: [RequestID: StoredJob] = [:]
    /// The open jobs by their numbers.
    var jobNumbers: [Int64: RequestID] = [:]
    /// Jobs that are not created yet.
    var staged: [RequestID: StagedJob] = [:]
    var payloads = BodyLog(table: .payload)
    var answers = BodyLog(table: .answer)

    init(loading db: Database) throws {
        try payloads.load(db)
        try answers.load(db)
        let rows = try Row.fetchAll(
            db,
            sql: """
                SELECT api.number, api.name, api.deployed, api.closing, api.replicas, version.document FROM api
                JOIN version ON version.sequence = (SELECT max(sequence) FROM version WHERE version.api = api.number)
                WHERE api.name IS NOT NULL AND api.owner IS NULL
                """)
        for row in rows {
            let name: String = row[1]
            let data: Data = row[5]
            let api = try JSONDecoder().decode(DeployedAPIRecord.self, from: data).api
            apis[name] = StoredAPI(
                number: row[0], isDeployed: row[2], isClosing: row[3], requestedReplicas: row[4], present: api)
        }
        for state in StoredState.open {
            for row in try Row.fetchAll(
                db, sql: "SELECT api, count(*) FROM request WHERE state = \(state.rawValue) GROUP BY api")
            {
                let number: Int64 = row[0]
                let count: Int = row[1]
                if state.status == .inQueue {
                    counts[number, default: QueueCounts()].inQueue += count
                } else {
                    counts[number, default: QueueCounts()].inProgress += count
                }
            }
        }
        try loadJobs(db)
    }

    private mutating func loadJobs(_ db: Database) throws {
        var versions = JobReader()
        for row in try Row.fetchAll(db, sql: JobReader.sql + " WHERE j.purge_at IS NULL") {
            let stored = StoredJob(number: row["number"], owner: row["api"], job: try versions.job(row))
            jobs[stored.job.id] = stored
            jobNumbers[stored.number] = stored.job.id
            // They are counted in the job.
            counts[stored.number] = nil
        }
        let delivered = try Row.fetchAll(
            db, sql: "SELECT api, count(*), sum(items) FROM request WHERE state = 1 AND items > 0 GROUP BY api")
        for row in delivered {
            guard let id = jobNumbers[row[0]] else { continue }
            jobs[id]?.job.counts.deliveredBatches = row[1]
            jobs[id]?.job.counts.itemsInProgress = row[2]
        }
    }

    /// The open job of a hidden queue.
    func job(ofQueue name: String) -> StoredJob? {
        Job.id(ofQueue: name).flatMap { jobs[$0] }
    }

    /// The number of a deployed API or of the queue of an open job.
    func queueNumber(_ name: String) -> Int64? { deployed(name)?.number ?? job(ofQueue: name)?.number }

    func deployed(_ name: String) -> StoredAPI? {
        guard let api = apis[name], api.isDeployed else { return nil }
        return api
    }
}

/// An open job and the number of its queue.
struct StoredJob: Sendable {
    let number: Int64
    /// The number of its API.
    let owner: Int64
    private var box: Box

    /// A commit that changes a job copies the table of all open jobs, so its entries are small.
    private final class Box: Sendable {
        let job: Job
        init(_ job: Job) { self.job = job }
    }

    init(number: Int64, owner: Int64, job: Job) {
        self.number = number
        self.owner = owner
        self.box = Box(job)
    }

    var job: Job {
        get { box.job }
        set { box = Box(newValue) }
    }
}

/// A job whose batches are being stored before it is created.
struct StagedJob: Sendable {
    let number: Int64
    /// The number of its API.
    let owner: Int64
    var batches: Int64 = 0
    var items: Int64 = 0
}

/// An API's row and its current version.
struct StoredAPI: Sendable {
    var number: Int64
    var isDeployed: Bool
    /// It was deleted, and not all of its open requests are cancelled yet.
    var isClosing: Bool
    var requestedReplicas: Int?
    private let version: Version

    /// A declaration has dozens of members; as an object it is not copied by every request that reads its API.
    private final class Version: Sendable {
        let api: DeployedAPI
        let policy: RequestPolicy
        init(_ api: DeployedAPI) {
            self.api = api
            self.policy = api.specification.requests
        }
    }

    init(
        number: Int64, isDeployed: Bool, isClosing: Bool = false, requestedReplicas: Int?, present: DeployedAPI
    ) {
        self.number = number
        self.isDeployed = isDeployed
        self.isClosing = isClosing
        self.requestedReplicas = requestedReplicas
        self.version = Version(present)
    }

    var present: DeployedAPI { version.api }

    var policy: RequestPolicy { version.policy }
}
