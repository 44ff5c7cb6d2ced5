import Core
import Dispatch
import GRDB
import Support
import Synchronization

/// The one writer. What callers hand in while a transaction is being synced is gathered and committed together by the
/// next one; each caller is answered after its own commit (architecture decision 2).
///
/// A work closure may run twice: when another one of its batch fails unexpectedly, the batch is rolled back and its
/// items run again one by one, so that the failure is its owner's alone.
final class Committer: Sendable {
    /// Items of one transaction; more wait for the next, so that the first of a crowd need not wait for the last.
    static let batchLimit = 1024

    typealias Work<Value> = @Sendable (inout WriteTransaction) throws -> Value

    private struct Item: Sendable {
        let isDurable: Bool
        /// Does the work and returns what answers the caller once it is committed.
        let run: @Sendable (inout WriteTransaction) throws -> @Sendable () -> Void
        let fail: @Sendable (PlatformError) -> Void
    }

    private enum Next { case nothing, drain, refuse }

    private struct Pending {
        var items: [Item] = []
        var isDraining = false
        var isClosed = false
    }

    private struct Committed {
        var state: StoreState
        /// The last commit failed on the disk: until one succeeds, its log frames might still be found after a crash.
        var isUncertain = false
        /// A sync of the log failed. The system says so once and may forget what it could not write, so nothing counts
        /// as durable before the log was emptied into the database.
        var mustEmptyLog = false
        var transactions = 0
        /// Something was deleted since the log was last emptied.
        var holdsErasedBytes = false
    }

    private let pool: DatabasePool
    private let durability: SQLiteStore.Durability
    private let hints: StoreHints
    private let files: BodyFiles
    private let queue = DispatchQueue(label: "cortex.store.writer", qos: .userInitiated)
    private let pending = Mutex(Pending())
    private let committed: Mutex<Committed>
    /// Whether the writer's `synchronous` is FULL now; only the writer's thread looks.
    private let isFull: Mutex<Bool>
    /// Prepared by the first transaction; only the writer's thread looks.
    private let hotPath = Mutex<HotPathStatements?>(nil)

    init(
        pool: DatabasePool, durability: SQLiteStore.Durability, state: StoreState, hints: StoreHints, files: BodyFiles
    ) {
        self.pool = pool
        self.durability = durability
        self.hints = hints
        self.files = files
        self.committed = Mutex(Committed(state: state))
        self.isFull = Mutex(durability == .full)
    }

    /// What the last commit left.
    var state: StoreState { committed.withLock { $0.state } }

    /// Whether a commit that was answered as failed might still come back after a crash. Files it names must stay until
    /// then.
    var isUncertain: Bool { committed.withLock { $0.isUncertain } }

    /// Whether the log or the database's old pages may still hold bytes that were deleted.
    var holdsErasedBytes: Bool {
        get { committed.withLock { $0.holdsErasedBytes } }
        set { committed.withLock { $0.holdsErasedBytes = newValue } }
    }

    /// How many transactions were committed since the store was opened.
    var transactions: Int { committed.withLock { $0.transactions } }

    /// How many items wait for a transaction.
    var waiting: Int { pending.withLock { $0.items.count } }

