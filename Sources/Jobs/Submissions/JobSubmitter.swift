import Core
import Crypto
import HTTPServing
import NIOCore
import Support

/// Takes submissions: reads, checks and stores them (contract J1, J2, B1, B2, T1).
struct JobSubmitter: Sendable {
    /// The largest submission that is not JSON Lines.
    static let longestJSON = 10 << 20

    let services: JobServices
    let keeper: JobKeeper

    /// What became of a submission.
    enum Result {
        case job(Job)
        /// The text of a dry run.
        case text([UInt8])
    }

    /// `POST <base>`.
    func submit(_ request: IncomingRequest, to api: DeployedAPI, _ body: inout IncomingBody) async throws -> Result {
        guard services.spareDisk() > (body.declaredLength ?? 0) else { throw Self.diskLow }
        let key = try IdempotencyKey.read(request)
        let isDryRun = try request.flag("dryRun")
        if Self.isJSONLines(request), case .batch(let batch) = api.specification.kind {
            return try await submitLines(request, to: api, batch, key: key, isDryRun: isDryRun, &body)
        }
        let bytes = try await json(&body, api)
        let parsed = try SubmissionParser.parse(bytes, for: api.specification.kind.name)
        var submission = parsed.submission
        if case .batch(let work) = submission.work, let files = work.files {
            try await services.files.check(files)
            if isDryRun { return .text(try await dryRun(files)) }
        }
        if isDryRun { return .text(Array("validations passed\n".utf8)) }
        submission.idempotency = key.map {
            var digest = SubmissionDigest(request)
            digest.update(bytes)
            return Submission.Idempotency(key: $0, fingerprint: digest.finish())
        }
        return .job(try await create(submission, of: api, items: parsed.items.map { bytes[$0] }))
    }

    /// Creates a job whose items, if any, are in memory.
    func create(_ submission: JobSubmission, of api: DeployedAPI, items: [ArraySlice<UInt8>]) async throws -> Job {
        var job = makeJob(submission, of: api)
        if case .batch(let work) = submission.work {
            job.isInputComplete = work.files == nil
            var builder = builder(for: job, size: work.batchSize)
            return try await fill(&builder, job) { builder in
                for item in items { try await builder.add(item) }
            }
        }
        return try await accept(
            try await services.store.createJob(job, batches: [], now: services.clock.now()), of: job)
    }

    func makeJob(_ submission: JobSubmission, of api: DeployedAPI) -> Job {
        let now = services.clock.now()
        return Job(id: services.makeID(now), version: api, submission: submission, createdAt: now)
    }

    /// Makes the batches of a new job and creates it; on a failure nothing of it is left.
    func fill(
        _ builder: inout BatchBuilder, _ job: Job, with add: (inout BatchBuilder) async throws -> Void
    ) async throws -> Job {
        let creation: JobCreation
        do {
            let rest: [Batch]
            do {
                try await add(&builder)
                rest = try await builder.finish()
            } catch {
                await builder.discard()
                throw error
            }
            // When this reports a failure, it may have taken effect. The bodies are left then; the next start of the
            // store removes those that belong to no job.
            creation = try await services.store.createJob(job, batches: rest, now: services.clock.now())
        } catch {
            // Also when the caller has left: the task may be cancelled.
            let store = services.store
            try? await Task { try await store.discardStaged(job.id) }.value
            throw error
        }
        if case .created = creation {} else { await builder.discard() }
        return try await accept(creation, of: job)
    }

    func builder(for job: Job, size: Int) -> BatchBuilder {
        let (store, clock) = (services.store, services.clock)
        return BatchBuilder(store: store, job: job.id, size: size) { batches in
            try await store.stage(batches, of: job, now: clock.now())
        }
    }

    private func accept(_ creation: JobCreation, of new: Job) async throws -> Job {
        switch creation {
        case .created(let job):
            await keeper.created(job)
            return job
        case .existing(let job): return job
        case .idempotencyMismatch:
            throw PlatformError(
                .idempotencyMismatch,
                "this Idempotency-Key was used for another submission. Use a new key for a new job")
        case .queueFull:
            let limit = new.version.specification.jobs?.maxQueuedJobs ?? 0
            throw PlatformError(
                .queueFull,
                "as many jobs of this API are pending as max_queued_jobs allows (\(limit)). Submit again when one of them has started"
            )
        case .unknownAPI: throw PlatformError(.notFound, "the API at this path has just been deleted")
        }
    }

    // MARK: JSON Lines

