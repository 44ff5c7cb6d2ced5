package import Core
import Dispatch
import Foundation
import GRDB
package import Logging
import Support
import Synchronization

/// The store of a single machine: SQLite with one writer and group commit, and files beside it for large bodies.
///
/// One instance per data directory, which a lock of the operating system ensures; it ends with the process. May be used
/// from any task; blocking calls run on the store's own threads.
package final class SQLiteStore: Store {
    /// What a commit waits for before its callers are answered.
    package enum Durability: String, Sendable, CaseIterable {
        /// The disk: survives a power cut.
        case full
        /// The operating system: survives a kill of the process; a power cut may lose the last moments, but no part of
        /// a request.
        case normal
    }

    /// The folder of the store, and how it writes.
    package struct Configuration: Sendable {
        /// The folder of the store, created if missing. Nothing else may write into it.
        package var directory: String
        package var durability: Durability
        /// Beyond this number of pages of 4 KiB a write is answered with `store_unavailable`; `nil`: the size of the
        /// disk.
        package var maxPages: Int?

        package init(directory: String, durability: Durability = .full, maxPages: Int? = nil) {
            self.directory = directory
            self.durability = durability
            self.maxPages = maxPages
        }
    }

    package static let name: String = "sqlite"
    package var name: String { Self.name }

    let pool: DatabasePool
    let committer: Committer
    let files: BodyFiles
    let hints: StoreHints
    let logger: Logger
    private let reader: RequestReader
    private let lock: DirectoryLock
    private let isOpen = Atomic(true)
    let erasure = Mutex(ErasureClock())
    /// The process that beat last.
    let process = Mutex<String?>(nil)
    /// Erases the requests of deleted APIs in the background.
    let deletions = Mutex<Task<Void, Never>?>(nil)

    /// Opens the store: creates or migrates its files if needed, and removes what a crash left behind.
    ///
    /// Leases of an earlier process stay afterwards, until `beat(process:now:)` releases them.
    ///
    /// - Throws: ``PlatformError`` `setup` (directory in use, not writable, full) or `store_corrupt` (damaged, foreign,
    ///   of a newer version); the files are not changed.
    package static func open(
        configuration: Configuration, now: Timestamp, logger: Logger
    ) async throws -> SQLiteStore {
        let queue = DispatchQueue(label: "cortex.store.open")
        let store = try await queue.run {
            do {
                return try SQLiteStore(configuration, now: now, logger: logger)
            } catch {
                throw StoreFailure(error).whileOpening
            }
        }
        do {
            try await store.finishDeletions(now: now)
        } catch {
            try? await store.close()
            // An error of a running store; here the store is only being opened.
            guard let cause = (error as? PlatformError)?.cause else { throw error }
            throw StoreFailure(cause).whileOpening
        }
        return store
    }

    private init(_ configuration: Configuration, now: Timestamp, logger: Logger) throws {
        let directory = try DataDirectory(configuration.directory)
        self.lock = try DirectoryLock(directory)
        self.pool = try DatabaseFile(directory).open(configuration, logger: logger)
        try pool.writeWithoutTransaction { try Self.dropStaged($0) }
        let state = try pool.read { try StoreState(loading: $0) }
        let named = try pool.read { try NamedBodies($0) }
        self.files = try BodyFiles(
            directory, named: named, commitsAreSynced: configuration.durability == .full, now: now,
            logger: logger)
        self.hints = StoreHints()
        self.committer = Committer(
            pool: pool, durability: configuration.durability, state: state, hints: hints, files: files)
        self.reader = RequestReader(pool: pool)
        self.logger = logger
    }

    /// Finishes the operations under way, refuses later ones, and releases the directory for the next instance. A
    /// second call does nothing.
    ///
    /// - Throws: ``PlatformError`` `store_unavailable` if the log could not be written into the database; nothing is
    ///   lost in that case either.
    package func close() async throws {
        guard isOpen.exchange(false, ordering: .relaxed) else { return }
        await stopDeletions()
        await committer.close()
        hints.finish()
        await files.drain()
        do {
            try await committer.onWriterThread { pool in
                let folded = Result { try pool.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) } }
                // The files are released in both cases.
                try pool.close()
                try folded.get()
            }
        } catch {
            lock.release()
            throw StoreFailure(error).platformError
        }
        lock.release()
    }

    package func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> { hints.stream(kinds) }

    /// Runs a read on a snapshot, off the cooperative pool; never waits for the writer.
    func reading<Value: Sendable>(_ work: @escaping @Sendable (Database) throws -> Value) async throws -> Value {
        guard isOpen.load(ordering: .relaxed) else { throw Committer.closed }
        do {
            return try await pool.read(work)
        } catch let error as CancellationError {
            throw error
        } catch {
            throw StoreFailure(error).platformError
        }
    }
}

