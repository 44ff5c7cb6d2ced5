/// A set of items of a job, by their indexes in the job. Most sets are one range of consecutive indexes.
package struct ItemSet: Sendable, Hashable {
    /// In ascending order; they neither overlap nor touch.
    package private(set) var ranges: [Range<Int64>]

    package init(_ range: Range<Int64>) { ranges = range.isEmpty ? [] : [range] }

    /// - Parameter indexes: in ascending order, each once.
    package init(_ indexes: some Sequence<Int64>) {
        ranges = []
        for index in indexes {
            if let last = ranges.last, last.upperBound == index {
                ranges[ranges.count - 1] = last.lowerBound..<index + 1
            } else {
                ranges.append(index..<index + 1)
            }
        }
    }

    /// - Parameter ranges: in ascending order, without overlap; `nil` when they are not.
    package init?(ranges: [Range<Int64>]) {
        var joined: [Range<Int64>] = []
        for range in ranges where !range.isEmpty {
            guard let last = joined.last else {
                joined = [range]
                continue
            }
            guard range.lowerBound >= last.upperBound else { return nil }
            if range.lowerBound == last.upperBound {
                joined[joined.count - 1] = last.lowerBound..<range.upperBound
            } else {
                joined.append(range)
            }
        }
        self.ranges = joined
    }

    package var count: Int { ranges.reduce(0) { $0 + $1.count } }
    package var isEmpty: Bool { ranges.isEmpty }
    package var first: Int64? { ranges.first?.lowerBound }

    /// All indexes, ascending.
    package var indexes: some Sequence<Int64> { ranges.lazy.flatMap { $0 } }

    /// The items at these positions of the set, counted from 0.
    ///
    /// - Parameter positions: in ascending order, each below ``count``.
    package func at(_ positions: some Sequence<Int>) -> ItemSet {
        var found: [Int64] = []
        var rest = ranges[...]
        var passed = 0
        for position in positions {
            while let range = rest.first, position >= passed + range.count {
                passed += range.count
                rest = rest.dropFirst()
            }
            guard let range = rest.first else { break }
            found.append(range.lowerBound + Int64(position - passed))
        }
        return ItemSet(found)
    }

    /// The items that are in none of `others`; `nil` when the others overlap, or have an item that is not here.
    package func subtracting(_ others: [ItemSet]) -> ItemSet? {
        // The usual case: everything is in one set.
        if others.count == 1, others[0] == self { return ItemSet([]) }
        let removed = others.flatMap(\.ranges).sorted { $0.lowerBound < $1.lowerBound }
        var left: [Range<Int64>] = []
        var rest = ranges[...]
        var position = rest.first?.lowerBound ?? 0
        for range in removed {
            while let present = rest.first, present.upperBound <= range.lowerBound {
                if position < present.upperBound { left.append(position..<present.upperBound) }
                rest = rest.dropFirst()
                if let next = rest.first { position = max(position, next.lowerBound) }
            }
            guard let present = rest.first, range.lowerBound >= position, range.upperBound <= present.upperBound else {
                return nil
            }
            if position < range.lowerBound { left.append(position..<range.lowerBound) }
            position = range.upperBound
        }
        if let present = rest.first {
            if position < present.upperBound { left.append(position..<present.upperBound) }
            left += rest.dropFirst()
        }
        return ItemSet(ranges: left)
    }
}
