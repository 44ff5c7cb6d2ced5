package import Core
import Support

/// The results of a job as lines, read from the store as they are sent (contract B8). Used by one task.
///
/// It keeps one page of records in memory, of a stored reply one piece, and for the order by index 16 bytes for each
/// record.
package struct ResultLines: Sendable {
    /// Which lines are wanted.
    package struct Query: Sendable, Hashable {
        package enum Status: String, Sendable, Hashable, CaseIterable {
            case succeeded, failed
        }

        /// Where to begin; it also says in which order.
        package var after: ResultCursor
        /// `nil` for all.
        package var status: Status?

        package init(after: ResultCursor = ResultCursor(), status: Status? = nil) {
            self.after = after
            self.status = status
        }
    }

    package typealias Store = JobStore & RequestQueue

    /// Where the lines that were returned end.
    package private(set) var cursor: ResultCursor

    private let job: RequestID
    private let status: Query.Status?
    /// Whether replies can be split (the job's batches have more than one item).
    private let canSplit: Bool
    /// The number of the last record that is wanted; `nil` for all that will come.
    private let last: Int64?
    /// Items whose failures are not wanted, because a later job has a line for them.
    private let replaced: ItemRanges
    private let store: any Store
    private let clock: any PlatformClock
    private var order: IndexOrder?
    private var pageSize = PageSize()
    /// Records that were read, and the first of them that was not begun.
    private var page: [Entry] = []
    private var position = 0
    private var open: Open?
    /// Whether the beginning of the line of the present element was returned.
    private var isInElement = false

    /// A record, or the part of a split one with the items of one range.
    struct Entry: Sendable {
        var record: RecordedLine
        /// `nil` for all.
        var range: Int?
        /// Items whose failures are not wanted.
        var replaced: ItemRanges
    }

    /// A record of which something was returned, and not all of it.
    private enum Open {
        case whole(any BodyReader)
        /// `rest` is what stands between the index and the result.
        case split(ElementReader, indexes: [Range<Int64>], rest: [UInt8])
    }

    /// - Parameters:
    ///   - job: as it is now. Without `follow` only lines that it counts are returned, so that ``cursor`` is known
    ///     beforehand: ``end``. For the order by index it must have ended.
    ///   - follow: whether lines that are recorded later are wanted too.
    package init(
        of job: Job, _ query: Query = Query(), follow: Bool = false, store: any Store, clock: any PlatformClock
    ) {
        self.init(of: job, query, follow: follow, replaced: ItemRanges(), store: store, clock: clock)
    }

    /// - Parameter order: the lines of a whole chain of jobs by index, read already; then `query` begins at its first.
    init(
        of job: Job, _ query: Query, follow: Bool = false, replaced: ItemRanges, order: IndexOrder? = nil,
        store: any Store, clock: any PlatformClock
    ) {
        self.job = job.id
        self.status = query.status
        self.canSplit = job.canSplit
        self.last = follow ? nil : job.counts.lines
        self.replaced = replaced
        self.order = order
        self.cursor = query.after
        self.store = store
        self.clock = clock
    }

    /// Where the lines end that are returned without `follow`.
    package var end: ResultCursor {
        switch cursor.order {
        case .recorded: ResultCursor(records: max(cursor.records, last ?? 0))
        // The job has ended: nothing follows.
        case .index: ResultCursor(order: .index, records: .max)
        }
    }

    /// Sends all lines, and closes what is open.
    ///
    /// - Parameters:
    ///   - wait: with `follow`, waits until there may be more lines; returns `false` when the job has ended.
    ///   - write: sends a piece; returns when more can be sent.
    package nonisolated(nonsending) mutating func send(
        following wait: (@Sendable () async throws -> Bool)? = nil,
        _ write: (_ piece: [UInt8]) async throws -> Void
    ) async throws {
        do {
            var isOver = false
            while true {
                while let piece = try await next() { try await write(piece) }
                guard let wait, !isOver else { break }
                isOver = try await !wait()
            }
        } catch {
            await close()
            throw error
        }
        await close()
    }

    /// The next bytes: whole lines, or pieces of one whose reply is large.
    ///
    /// - Returns: `nil` when there are no further lines now.
    package nonisolated(nonsending) mutating func next() async throws -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(LineText.piece + 1024)
        while bytes.count < LineText.piece {
            if open != nil {
                try await continueRecord(&bytes)
            } else if position < page.count {
                try await begin(page[position], &bytes)
            } else {
                guard try await readPage() else { break }
            }
        }
        return bytes.isEmpty ? nil : bytes
    }

    /// Releases what is open. Must be called unless ``send(following:_:)`` was.
    package nonisolated(nonsending) mutating func close() async {
        switch open.take() {
        case .whole(let reader): await reader.close()
        case .split(let reader, _, _): await reader.close()
        case nil: break
        }
    }

    // MARK: Records

    /// - Returns: `false` when there are no more.
    private nonisolated(nonsending) mutating func readPage() async throws -> Bool {
        position = 0
        switch cursor.order {
        case .recorded:
            let left = last.map { $0 - cursor.records } ?? .max
            guard left > 0 else {
                page = []
                return false
            }
            let limit = Int(min(Int64(pageSize.limit), left))
            page = try await store.lines(of: job, after: cursor.records, limit: limit, now: clock.now())
                .map { Entry(record: $0, replaced: replaced) }
        case .index:
            let start = Int(clamping: cursor.records)
            if order == nil, start < .max {
                let part = IndexOrder.Part(job: job, replaced: replaced)
                order = try await IndexOrder(of: [part], canSplit: canSplit, store: store, clock: clock)
            }
            page = try await order?.entries(from: start, limit: pageSize.limit, now: clock.now()) ?? []
        }
        pageSize.note(page.lazy.map(\.record.line.reply))
        return !page.isEmpty
    }

    /// Begins the record at ``position``, and ends it if it is small.
    private nonisolated(nonsending) mutating func begin(_ entry: Entry, _ bytes: inout [UInt8]) async throws {
        let line = entry.record.line
        switch line.verdict {
        case .failed(let failure) where status != .succeeded:
            let items = entry.replaced.removed(from: line.items)
            guard !items.isEmpty else { break }
            LineText.append(items, status: "failed", attempts: entry.record.attempts, to: &bytes)
            LineText.append(failure, to: &bytes)
            bytes += LineText.end
        case .succeeded(let reply?, isSplit: true) where canSplit && status != .failed:
            return try await split(entry, reply)
        case .succeeded(let reply, _) where status != .failed:
            LineText.append(line.items, status: "succeeded", attempts: entry.record.attempts, to: &bytes)
            bytes += ",\"result\":".utf8
            switch reply {
            case .inline(let json): LineText.append(onOneLine: json, to: &bytes)
            case .stored:
                if let reply { open = .whole(try await store.reader(of: reply)) }
                return
            case nil: bytes += "null".utf8
            }
            bytes += LineText.end
        case .failed, .succeeded: break
        }
        endRecord()
    }

    private nonisolated(nonsending) mutating func split(_ entry: Entry, _ reply: Body) async throws {
        let ranges = entry.record.line.items.ranges
        var indexes = entry.range.map { [ranges[$0]] } ?? ranges
        guard cursor.lines < indexes.reduce(0, { $0 + Int64($1.count) }) else { return endRecord() }
        var reader = try await ElementReader(reply, from: store)
        do {
            let inFront = ranges.prefix(entry.range ?? 0).reduce(0) { $0 + Int64($1.count) }
            try await reader.skip(inFront + cursor.lines)
        } catch {
            await reader.close()
            throw error
        }
        var passed = cursor.lines
        while let range = indexes.first, passed > 0 {
            let count = min(passed, Int64(range.count))
            passed -= count
            indexes[0] = range.lowerBound + count..<range.upperBound
            if indexes[0].isEmpty { indexes.removeFirst() }
        }
        // The rest is taken from the end.
        indexes.reverse()
        let rest = LineText.rest(status: "succeeded", attempts: entry.record.attempts) + Array(",\"result\":".utf8)
        open = .split(reader, indexes: indexes, rest: rest)
    }

    private mutating func endRecord() {
        cursor.records += 1
        cursor.lines = 0
        position += 1
    }

    /// Appends bytes of the open record until there are enough.
    private nonisolated(nonsending) mutating func continueRecord(_ bytes: inout [UInt8]) async throws {
        switch open.take() {
        case .whole(let reader):
            open = .whole(reader)
            if let piece = try await reader.read(upTo: LineText.piece), !piece.isEmpty {
                LineText.append(onOneLine: piece, to: &bytes)
                return
            }
            open = nil
            await reader.close()
            bytes += LineText.end
            endRecord()
        case .split(var reader, var indexes, let rest):
            do {
                while bytes.count < LineText.piece, let range = indexes.last {
                    let part = try await reader.next()
                    if !isInElement {
                        LineText.append("{\"index\":", range.lowerBound, to: &bytes)
                        bytes += rest
                    }
                    LineText.append(onOneLine: part.bytes, to: &bytes)
                    isInElement = !part.isEnd
                    guard part.isEnd else { continue }
                    bytes += LineText.end
                    cursor.lines += 1
                    if range.count > 1 {
                        indexes[indexes.count - 1] = range.lowerBound + 1..<range.upperBound
                    } else {
                        indexes.removeLast()
                    }
                }
            } catch {
                await reader.close()
                throw error
            }
            guard indexes.isEmpty else {
                open = .split(reader, indexes: indexes, rest: rest)
                return
            }
            await reader.close()
            endRecord()
        case nil: break
        }
    }
}

extension Job {
    /// Whether replies of the job can be split: its batches have more than one item.
    var canSplit: Bool {
        if case .batch(let work) = submission.work { work.batchSize > 1 } else { false }
    }
}

extension ResultLine {
    /// The reply of a success.
    var reply: Body? {
        if case .succeeded(let reply, _) = verdict { reply } else { nil }
    }
}
