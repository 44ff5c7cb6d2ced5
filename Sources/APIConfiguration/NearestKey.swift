/// Finds the key that was probably intended.
package enum NearestKey {
    /// The most similar one of `keys`, if one is similar enough for a suggestion.
    package static func find(_ key: String, among keys: some Sequence<String>) -> String? {
        guard key.utf8.count <= 64 else { return nil }
        let wanted = normalized(key)
        guard !wanted.isEmpty else { return nil }
        var best: (key: String, distance: Int)?
        for candidate in keys {
            let distance = self.distance(wanted, normalized(candidate))
            let limit = max(1, min(wanted.count, candidate.utf8.count) / 3)
            if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.key
    }

    /// `maxConcurrency`, `Max-Concurrency` and `max_concurrency` are the same word.
    private static func normalized(_ key: String) -> [UInt8] {
        key.lowercased().utf8.filter { $0 != UInt8(ascii: "_") && $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: " ") }
    }

    /// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
    static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var older: [Int] = []
        var previous = Array(0...right.count)
        for row in 0..<left.count {
            var current = [row + 1]
            for column in 0..<right.count {
                let replaced = previous[column] + (left[row] == right[column] ? 0 : 1)
                var value = min(replaced, previous[column + 1] + 1, current[column] + 1)
                if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                    value = min(value, older[column - 1] + 1)
                }
                current.append(value)
            }
            older = previous
            previous = current
        }
        return previous[right.count]
    }
}
