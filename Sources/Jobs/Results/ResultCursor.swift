/// A place in the results of a job, between two lines. Its text is what callers send as `after` and get as
/// `X-Cortex-Next` (contract B8).
package struct ResultCursor: Sendable, Hashable {
    /// The order of the lines that a caller reads.
    package enum Order: String, Sendable, Hashable, CaseIterable {
        /// As they were recorded.
        case recorded = "r"
        /// By their first index.
        case index = "i"
    }

    package var order: Order
    /// How many records are in front of the place.
    package var records: Int64
    /// How many lines of the next record are in front of the place. Only a record that is split has several.
    package var lines: Int64

    package init(order: Order = .recorded, records: Int64 = 0, lines: Int64 = 0) {
        self.order = order
        self.records = records
        self.lines = lines
    }

    /// - Returns: `nil` when the text is no cursor.
    package init?(_ text: String) {
        guard let first = text.first, let order = Order(rawValue: String(first)),
            let (records, lines) = CursorText.read(text.dropFirst())
        else { return nil }
        self.init(order: order, records: records, lines: lines)
    }

    package var text: String { "\(order.rawValue)\(records).\(lines)" }
}

/// A place in the items of a job that have not succeeded, behind an item.
package struct ItemCursor: Sendable, Hashable {
    /// The index of the batch in the job.
    package var batch: Int64
    /// The index of the item in the job.
    package var item: Int64

    package init(batch: Int64, item: Int64) {
        self.batch = batch
        self.item = item
    }

    /// - Returns: `nil` when the text is no cursor.
    package init?(_ text: String) {
        guard text.first == "b", let (batch, item) = CursorText.read(text.dropFirst()) else { return nil }
        self.init(batch: batch, item: item)
    }

    package var text: String { "b\(batch).\(item)" }
}

private enum CursorText {
    /// Two numbers with a point between them, as they are written.
    static func read(_ text: Substring) -> (Int64, Int64)? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = number(parts[0]), let second = number(parts[1]) else { return nil }
        return (first, second)
    }

    private static func number(_ digits: Substring) -> Int64? {
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 &- 48 < 10 }) else { return nil }
        return Int64(digits)
    }
}
