import Core
import Dispatch
import GRDB
import Support
import Synchronization

/// The only writer. Work that arrives while a transaction is synced is collected and committed together in the next
/// one; each caller is answered after its own commit (architecture decision 2).
///
/// A work closure may run twice: when another item of its batch fails unexpectedly, the batch is rolled back and its
/// items run again one by one, so that only the caller of the failed item gets the error.
final class Committer: Sendable {
    /// Items of one transaction; more wait for the next one, so that the first of many callers does not wait for the
    /// last.
    static let batchLimit = 1024

    typealias Work<Value> = @Sendable (inout WriteTransaction) throws -> Value

    private struct Item: Sendable {
        let isDurable: Bool
        /// Does the work and returns a closure that answers the caller after the commit.
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
        /// A sync of the log failed. The system reports that once and may drop the unwritten data, so nothing is
        /// durable before the log was written into the database and emptied.
        var mustEmptyLog = false
        var transactions = 0
        /// Rows were deleted since the log was last emptied.
        var holdsErasedBytes = false
    }

    private let pool: DatabasePool
    private let durability: SQLiteStore.Durability
    private let hints: StoreHints
    private let files: BodyFiles
    private let queue = DispatchQueue(label: "cortex.store.writer", qos: .userInitiated)
    private let pending = Mutex(Pending())
    private let committed: Mutex<Committed>
    /// Whether the writer's `synchronous` is FULL now; used only on the writer's thread.
    private let isFull: Mutex<Bool>
    /// Prepared by the first transaction; used only on the writer's thread.
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

    /// The state after the last commit.
    var state: StoreState { committed.withLock { $0.state } }

    /// Whether a commit that was answered as failed might still reappear after a crash. Until then the files that it
    /// names must stay.
    var isUncertain: Bool { committed.withLock { $0.isUncertain } }

    /// Whether the log or the database's old pages may still contain deleted bytes.
    var holdsErasedBytes: Bool {
        get { committed.withLock { $0.holdsErasedBytes } }
        set { committed.withLock { $0.holdsErasedBytes = newValue } }
    }

    /// The number of transactions that were committed since the store was opened.
    var transactions: Int { committed.withLock { $0.transactions } }

    /// The number of items that wait for a transaction.
    var waiting: Int { pending.withLock { $0.items.count } }

    /// Commits `work` together with the other waiting work.
    ///
    /// - Parameter durable: `false` for work that may be lost in a power cut, such as a lease: a batch of only such
    ///   items is not synced.
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

    /// Commits the waiting work; later work is refused.
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

    /// Commits one batch, then lets other work use the queue before the next one.
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
            files.remove(transaction.orphanedFiles, isSynced: transaction.isSynced)
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

    /// Before a caller gets the refusal: empties the log, so that a crash cannot restore the refused work.
    private func settle(_ failure: StoreFailure) {
        committed.withLock { committed in
            committed.isUncertain = true
            if failure.isSync { committed.mustEmptyLog = true }
        }
        do {
            try pool.writeWithoutTransaction(emptyLog)
        } catch {
            // The disk accepts no write now. The next commit, or the next call of the upkeep, tries again.
        }
    }

    /// Writes the log into the database and truncates it. On the writer's thread.
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
                try transaction.writeJobCounts()
                return .commit
            }
            return (answers, Commit(transaction, isSynced: isSynced || durability == .normal))
        }
    }

    /// The state that survives a transaction.
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
