import Core
import Crypto
import Support

/// Makes a new job of the work of an ended one that did not succeed (contract B10, T3).
struct JobRetry {
    /// The items that a retry of a Batch job takes.
    enum Choice: String, CaseIterable {
        case failed
        /// Those that were cancelled.
        case unfinished
    }

    private let old: Job
    private var workers: Int?
    private var choice: Choice?
    private let idempotency: Submission.Idempotency?

    /// - Parameters:
    ///   - bytes: the caller's JSON object; may be empty.
    ///   - key: the caller's idempotency key (contract J2): a retry is the same if job and bytes are.
    /// - Throws: `bad_request`; `conflict` when the job is open.
    init(_ bytes: [UInt8], of old: Job, key: String?) throws {
        self.old = old
        self.idempotency = key.map {
            // The input of another submission's digest begins with a number of 8 bytes, so the digests differ.
            var hash = SHA256()
            hash.update(data: Array("retry of \(old.id)\n".utf8))
            hash.update(data: bytes)
            return Submission.Idempotency(key: $0, fingerprint: Array(hash.finalize()))
        }
        guard !old.status.isOpen else {
            throw PlatformError(.conflict, "the job has not ended yet. Stop it, or retry it when it has ended")
        }
        guard !bytes.isEmpty else { return }
        let text = JSONSlices(bytes)
        guard JSONValidator.problem(in: bytes) == nil, let members = text.members(of: text.whole) else {
            throw PlatformError(.badRequest, #"the body must be a JSON object, such as {"workers": 4}, or empty"#)
        }
        for (name, value) in members where !text.isNull(value) {
            switch (name, old.kind) {
            case ("workers", .batch):
                guard let count = text.integer(value), count >= 1 else {
                    throw PlatformError(.badRequest, "workers: must be an integer of at least 1")
                }
                workers = count
            case ("only", .batch):
                guard let choice = text.string(value).flatMap(Choice.init) else {
                    throw PlatformError(.badRequest, "only: must be failed or unfinished")
                }
                self.choice = choice
            default: break
            }
        }
    }

    /// - Throws: `conflict` when nothing is left to do, or its items are no longer kept.
    func submit(to api: DeployedAPI, by submitter: JobSubmitter) async throws -> Job {
        var submission = old.submission
        submission.retryOf = old.id
        submission.schedule = nil
        submission.idempotency = idempotency
        submission.ignoredFields = []
        switch submission.work {
        case .batch(var work):
            submission.workers = workers ?? submission.workers
            work.files = nil
            submission.work = .batch(work)
            return try await submitItems(submission, size: work.batchSize, to: api, by: submitter)
        case .task(var work):
            let runs = try await submitter.services.store.runs(of: old.id, limit: .max)
            let succeeded = Set(runs.filter { $0.status == .succeeded }.map(\.worker))
            let left = (work.indexes ?? Array(0..<submission.workers)).filter { !succeeded.contains($0) }
            guard !left.isEmpty else {
                throw PlatformError(.conflict, "every worker of the job has succeeded; there is nothing to retry")
            }
            work.indexes = left
            submission.work = .task(work)
            return try await submitter.create(submission, of: api, items: [])
        }
    }

    private func submitItems(
        _ submission: JobSubmission, size: Int, to api: DeployedAPI, by submitter: JobSubmitter
    ) async throws -> Job {
        let store = submitter.services.store
        let clock = submitter.services.clock
        let states: Set<StoredBatch.State> =
            switch choice {
            case nil: [.failed, .cancelled]
            case .failed: [.failed]
            case .unfinished: [.cancelled]
            }
        let job = submitter.makeJob(submission, of: api)
        var builder = submitter.builder(for: job, size: size)
        return try await submitter.fill(&builder, job) { builder in
            var last: Int64?
            var count = 0
            while true {
                let batches = try await store.batches(
                    of: old.id, in: states, after: last, limit: 100, now: clock.now())
                guard let end = batches.last else { break }
                for stored in batches {
                    guard stored.isKept else {
                        throw PlatformError(
                            .conflict,
                            "items of this job are not kept any more (`keep_failed`). Submit them again")
                    }
                    count += try await add(stored.batch, to: &builder, from: store)
                }
                last = end.batch.index
            }
            guard count > 0 else {
                throw PlatformError(.conflict, "the job has no such items; there is nothing to retry")
            }
        }
    }

    private func add(_ batch: Batch, to builder: inout BatchBuilder, from store: any Store) async throws -> Int {
        var bytes: [UInt8] = []
        switch batch.body {
        case .inline(let inline): bytes = inline
        case .stored(_, let size):
            bytes.reserveCapacity(Int(size))
            let reader = try await store.reader(of: batch.body)
            do {
                while let piece = try await reader.read(upTo: Limits.bodyPiece) { bytes += piece }
            } catch {
                await reader.close()
                throw error
            }
            await reader.close()
        }
        let text = JSONSlices(bytes)
        let places = text.elements(of: text.whole) ?? []
        for (place, index) in zip(places, batch.items.indexes) {
            try await builder.add(bytes[place], index: index)
        }
        return places.count
    }
}