    private func submitLines(
        _ request: IncomingRequest, to api: DeployedAPI, _ batch: BatchSpecification, key: String?, isDryRun: Bool,
        _ body: inout IncomingBody
    ) async throws -> Result {
        let limit = batch.maxPayload
        if let length = body.declaredLength, length > limit { throw Self.tooLarge(limit) }
        var submission = try SubmissionParser.lines(request)
        guard case .batch(let work) = submission.work else {
            throw PlatformError(.internal, "JSON Lines for a job without items")
        }
        var digest = SubmissionDigest(request)
        var job = makeJob(submission, of: api)
        var builder = builder(for: job, size: work.batchSize)
        var lines = JSONLines()
        var count: Int64 = 0
        var size: Int64 = 0
        do {
            while let piece = try await body.next() {
                size += Int64(piece.readableBytes)
                guard size <= limit else { throw Self.tooLarge(limit) }
                guard services.spareDisk() > 0 else { throw Self.diskLow }
                let bytes = Array(piece.readableBytesView)
                if key != nil { digest.update(bytes) }
                try await lines.consume(bytes) { item in
                    count += 1
                    if !isDryRun { try await builder.add(item) }
                }
                body.release(piece.readableBytes)
            }
            try await lines.finish { item in
                count += 1
                if !isDryRun { try await builder.add(item) }
            }
            guard count > 0 else {
                throw PlatformError(.badRequest, "the body has no item: every line that is not blank is one")
            }
            if isDryRun { return .text(Array("validations passed\n".utf8)) }
            submission.idempotency = key.map { Submission.Idempotency(key: $0, fingerprint: digest.finish()) }
            job = Job(id: job.id, version: api, submission: submission, createdAt: job.createdAt)
        } catch {
            await builder.discard()
            let store = services.store
            try? await Task { try await store.discardStaged(job.id) }.value
            throw error
        }
        return .job(try await fill(&builder, job) { _ in })
    }

    private static func isJSONLines(_ request: IncomingRequest) -> Bool {
        request.values("content-type").contains { value in
            let type = HeaderValue.trimmed(String(value.prefix { $0 != ";" })).lowercased()
            return type == "application/jsonl" || type == "application/x-ndjson"
        }
    }

    // MARK: JSON

    private func json(_ body: inout IncomingBody, _ api: DeployedAPI) async throws -> [UInt8] {
        let isBatch = api.specification.kind.name == .batch
        let advice =
            isBatch ? ". Send more items as JSON Lines: one a line, with Content-Type: application/jsonl" : ""
        let tooLarge = PlatformError(
            .payloadTooLarge, "a submission has at most \(Self.longestJSON >> 20) MiB\(advice)")
        if let length = body.declaredLength, length > Int64(Self.longestJSON) { throw tooLarge }
        var bytes: [UInt8] = []
        while let piece = try await body.next() {
            guard bytes.count + piece.readableBytes <= Self.longestJSON else { throw tooLarge }
            bytes.append(contentsOf: piece.readableBytesView)
        }
        // The original's check that an endpoint is live.
        guard !bytes.isEmpty else {
            throw PlatformError(.badRequest, "the body is empty; a submission is a JSON object")
        }
        return bytes
    }

    private func dryRun(_ files: JobSubmission.FileInput) async throws -> [UInt8] {
        var text: [UInt8] = []
        try await services.files.urls(of: files) { text += Array("\($0)\n".utf8) }
        return text + Array("validations passed\n".utf8)
    }

    static let diskLow = PlatformError(
        .diskLow, "the platform's disk is nearly full, and nothing was accepted. Submit again when there is space")

    private static func tooLarge(_ limit: Int64) -> PlatformError {
        PlatformError(
            .payloadTooLarge,
            "the body has more than the \(limit) bytes that this API takes. Raise max_payload in cortex.yaml, or submit several jobs"
        )
    }
}

/// A digest of a submission: those with the same digest are the same (contract J2). How the caller waits is no part of
/// it.
private struct SubmissionDigest {
    private var hash = SHA256()

    init(_ request: IncomingRequest) {
        let types = request.values("content-type")
        add("\(types.count)")
        for type in types { add(type) }
        add(WaitPreference.removed(from: request.query) ?? "")
    }

    mutating func update(_ bytes: [UInt8]) { hash.update(data: bytes) }

    func finish() -> [UInt8] { Array(hash.finalize()) }

    private mutating func add(_ text: String) {
        withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { hash.update(bufferPointer: $0) }
        hash.update(data: Array(text.utf8))
    }
}
