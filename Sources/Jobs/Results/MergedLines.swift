package import Core

/// The results of a job together with those of the jobs of whose rest it is the retry: of each item the last line
/// (contract B10). Used by one task.
///
/// The lines of the first job come first, or all are sorted by index. Only failures can be replaced by a later job, so
/// that of the later jobs the indexes are read beforehand, and kept as ranges.
package struct MergedLines: Sendable {
    /// Oldest job first; one element for all jobs when their lines are sorted by index.
    private var parts: [ResultLines]

    /// - Parameters:
    ///   - chain: the job, the one that it retries, and so on.
    ///   - status: `nil` for all lines.
    ///   - order: for the order by index the job must have ended.
    package nonisolated(nonsending) init(
        of chain: [Job], status: ResultLines.Query.Status? = nil, order: ResultCursor.Order = .recorded,
        store: any ResultLines.Store, clock: any PlatformClock
    ) async throws {
        var parts: [ResultLines] = []
        var sorted: [IndexOrder.Part] = []
        var replaced = ItemRanges()
        for (place, job) in chain.enumerated() {
            parts.append(ResultLines(of: job, .init(status: status), replaced: replaced, store: store, clock: clock))
            sorted.append(.init(job: job.id, replaced: replaced))
            guard place + 1 < chain.count else { break }
            var size = PageSize()
            var number: Int64 = 0
            var found: [Range<Int64>] = []
            while number < job.counts.lines {
                let page = try await store.lines(of: job.id, after: number, limit: size.limit, now: clock.now())
                guard let last = page.last else { break }
                number = last.number
                found += page.flatMap(\.line.items.ranges)
                size.note(page.lazy.map(\.line.reply))
            }
            replaced.insert(found)
        }
        self.parts = parts.reversed()
        guard order == .index, let job = chain.first else { return }
        // All jobs of a chain have the same batch size.
        let index = try await IndexOrder(of: sorted.reversed(), canSplit: job.canSplit, store: store, clock: clock)
        self.parts = [
            ResultLines(
                of: job, .init(after: ResultCursor(order: .index), status: status), replaced: ItemRanges(),
                order: index, store: store, clock: clock)
        ]
    }

    /// Sends all lines, and closes what is open.
    ///
    /// - Parameter write: sends a piece; returns when more can be sent.
    package nonisolated(nonsending) mutating func send(
        _ write: (_ piece: [UInt8]) async throws -> Void
    ) async throws {
        for index in parts.indices { try await parts[index].send(write) }
    }
}

/// Indexes of items of a job.
struct ItemRanges: Sendable {
    /// In ascending order; they neither overlap nor touch.
    private var ranges: [Range<Int64>] = []

    mutating func insert(_ others: [Range<Int64>]) {
        var joined: [Range<Int64>] = []
        for range in (ranges + others).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = joined.last, range.lowerBound <= last.upperBound {
                joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                joined.append(range)
            }
        }
        ranges = joined
    }

    /// The items of `items` that are not here.
    func removed(from items: ItemSet) -> ItemSet {
        guard !ranges.isEmpty else { return items }
        return ItemSet(items.indexes.filter { !contains($0) })
    }

    private func contains(_ index: Int64) -> Bool {
        var low = 0
        var high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound <= index { low = middle + 1 } else { high = middle }
        }
        return low < ranges.count && ranges[low].contains(index)
    }
}
