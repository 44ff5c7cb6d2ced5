import AsyncHTTPClient
package import Core
import Foundation
package import NIOCore
import NIOHTTP1
package import Wire

/// The jobs of one Batch or Task API, through the operator (contract J1). Safe from any task.
///
/// Every call throws ``PlatformError``: the operator's error, or `connection_failed` with the address and what to do.
package struct JobClient: Sendable {
    package let api: String
    package let kind: APIKind
    /// Changes only while a job is waited for or its results are read.
    private var client: OperatorClient
    private let base: String
    private let clock: any PlatformClock

    /// Longest document of a job, in bytes: the results of its workers are inside.
    private static let documentLimit = (1 << 30) + (1 << 20)
    /// A submission is answered after all of it was stored.
    private static let submissionTimeout: Duration = .seconds(24 * 3600)

    /// - Returns: `nil` for a kind of API that has no jobs.
    package init?(_ client: OperatorClient, api: String, kind: APIKind, clock: any PlatformClock) {
        switch kind {
        case .batch: self.base = "/batch/\(OperatorClient.segment(api))"
        case .task: self.base = "/tasks/\(OperatorClient.segment(api))"
        case .async, .realtime, .trafficSplitter: return nil
        }
        self.client = client
        self.api = api
        self.kind = kind
        self.clock = clock
    }

    // MARK: Submission

    /// Submits a job: a JSON object (contract B1, T1).
    package func submit(
        _ payload: PayloadSource, headers: [(name: String, value: String)] = []
    ) async throws -> JobReceipt {
        try await submit(payload, type: "application/json", query: [], headers: headers)
    }

    /// Submits a Batch job whose items are the lines of the payload (contract B2).
    package func submit(
        lines payload: PayloadSource, _ parameters: JobParameters, headers: [(name: String, value: String)] = []
    ) async throws -> JobReceipt {
        try await submit(payload, type: "application/jsonl", query: parameters.query, headers: headers)
    }

    private func submit(
        _ payload: PayloadSource, type: String, query: [(String, String)], headers: [(name: String, value: String)]
    ) async throws -> JobReceipt {
        var request = client.request("POST", base, query: query)
        for header in headers { request.headers.add(name: header.name, value: header.value) }
        request.headers.replaceOrAdd(name: "Content-Type", value: type)
        request.body = payload.body
        let reply = try await client.send(request, base, timeout: Self.submissionTimeout)
        return try JobReceipt(document: reply.body, from: client)
    }

    /// Makes a new job of the part of an ended one that did not succeed (contract B10, T3).
    package func retry(_ id: RequestID) async throws -> JobReceipt {
        let reply = try await client.send("POST", "\(base)/\(id)/retry", timeout: OperatorClient.writeTimeout)
        return try JobReceipt(document: reply.body, from: client)
    }

    // MARK: State

    /// A page of jobs, newest first.
    package func jobs(
        status: JobStatus? = nil, before: RequestID? = nil, limit: Int
    ) async throws -> DocumentWithText<JobListDocument> {
        var query = [("limit", "\(limit)")]
        if let status { query.append(("status", status.rawValue)) }
        if let before { query.append(("before", before.description)) }
        return try await client.callWithText(base, query: query)
    }

    /// The job as it stands; with `wait`, the operator answers only when it ends or the time (whole seconds, at most
    /// 60) is over.
    package func job(_ id: RequestID, wait: Duration = .zero) async throws -> JobSnapshot {
        let path = "\(base)/\(id)"
        var request = client.request("GET", path)
        let seconds = min(wait, Limits.longPoll).components.seconds
        if seconds > 0 { request.headers.add(name: "Prefer", value: "wait=\(seconds)") }
        let reply = try await client.send(
            request, path, timeout: OperatorClient.readTimeout + .seconds(seconds), limit: Self.documentLimit)
        return JobSnapshot(document: reply.body, job: try client.decode(reply.body))
    }

    /// Waits until the job has ended, at most for `limit` (`nil`: until the end). A platform that is away is asked
    /// again as long as a restart takes.
    ///
    /// - Parameters:
    ///   - period: how often at least `show` is called with the state of an open job; whole seconds.
    ///   - isKnown: whether the platform has confirmed that the job exists.
    /// - Returns: the last known state of the job; check its status.
    package func wait(
        _ id: RequestID, limit: Duration?, period: Duration, isKnown: Bool = false,
        show: (JobSnapshot) -> Void = { _ in }
    ) async throws -> JobSnapshot {
        var machine = ResultWait(start: clock.instant(), limit: limit, isKnown: isKnown, longestPoll: period)
        var jobs = self
        var last: JobSnapshot?
        while true {
            let event: ResultWait.Event
            let asked = machine.poll(at: clock.instant())
            do {
                let snapshot = try await jobs.job(id, wait: last == nil ? .zero : asked)
                last = snapshot
                event = .answer(isEnded: !snapshot.status.isOpen)
                if snapshot.status.isOpen { show(snapshot) }
            } catch let error as PlatformError where error.isPassing {
                event = .away(error)
                jobs.reconnect()
            }
            switch machine.next(event, at: clock.instant()) {
            case .finish: if let last { return last }
            case .fail(let error): throw error
            case .sleep(let duration): try await clock.sleep(for: duration)
            }
        }
    }

    /// The folder of the platform's socket may be another one after a restart.
    private mutating func reconnect() {
        guard
            let fresh = try? OperatorClient(
                environment: client.environment, transport: client.transport, version: client.version)
        else { return }
        client = fresh
    }

    /// Stops a job (contract J5).
    ///
    /// - Throws: `conflict` when it has ended.
    package func stop(_ id: RequestID) async throws -> MessageDocument {
        try await client.call("DELETE", "\(base)/\(id)", timeout: OperatorClient.writeTimeout)
    }

    // MARK: Results and artifacts

    /// Reads for each item of the whole chain of retries its last line (contract B10).
    ///
    /// - Parameter receive: gets the bytes as they arrive; a part may end anywhere.
    package func mergedResults(
        _ id: RequestID, onlyFailed: Bool, receive: (ByteBuffer) async throws -> Void
    ) async throws {
        let query = [("merged", "true")] + (onlyFailed ? [("status", "failed")] : [])
        let response = try await client.open(client.request("GET", "\(base)/\(id)/results", query: query))
        try await response.forEachPart(receive)
    }

    /// Reads the results of a Batch job from the first line on (contract B8). A connection that is lost is made again,
    /// and nothing is handed out twice.
    ///
    /// - Parameters:
    ///   - follow: whether lines are read until the job has ended, instead of those there are.
    ///   - receive: gets the bytes as they arrive; a part may end anywhere.
    package func results(
        _ id: RequestID, onlyFailed: Bool, follow: Bool, receive: (ByteBuffer) async throws -> Void
    ) async throws {
        var reader = ResultsReader(path: "\(base)/\(id)/results", onlyFailed: onlyFailed)
        var jobs = self
        var failures = 0
        while true {
            do {
                // What there is first: this answer tells the place where the next one continues.
                try await reader.read(jobs.client, follow: false, receive)
                failures = 0
                guard follow else { return }
                try await reader.read(jobs.client, follow: true, receive)
                // A platform that is shutting down ends its answers, too.
                if try await !jobs.job(id).status.isOpen {
                    return try await reader.read(jobs.client, follow: false, receive)
                }
            } catch let error as PlatformError where error.isPassing {
                failures += 1
                guard failures <= ResultWait.failuresAllowed.later else { throw error }
                jobs.reconnect()
            }
            try await clock.sleep(for: .seconds(1))
        }
    }

    /// The artifacts of each worker's last attempt (contract T6).
    package func artifacts(_ id: RequestID) async throws -> ArtifactListDocument {
        try await client.call("GET", "\(base)/\(id)/artifacts")
    }

    /// Reads one artifact.
    ///
    /// - Parameter receive: gets the bytes as they arrive.
    /// - Throws: also what `receive` throws.
    package func artifact(
        _ id: RequestID, worker: Int, path: String, receive: (ByteBuffer) async throws -> Void
    ) async throws {
        let segments = path.split(separator: "/", omittingEmptySubsequences: false).map {
            OperatorClient.segment(String($0))
        }
        let request = client.request("GET", "\(base)/\(id)/artifacts/\(worker)/\(segments.joined(separator: "/"))")
        let response = try await client.open(request)
        try await response.forEachPart(receive)
    }

    // MARK: Schedules

    package func schedules() async throws -> ScheduleListDocument {
        try await client.call("GET", "\(base)/schedules")
    }

    /// Submits the job of a schedule now, besides its plan (contract J14).
    package func runSchedule(_ name: String) async throws -> JobReceipt {
        let reply = try await client.send("POST", path(ofSchedule: name, "run"), timeout: OperatorClient.writeTimeout)
        return try JobReceipt(document: reply.body, from: client)
    }

    /// Suspends or resumes a schedule.
    package func setSchedule(_ name: String, isSuspended: Bool) async throws -> MessageDocument {
        try await client.call(
            "POST", path(ofSchedule: name, isSuspended ? "suspend" : "resume"), timeout: OperatorClient.writeTimeout)
    }

    private func path(ofSchedule name: String, _ verb: String) -> String {
        "/schedules/\(OperatorClient.segment(api))/\(OperatorClient.segment(name))/\(verb)"
    }
}

