import Core
import Foundation

/// Makes the batches of a job from the files of its input, and goes on where it was after a crash (contract B4).
struct Enqueuer: Sendable {
    let store: any Store
    let clock: any PlatformClock
    let files: FileInputs

    /// How far a job's input was listed. It is stored with the batches that it made.
    private struct Cursor: Codable {
        var place = FileInputs.Place()
        /// The file whose values are being read, and the byte behind the last of them that is in a batch.
        var url: String?
        var version: String?
        var offset: Int64 = 0
        var nextBatch: Int64 = 0
        var nextItem: Int64 = 0
    }

    /// Makes batches until the input is complete. A file that is missing, unreadable or malformed stops the job.
    ///
    /// - Throws: ``PlatformError`` for what may work later; `CancellationError`.
    func list(_ job: Job) async throws {
        guard case .batch(let work) = job.submission.work, let input = work.files else { return }
        do {
            try await list(job, input, size: work.batchSize)
        } catch let failure as InputFailure {
            let stop = JobStop(status: .enqueueFailed, reason: "the input cannot be read: \(failure.text)")
            _ = try await store.stop(job.id, stop, now: clock.now())
        }
    }

    private func list(_ job: Job, _ input: JobSubmission.FileInput, size: Int) async throws {
        let start = try job.cursor.map { try JSONDecoder().decode(Cursor.self, from: Data($0)) } ?? Cursor()
        /// Behind the last item that was added.
        var cursor = start
        var builder = BatchBuilder(
            store: store, job: job.id, size: size, nextBatch: start.nextBatch, nextItem: start.nextItem)
        do {
            var isResumed = start.url == nil
            // A file that was being read is not behind its own place: it comes first.
            try await files.each(of: input, from: start.place) { object, place in
                switch input.use {
                case .paths:
                    cursor.place = place
                    try await builder.add(Array(JSONText.quoted(object.url).utf8))
                    try await store(&builder, job, cursor)
                case .contents:
                    var offset: Int64 = 0
                    if !isResumed, let url = start.url {
                        // A file that was added in front of it since then came too late.
                        if object.url.utf8.lexicographicallyPrecedes(url.utf8) { return }
                        isResumed = true
                        guard object.url == url, object.version == start.version else {
                            throw InputFailure(
                                url: url, offset: start.offset,
                                reason: "the file was changed or removed while its values were being read")
                        }
                        offset = start.offset
                    }
                    try await read(object, from: offset) { value, end in
                        cursor.url = object.url
                        cursor.version = object.version
                        cursor.offset = end
                        try await builder.add(value)
                        try await store(&builder, job, cursor)
                    }
                    cursor.place = place
                    cursor.url = nil
                }
            }
            _ = try await builder.finish()
            cursor.nextBatch = builder.nextBatch
            cursor.nextItem = builder.nextItem
            guard builder.nextBatch > 0 else {
                throw InputFailure(url: input.paths.joined(separator: ", "), reason: "there is no item in any file")
            }
            let text = try encode(cursor)
            try await builder.handOverPortion(always: true) { rest in
                _ = try await store.append(rest, to: job.id, cursor: text, isLast: true, now: clock.now())
            }
        } catch {
            await builder.discard()
            throw error
        }
    }

    /// Stores the portion of batches that is complete, with the place behind its last item.
    private func store(_ builder: inout BatchBuilder, _ job: Job, _ cursor: Cursor) async throws {
        guard builder.isPortionFull, builder.pending == 0 else { return }
        var cursor = cursor
        cursor.nextBatch = builder.nextBatch
        cursor.nextItem = builder.nextItem
        let text = try encode(cursor)
        try await builder.handOverPortion { batches in
            guard try await store.append(batches, to: job.id, cursor: text, isLast: false, now: clock.now()) != nil
            else { throw CancellationError() }
        }
    }

    private func read(
        _ object: StoredObject, from offset: Int64, _ take: ([UInt8], Int64) async throws -> Void
    ) async throws {
        var values = JSONSequence(at: offset)
        do {
            try await files.read(object, from: offset) { try await values.consume($0, take) }
            try await values.finish(take)
        } catch let problem as JSONSequence.Problem {
            throw InputFailure(url: object.url, offset: problem.offset, reason: problem.reason)
        }
    }

    private func encode(_ cursor: Cursor) throws -> [UInt8] { Array(try JSONEncoder().encode(cursor)) }
}