extension DispatchQueue {
    /// Runs blocking work on this queue while the calling task is suspended.
    func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            async { continuation.resume(with: Result(catching: work)) }
        }
    }
}

extension SQLiteStore {
    package func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        guard let number = committer.state.queueNumber(api) else { return nil }
        guard isOpen.load(ordering: .relaxed) else { throw Committer.closed }
        do {
            // On a snapshot that it may share with other reads.
            return try await reader.read(id, api: api, number: number, now: now)
        } catch {
            throw StoreFailure(error).platformError
        }
    }

    package func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] {
        let limit = min(max(filter.limit, 0), Limits.listPage)
        guard limit > 0, let stored = committer.state.deployed(api) else { return [] }
        let before = filter.before?.data ?? Data(repeating: 0xFF, count: 17)
        let sources = Self.sources(for: filter.status)
        return try await reading { db in
            var records: [RequestRecord] = []
            for source in sources {
                let statement = try db.cachedStatement(
                    sql: """
                        SELECT r.id, r.state, r.attempts, r.submitted_at, r.ended_at, a.head
                        FROM (SELECT * FROM request \(source)
                            AND api = ? AND id < ? AND (purge_at IS NULL OR purge_at > ?) ORDER BY id DESC LIMIT ?) r
                        LEFT JOIN answer a ON a.number = r.answer ORDER BY r.id DESC
                        """)
                let rows = try Row.fetchCursor(
                    statement, arguments: [stored.number, before, now.microseconds, limit])
                while let row = try rows.next() { records.append(try RequestRecord(row, api: api)) }
            }
            guard sources.count > 1 else { return records }
            return Array(records.sorted { $0.id > $1.id }.prefix(limit))
        }
    }

    package func counts() async throws -> [String: QueueCounts] {
        let state = committer.state
        return state.apis.filter(\.value.isDeployed).mapValues { state.counts[$0.number, default: QueueCounts()] }
    }

    /// The index for the rows of each status, which contains only these; completed requests need none, because most
    /// requests are completed.
    private static func sources(for status: RequestStatus?) -> [String] {
        switch status {
        case nil: ["WHERE true"]
        case .inQueue:
            ["INDEXED BY request_queue WHERE state = 0", "INDEXED BY request_waiting WHERE state = 5"]
        case .inProgress: ["INDEXED BY request_leased WHERE state = 1"]
        case .completed: ["WHERE state = 2"]
        case .failed: ["INDEXED BY request_failed WHERE state = 3"]
        case .cancelled: ["INDEXED BY request_cancelled WHERE state = 4"]
        }
    }
}

extension RequestRecord {
    /// Reads id, state, attempts, submitted_at, ended_at and the answer's head.
    init(_ row: Row, api: String) throws {
        let ended: Int64? = row[4]
        let head = try FailureHead(decoding: row[5])
        self.init(
            id: try RequestID(row[0] as Data), api: api, status: try StoredState(reading: row[1]).status,
            attempts: row[2],
            submittedAt: Timestamp(microseconds: row[3]), endedAt: ended.map(Timestamp.init(microseconds:)),
            failure: head.failure, failures: head.failures)
    }
}