/// The parameters of a submission of JSON Lines (contract B2).
package struct JobParameters: Sendable, Hashable {
    package var workers: Int
    package var batchSize: Int
    /// A JSON object, as text.
    package var config: String?
    /// Seconds.
    package var timeout: Int?

    package init(workers: Int, batchSize: Int, config: String? = nil, timeout: Int? = nil) {
        self.workers = workers
        self.batchSize = batchSize
        self.config = config
        self.timeout = timeout
    }

    var query: [(String, String)] {
        var query = [("workers", "\(workers)"), ("batch_size", "\(batchSize)")]
        if let timeout { query.append(("timeout", "\(timeout)")) }
        if let config { query.append(("config", config)) }
        return query
    }
}

/// The answer to a submission.
package struct JobReceipt: Sendable, Hashable {
    package var id: RequestID
    /// Paths of members that the platform does not know.
    package var ignoredFields: [String]
    /// The submission document, verbatim.
    package var document: ByteBuffer

    private struct Members: Decodable {
        var jobID: RequestID
        var ignoredFields: [String]?

        enum CodingKeys: String, CodingKey {
            case jobID = "job_id"
            case ignoredFields = "ignored_fields"
        }
    }

    init(document: ByteBuffer, from client: OperatorClient) throws {
        let members: Members = try client.decode(document)
        self.id = members.jobID
        self.ignoredFields = members.ignoredFields ?? []
        self.document = document
    }
}

