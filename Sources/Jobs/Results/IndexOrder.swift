import Core

/// The records of an ended job in the order of their first index. A record that is split counts once for each range of
/// its items, because lines of other records may belong between them.
struct IndexOrder: Sendable {
    /// 16 bytes for each range of a split record, and for each other record.
    private struct Place: Sendable {
        var first: Int64
        /// The record. A job has fewer than 2³² batches.
        var number: UInt32
        /// The range of a split record; ``none`` for another.
        var range: UInt32

        static let none = UInt32.max
    }

    private let job: RequestID
    private let store: any ResultLines.Store
    private let places: [Place]

    /// Reads all records once.
    ///
    /// - Parameter canSplit: whether replies of the job are split at all.
    nonisolated(nonsending) init(
        of job: RequestID, canSplit: Bool, store: any ResultLines.Store, clock: any PlatformClock
    ) async throws {
        var places: [Place] = []
        var size = PageSize()
        var number: Int64 = 0
        while true {
            let page = try await store.lines(of: job, after: number, limit: size.limit, now: clock.now())
            guard let last = page.last else { break }
            number = last.number
            for record in page {
                let number = UInt32(clamping: record.number)
                if canSplit, case .succeeded(_?, isSplit: true) = record.line.verdict {
                    for (index, range) in record.line.items.ranges.enumerated() {
                        places.append(.init(first: range.lowerBound, number: number, range: UInt32(clamping: index)))
                    }
                } else {
                    places.append(.init(first: record.line.items.first ?? 0, number: number, range: Place.none))
                }
            }
            size.note(page.lazy.map(\.line.reply))
        }
        places.sort { ($0.first, $0.number) < ($1.first, $1.number) }
        self.job = job
        self.store = store
        self.places = places
    }

    /// The records at the places from `start` on.
    nonisolated(nonsending) func entries(from start: Int, limit: Int, now: Timestamp) async throws
        -> [ResultLines.Entry]
    {
        let wanted = places.dropFirst(start).prefix(limit)
        var records: [UInt32: RecordedLine] = [:]
        for run in Self.runs(Set(wanted.map(\.number)).sorted()) {
            let found = try await store.lines(
                of: job, after: Int64(run.lowerBound) - 1, limit: run.count, now: now)
            for record in found { records[UInt32(clamping: record.number)] = record }
        }
        // A record is missing when the retention of the job has ended; then nothing follows.
        let known = wanted.prefix { records[$0.number] != nil }
        return known.compactMap { place in
            records[place.number].map { .init(record: $0, range: place.range == Place.none ? nil : Int(place.range)) }
        }
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