    /// Commits `work` together with whatever else is waiting.
    ///
    /// - Parameter durable: `false` for what may be lost in a power cut, such as a lease: a batch of only such items is
    ///   not synced.
    /// - Throws: ``PlatformError``; then nothing of `work` was kept.
    nonisolated(nonsending) func perform<Value: Sendable>(durable: Bool = true, _ work: @escaping Work<Value>)
        async throws -> Value
    {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Value, any Error>) in
            let item = Item(
                isDurable: durable,
                run: { transaction in
                    let value = try work(&transaction)
                    return { continuation.resume(returning: value) }
                },
                fail: { continuation.resume(throwing: $0) })
            let next = pending.withLock { pending -> Next in
                guard !pending.isClosed else { return .refuse }
                pending.items.append(item)
                guard !pending.isDraining else { return .nothing }
                pending.isDraining = true
                return .drain
            }
            switch next {
            case .nothing: break
            case .drain: queue.async { self.drain() }
            case .refuse: item.fail(Self.closed)
            }
        }
    }

    /// Runs blocking work between two transactions, on the writer's thread.
    func onWriterThread<Value: Sendable>(
        _ work: @escaping @Sendable (DatabasePool) throws -> Value
    ) async throws -> Value {
        try await queue.run { [pool] in try work(pool) }
    }

    /// Commits what is waiting; everything later is refused.
    func close() async {
        pending.withLock { $0.isClosed = true }
        // Batches are dispatched one after the other, so more than one pass may be needed.
        while true {
            await withCheckedContinuation { continuation in queue.async { continuation.resume() } }
            if pending.withLock({ !$0.isDraining }) { break }
        }
        // A connection with statements cannot be closed.
        await withCheckedContinuation { continuation in
            queue.async { [self] in
                hotPath.withLock { $0 = nil }
                continuation.resume()
            }
        }
    }

    static let closed = PlatformError(
        .storeUnavailable, "The server is shutting down: nothing was accepted. Try again in a moment.")

    // MARK: On the writer's thread

    /// Commits one batch, then lets others onto the queue before the next.
    private func drain() {
        let batch = pending.withLock { pending -> [Item] in
            guard pending.items.count > Self.batchLimit else {
                defer { pending.items = [] }
                return pending.items
            }
            defer { pending.items.removeFirst(Self.batchLimit) }
            return Array(pending.items.prefix(Self.batchLimit))
        }
        commit(batch)
        let isDone = pending.withLock { pending in
            pending.isDraining = !pending.items.isEmpty
            return pending.items.isEmpty
        }
        if !isDone { queue.async { self.drain() } }
    }

    private func commit(_ batch: [Item]) {
        do {
            if committed.withLock({ $0.mustEmptyLog }) { try pool.writeWithoutTransaction(emptyLog) }
            let (answers, transaction) = try transact(batch)
            committed.withLock { committed in
                committed.state = transaction.state
                committed.transactions += 1
                if transaction.isSynced { committed.isUncertain = false }
                if transaction.erasesBytes { committed.holdsErasedBytes = true }
            }
            files.remove(transaction.orphanedFiles)
            for answer in answers { answer() }
            hints.publish(transaction.changes)
        } catch {
            let failure = StoreFailure(error)
            if failure.concernsEveryWrite { settle(failure) }
            if batch.count == 1 || failure.concernsEveryWrite {
                for item in batch { item.fail(failure.platformError) }
            } else {
                for item in batch { commit([item]) }
            }
        }
    }

    /// Before anyone hears that their work was refused: empties the log, so that a crash cannot bring it back.
    private func settle(_ failure: StoreFailure) {
        committed.withLock { committed in
            committed.isUncertain = true
            if failure.isSync { committed.mustEmptyLog = true }
        }
        do {
            try pool.writeWithoutTransaction(emptyLog)
        } catch {
            // The disk takes nothing at all now. The next commit, or the next call of the upkeep, tries again.
        }
    }

    /// Folds the log into the database and cuts it to nothing. On the writer's thread.
    func emptyLog(_ db: Database) throws {
        do {
            _ = try db.checkpoint(.truncate)
        } catch {
            if StoreFailure(error).isSync { committed.withLock { $0.mustEmptyLog = true } }
            throw error
        }
        committed.withLock { committed in
            committed.isUncertain = false
            committed.mustEmptyLog = false
        }
    }

    private func transact(_ batch: [Item]) throws -> ([@Sendable () -> Void], Commit) {
        try pool.writeWithoutTransaction { db in
            let isSynced = durability == .full && batch.contains(where: \.isDurable)
            try setSynchronous(db, full: isSynced)
            let hotPath = try hotPath.withLock { hotPath in
                let prepared = try hotPath ?? HotPathStatements(db)
                hotPath = prepared
                return prepared
            }
            var transaction = WriteTransaction(db: db, hotPath: hotPath, state: state)
            var answers: [@Sendable () -> Void] = []
            answers.reserveCapacity(batch.count)
            try db.inTransaction(.immediate) {
                for item in batch { answers.append(try item.run(&transaction)) }
                return .commit
            }
            return (answers, Commit(transaction, isSynced: isSynced || durability == .normal))
        }
    }

    /// What outlives a transaction.
    private struct Commit {
        let state: StoreState
        let changes: StoreChanges
        let orphanedFiles: [String]
        let erasesBytes: Bool
        let isSynced: Bool

        init(_ transaction: WriteTransaction, isSynced: Bool) {
            self.state = transaction.state
            self.changes = transaction.changes
            self.orphanedFiles = transaction.orphanedFiles
            self.erasesBytes = transaction.erasesBytes
            self.isSynced = isSynced
        }
    }

    private func setSynchronous(_ db: Database, full: Bool) throws {
        guard isFull.withLock({ $0 }) != full else { return }
        try db.execute(sql: full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL")
        isFull.withLock { $0 = full }
    }
}
