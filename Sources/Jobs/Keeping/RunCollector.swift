import Core
import Crypto
import Support
import Synchronization

/// Keeps what a run left: its artifacts and its result (contract T6). Logs are kept by ``JobRecorder``.
struct RunCollector: Sendable {
    let store: any Store
    let runner: any JobRunner

    /// What is in the store and belongs to no job yet.
    struct Left: Sendable {
        var files: [JobFile] = []
        fileprivate var writers: [any BodyWriter] = []
    }

    /// Copies everything into the store. The caller saves the files, or calls ``discard(_:)``.
    func collect(_ run: JobRun, _ specification: TaskSpecification) async throws -> Left {
        let left = Mutex(Left())
        do {
            // A pod that vanished has no folder any more.
            if let path = try await runner.artifactsFolder(run: run.pod) {
                try await collectArtifacts(ArtifactFolder(path: path), run, specification, into: left)
            }
        } catch {
            await discard(left.withLock { $0 })
            throw error
        }
        return left.withLock { $0 }
    }

    func discard(_ left: Left) async {
        for writer in left.writers { await writer.discard() }
    }

    // MARK: Artifacts

    private func collectArtifacts(
        _ folder: ArtifactFolder, _ run: JobRun, _ specification: TaskSpecification, into left: borrowing Mutex<Left>
    ) async throws {
        let taken = Mutex<[(path: String, body: Body, digest: [UInt8], writer: any BodyWriter)]>([])
        let omitted = try await folder.copy(limit: specification.maxArtifacts) { path, content in
            guard path != ArtifactFolder.progressName else { return }
            let writer = try await store.makeBodyWriter()
            var hash = SHA256()
            do {
                while let piece = try await content.read(upTo: Limits.bodyPiece) {
                    hash.update(data: piece)
                    try await writer.write(piece)
                }
                let body = try await writer.finish()
                let digest = Array(hash.finalize())
                taken.withLock { $0.append((path, body, digest, writer)) }
            } catch {
                await writer.discard()
                throw error
            }
        }
        let files = taken.withLock { $0 }
        var result: [UInt8]?
        if let file = files.first(where: { $0.path == "result.json" }),
            file.body.size <= specification.jobs.maxResult
        {
            result = try await json(file.body)
        }
        left.withLock { left in
            for file in files {
                left.writers.append(file.writer)
                left.files.append(
                    JobFile(
                        kind: .artifact, worker: run.worker, attempt: run.attempt, path: file.path,
                        content: .kept(file.body, digest: file.digest)))
            }
            for file in omitted {
                left.files.append(
                    JobFile(
                        kind: .artifact, worker: run.worker, attempt: run.attempt, path: file.path,
                        content: .omitted(reason: file.reason)))
            }
        }
        guard let result else { return }
        let writer = try await store.makeBodyWriter()
        try await writer.write(result)
        let body = try await writer.finish()
        left.withLock { left in
            left.writers.append(writer)
            left.files.append(
                JobFile(
                    kind: .result, worker: run.worker, attempt: run.attempt, path: "result.json",
                    content: .kept(body, digest: [])))
        }
    }

    /// The bytes of a body that is one JSON text; `nil` for another one.
    private func json(_ body: Body) async throws -> [UInt8]? {
        var validator = JSONValidator()
        var bytes: [UInt8] = []
        let reader = try await store.reader(of: body)
        do {
            while let piece = try await reader.read(upTo: Limits.bodyPiece) {
                guard validator.consume(piece) else {
                    await reader.close()
                    return nil
                }
                bytes += piece
            }
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
        return validator.finish() ? Array(JSONText.trimmed(bytes)) : nil
    }
}

/// Keeps the end of a log whose length is not known: two bodies in turn, of which the older one is dropped when the
/// newer one is full. At least ``limit`` remain, at most twice as many.
actor LogKeeper {
    /// The last bytes of a container's log that are kept (contract J12).
    static let limit: Int64 = 32 << 20

    private let store: any Store
    private var older: (writer: any BodyWriter, body: Body)?
    private var newer: (any BodyWriter)?
    private var size: Int64 = 0

    init(store: any Store) { self.store = store }

    func append(_ lines: [UInt8]) async throws {
        guard !lines.isEmpty else { return }
        if size >= Self.limit, let newer {
            await older?.writer.discard()
            older = (newer, try await newer.finish())
            self.newer = nil
            size = 0
        }
        let writer = if let newer { newer } else { try await store.makeBodyWriter() }
        newer = writer
        try await writer.write(lines)
        size += Int64(lines.count)
    }

    /// The last ``limit`` of the log, from a line's beginning; `nil` when nothing was written.
    func finish() async throws -> (body: Body, writer: any BodyWriter)? {
        guard let newer else { return nil }
        guard let older else { return (try await newer.finish(), newer) }
        let body = try await newer.finish()
        self.newer = nil
        let joined = try await store.makeBodyWriter()
        do {
            var skipped = max(0, older.body.size + body.size - Self.limit)
            try await copy(older.body, to: joined, skipping: &skipped)
            try await copy(body, to: joined, skipping: &skipped)
            let whole = try await joined.finish()
            await older.writer.discard()
            await newer.discard()
            self.older = nil
            return (whole, joined)
        } catch {
            await joined.discard()
            throw error
        }
    }

    func discard() async {
        await older?.writer.discard()
        await newer?.discard()
        older = nil
        newer = nil
    }

    private func copy(_ body: Body, to writer: any BodyWriter, skipping skipped: inout Int64) async throws {
        let reader = try await store.reader(of: body)
        do {
            while var piece = try await reader.read(upTo: Limits.bodyPiece) {
                if skipped > 0 {
                    let dropped = Int(min(skipped, Int64(piece.count)))
                    skipped -= Int64(dropped)
                    piece.removeFirst(dropped)
                    if skipped == 0, dropped > 0, let end = piece.firstIndex(of: UInt8(ascii: "\n")) {
                        piece.removeFirst(end + 1)
                    }
                }
                if !piece.isEmpty { try await writer.write(piece) }
            }
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
    }
}