/// A job as the operator showed it.
package struct JobSnapshot: Sendable, Hashable {
    /// The whole answer, verbatim.
    package var document: ByteBuffer
    package var job: JobDocument

    package var status: JobStatus { job.jobStatus.status }

    /// `config` of the submission, verbatim; `nil` when there was none.
    package var config: VerbatimJSON? {
        let status = TopLevelMembers(document)?["job_status"].flatMap { TopLevelMembers($0) }
        guard let config = status?["config"], config.readableBytes > 0, String(buffer: config) != "null" else {
            return nil
        }
        return VerbatimJSON(Array(config.readableBytesView))
    }
}

/// Whose lines of a job's log are read.
package struct JobLogSelection: Sendable, Hashable {
    package var job: RequestID
    /// `nil` for all workers.
    package var worker: Int?
    /// `nil` for all attempts.
    package var attempt: Int?

    package init(job: RequestID, worker: Int? = nil, attempt: Int? = nil) {
        self.job = job
        self.worker = worker
        self.attempt = attempt
    }

    var query: [(String, String)] {
        var query = [("jobID", job.description)]
        if let worker { query.append(("worker", "\(worker)")) }
        if let attempt { query.append(("attempt", "\(attempt)")) }
        return query
    }
}

/// The place up to which results were read: a cursor of the platform, and the bytes that were read behind it.
///
/// What was sent once is a prefix of what is sent later (contract B8), so a read that was interrupted is repeated from
/// the cursor and its first bytes are skipped.
private struct ResultsReader {
    let path: String
    let onlyFailed: Bool
    private var cursor: String?
    private var received = 0

    init(path: String, onlyFailed: Bool) {
        self.path = path
        self.onlyFailed = onlyFailed
    }

    mutating func read(
        _ client: OperatorClient, follow: Bool, _ receive: (ByteBuffer) async throws -> Void
    ) async throws {
        var query: [(String, String)] = []
        if let cursor { query.append(("after", cursor)) }
        if onlyFailed { query.append(("status", "failed")) }
        if follow { query.append(("follow", "true")) }
        var request = client.request("GET", path, query: query)
        request.headers.replaceOrAdd(name: "Accept", value: "application/jsonl")
        let response = try await client.open(request)
        var skipped = 0
        try await response.forEachPart { part in
            var part = part
            let known = min(part.readableBytes, received - skipped)
            part.moveReaderIndex(forwardBy: known)
            skipped += known
            guard part.readableBytes > 0 else { return }
            try await receive(part)
            received += part.readableBytes
            skipped += part.readableBytes
        }
        // An answer without the header is repeated from the same cursor the next time.
        if !follow, let next = response.headers.first(name: "X-Cortex-Next") { (cursor, received) = (next, 0) }
    }
}

extension OperatorClient {
    /// Sends a request whose answer is read part by part.
    func open(_ request: HTTPClientRequest) async throws -> CallResponse {
        let peer = peer
        let response = try await transport.open(request, timeout: Self.readTimeout, peer: peer)
        guard (200..<300).contains(response.status.code) else {
            throw peer.error(for: try await Reply(response, limit: Self.answerLimit, peer: peer))
        }
        return CallResponse(response, peer: peer)
    }
}
