import Core
import Foundation
import GRDB
import Records

/// Reads jobs from their rows. Versions that several jobs have are decoded once.
struct JobReader {
    static let sql = """
        SELECT j.*, p.head AS submission, p.bytes AS version, a.head AS state
        FROM job j JOIN payload p ON p.number = j.payload JOIN answer a ON a.number = j.answer
        """

    private var versions: [Data: DeployedAPI] = [:]

    /// A job without what is being delivered, which only the writer's state has.
    mutating func job(_ row: Row) throws -> Job {
        let decoder = JSONDecoder()
        let submitted = try decoder.decode(JobRecord.self, from: row["submission"] as Data)
        let document: Data = row["version"]
        let version = try versions[document] ?? decoder.decode(DeployedAPIRecord.self, from: document).api
        versions[document] = version
        var job = Job(
            id: try RequestID(row["id"] as Data), version: version, submission: submitted.submission,
            createdAt: submitted.createdAt)
        guard let status = JobStatus(rawValue: row["status"]) else { throw RequestHead.Damaged() }
        job.status = status
        try decoder.decode(JobStateRecord.self, from: row["state"] as Data).restore(&job)
        job.counts.batches = row["batches"]
        job.counts.openBatches = row["open_batches"]
        job.counts.failedBatches = row["failed_batches"]
        job.counts.items = row["items"]
        job.counts.itemsSucceeded = row["items_succeeded"]
        job.counts.itemsFailed = row["items_failed"]
        job.counts.itemsCancelled = row["items_cancelled"]
        job.counts.deliveriesSucceeded = row["deliveries_succeeded"]
        job.counts.deliveriesFailed = row["deliveries_failed"]
        job.counts.busy = .microseconds(row["busy"] as Int64)
        job.counts.lines = row["lines"]
        return job
    }
}

extension Job {
    /// Whether a claim may find something.
    var mayHaveWork: Bool { isClaimable && (counts.batchesInQueue > 0 || completion == .running) }
}
