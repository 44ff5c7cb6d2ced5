package import Core

/// The items of a job that have not succeeded, one line for each (contract B8). Used by one task.
///
/// It keeps one page of batches in memory, and of a stored batch one piece.
package struct ItemLines: Sendable {
    /// Which items are wanted.
    package struct Query: Sendable, Hashable {
        package var states: Set<StoredBatch.State>
        /// `nil` begins with the first.
        package var after: ItemCursor?
        /// At most this many items.
        package var limit: Int

        package init(
            states: Set<StoredBatch.State>, after: ItemCursor? = nil, limit: Int = Limits.listPage
        ) {
            self.states = states
            self.after = after
            self.limit = limit
        }
    }

    /// Where the lines end; `nil` when there are none and the query began with the first.
    package let end: ItemCursor?

    private let job: RequestID
    private let query: Query
    private let store: any ResultLines.Store
    private let clock: any PlatformClock
    private var pageSize = PageSize()
    private var batches: [StoredBatch] = []
    private var position = 0
    /// The last batch that was begun.
    private var passed: Int64?
    private var open: Open?
    private var isOver = false

    /// A batch of which not all wanted items were returned.
    private struct Open {
        var batch: StoredBatch
        /// `nil` when the items are not kept.
        var reader: ElementReader?
        /// The wanted items from the end on.
        var indexes: [Int64]
        var isInElement = false
    }

    /// Reads the batches once to find where the lines end, so that the caller gets the cursor in front of them.
    package nonisolated(nonsending) init(
        of job: RequestID, _ query: Query, store: any ResultLines.Store, clock: any PlatformClock
    ) async throws {
        self.job = job
        self.query = query
        self.store = store
        self.clock = clock
        self.passed = Self.start(of: query)
        var end = query.after
        var left = query.limit
        var passed = self.passed
        var size = PageSize()
        while left > 0 {
            let page = try await store.batches(
                of: job, in: query.states, after: passed, limit: size.limit, now: clock.now())
            for batch in page where left > 0 {
                let items = Self.wanted(batch, after: query.after, through: nil).prefix(left)
                guard let last = items.last else { continue }
                left -= items.count
                end = ItemCursor(batch: batch.batch.index, item: last)
            }
            guard let last = page.last else { break }
            passed = last.batch.index
            size.note(page.lazy.map(\.batch.body))
        }
        self.end = end
        self.isOver = end == query.after
    }

    /// Sends all lines, and closes what is open.
    ///
    /// - Parameter write: sends a piece; returns when more can be sent.
    package nonisolated(nonsending) mutating func send(
        _ write: (_ piece: [UInt8]) async throws -> Void
    ) async throws {
        do {
            while let piece = try await next() { try await write(piece) }
        } catch {
            await close()
            throw error
        }
        await close()
    }

    /// The next bytes: whole lines, or pieces of one whose item is large; `nil` at the end.
    package nonisolated(nonsending) mutating func next() async throws -> [UInt8]? {
        var bytes: [UInt8] = []
        while bytes.count < LineText.piece {
            if open != nil {
                try await continueBatch(&bytes)
            } else if position < batches.count {
                try await begin(batches[position])
                position += 1
            } else {
                guard !isOver else { break }
                position = 0
                batches = try await store.batches(
                    of: job, in: query.states, after: passed, limit: pageSize.limit, now: clock.now())
                pageSize.note(batches.lazy.map(\.batch.body))
                if batches.isEmpty { isOver = true }
            }
        }
        return bytes.isEmpty ? nil : bytes
    }

    /// Releases what is open. Must be called unless ``send(_:)`` was.
    package nonisolated(nonsending) mutating func close() async {
        await open.take()?.reader?.close()
    }

    /// The batch behind which the query begins.
    private static func start(of query: Query) -> Int64? { query.after.map { $0.batch - 1 } }

    private static func wanted(_ batch: StoredBatch, after: ItemCursor?, through end: ItemCursor?) -> [Int64] {
        batch.batch.items.indexes.filter { item in
            if let after, batch.batch.index == after.batch, item <= after.item { return false }
            if let end, batch.batch.index == end.batch, item > end.item { return false }
            return true
        }
    }

    private nonisolated(nonsending) mutating func begin(_ batch: StoredBatch) async throws {
        let index = batch.batch.index
        passed = index
        if let end, index >= end.batch { isOver = true }
        if let end, index > end.batch {
            position = batches.count
            return
        }
        let wanted = Self.wanted(batch, after: query.after, through: end)
        guard let first = wanted.first else { return }
        var reader: ElementReader?
        if batch.isKept {
            do {
                reader = try await ElementReader(batch.batch.body, from: store)
                try await reader?.skip(Int64(batch.batch.items.indexes.prefix { $0 < first }.count))
            } catch let error as PlatformError where error.code == .notFound {
                // Erased since the batch was read.
                reader = nil
            } catch {
                await reader?.close()
                throw error
            }
        }
        open = Open(batch: batch, reader: reader, indexes: wanted.reversed())
    }

    /// Appends lines of the open batch until there are enough bytes.
    private nonisolated(nonsending) mutating func continueBatch(_ bytes: inout [UInt8]) async throws {
        guard var open = open.take() else { return }
        while bytes.count < LineText.piece, let index = open.indexes.last {
            if !open.isInElement {
                LineText.append(
                    ItemSet(index..<index + 1), status: open.batch.state.rawValue, attempts: open.batch.attempts,
                    to: &bytes)
                if let failure = open.batch.failure { LineText.append(failure, to: &bytes) }
                if open.reader != nil { bytes += ",\"item\":".utf8 }
            }
            if open.reader != nil {
                do {
                    guard let part = try await open.reader?.next() else { return }
                    LineText.append(onOneLine: part.bytes, to: &bytes)
                    open.isInElement = !part.isEnd
                } catch {
                    await open.reader?.close()
                    throw error
                }
            }
            guard !open.isInElement else { continue }
            bytes += LineText.end
            open.indexes.removeLast()
        }
        if open.indexes.isEmpty {
            await open.reader?.close()
        } else {
            self.open = open
        }
    }
}
