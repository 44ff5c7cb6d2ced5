import Core

/// The records of an ended job, or of a chain of retries, in the order of their first index. A record that is split
/// counts once for each range of its items, because lines of other records may belong between them.
struct IndexOrder: Sendable {
    /// An ended job whose records are wanted.
    struct Part: Sendable {
        var job: RequestID
        /// Items whose failures are not wanted, because a later job of the chain has a line for them.
        var replaced = ItemRanges()
    }

    /// 16 bytes for each range of a split record, and for each other record.
    private struct Place: Sendable {
        var first: Int64
        /// The record, counted from 1 through all parts. A chain of jobs has fewer than 2³² batches.
        var number: UInt32
        /// The range of a split record; ``none`` for another.
        var range: UInt32

        static let none = UInt32.max
    }

    private let parts: [Part]
    /// How many records the parts before each part have.
    private let bases: [Int64]
    private let store: any ResultLines.Store
    private let places: [Place]

    /// Reads all records once.
    ///
    /// - Parameters:
    ///   - parts: a job, or the jobs of a chain with the oldest first.
    ///   - canSplit: whether replies of these jobs are split at all.
    nonisolated(nonsending) init(
        of parts: [Part], canSplit: Bool, store: any ResultLines.Store, clock: any PlatformClock
    ) async throws {
        var places: [Place] = []
        var bases: [Int64] = []
        var base: Int64 = 0
        for part in parts {
            bases.append(base)
            var size = PageSize()
            var number: Int64 = 0
            while true {
                let page = try await store.lines(of: part.job, after: number, limit: size.limit, now: clock.now())
                guard let last = page.last else { break }
                number = last.number
                for record in page {
                    let number = UInt32(clamping: base + record.number)
                    switch record.line.verdict {
                    case .succeeded(_?, isSplit: true) where canSplit:
                        for (index, range) in record.line.items.ranges.enumerated() {
                            places.append(
                                .init(first: range.lowerBound, number: number, range: UInt32(clamping: index)))
                        }
                    case .succeeded:
                        places.append(.init(first: record.line.items.first ?? 0, number: number, range: Place.none))
                    case .failed:
                        guard let first = part.replaced.removed(from: record.line.items).first else { continue }
                        places.append(.init(first: first, number: number, range: Place.none))
                    }
                }
                size.note(page.lazy.map(\.line.reply))
            }
            base += number
        }
        places.sort { ($0.first, $0.number) < ($1.first, $1.number) }
        self.parts = parts
        self.bases = bases
        self.store = store
        self.places = places
    }

    /// The records at the places from `start` on.
    nonisolated(nonsending) func entries(from start: Int, limit: Int, now: Timestamp) async throws
        -> [ResultLines.Entry]
    {
        let wanted = places.dropFirst(start).prefix(limit)
        var records: [UInt32: (record: RecordedLine, part: Int)] = [:]
        for run in Self.runs(Set(wanted.map(\.number)).sorted()) {
            var next = Int64(run.lowerBound)
            while next <= Int64(run.upperBound) {
                let part = self.part(of: next)
                let end = min(Int64(run.upperBound), part + 1 < bases.count ? bases[part + 1] : .max)
                let found = try await store.lines(
                    of: parts[part].job, after: next - bases[part] - 1, limit: Int(end - next) + 1, now: now)
                for record in found { records[UInt32(clamping: bases[part] + record.number)] = (record, part) }
                next = end + 1
            }
        }
        // A record is missing when the retention of its job has ended; then nothing follows.
        let known = wanted.prefix { records[$0.number] != nil }
        return known.compactMap { place in
            records[place.number].map { found in
                .init(
                    record: found.record, range: place.range == Place.none ? nil : Int(place.range),
                    replaced: parts[found.part].replaced)
            }
        }
    }

    /// The part that has the record of this number: the last one with a base below it.
    private func part(of number: Int64) -> Int {
        var low = 0
        var high = bases.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if bases[middle] < number { low = middle } else { high = middle }
        }
        return low
    }

    /// Ranges of numbers that are read with one call each. Small gaps are read too.
    private static func runs(_ numbers: [UInt32]) -> [ClosedRange<UInt32>] {
        var runs: [ClosedRange<UInt32>] = []
        for number in numbers {
            if let run = runs.last, number - run.upperBound <= 4 {
                runs[runs.count - 1] = run.lowerBound...number
            } else {
                runs.append(number...number)
            }
        }
        return runs
    }
}
