/// Rows under titles, as every list of the CLI is shown: columns three spaces apart, titles bold on a terminal, lines cut to its width (reference: cortex.md §9.3).
struct Table {
    struct Column {
        var title: String
        /// At least this wide.
        var minimumWidth: Int

        init(_ title: String, minimumWidth: Int = 0) {
            self.title = title
            self.minimumWidth = minimumWidth
        }
    }

    var columns: [Column]
    private(set) var rows: [[String]] = []

    private static let gap = "   "
    /// No column is cut below this.
    private static let narrowest = 8

    init(_ columns: [Column]) {
        self.columns = columns
    }

    init(_ titles: [String]) {
        self.columns = titles.map { Column($0) }
    }

    /// Adds a row; a cell of more than one line becomes one line.
    mutating func append(_ cells: [String]) {
        rows.append(cells.map(\.inOneLine))
    }

    /// Rows ordered as text.
    mutating func sort() {
        rows.sort { $0.lexicographicallyPrecedes($1) }
    }

    /// Drops a column.
    mutating func remove(column title: String) {
        guard let index = columns.firstIndex(where: { $0.title == title }) else { return }
        columns.remove(at: index)
        for row in rows.indices where index < rows[row].count { rows[row].remove(at: index) }
    }

    func render(_ style: TextStyle) -> String {
        var widths = columns.indices.map { index in
            rows.reduce(max(columns[index].title.count, columns[index].minimumWidth)) {
                max($0, index < $1.count ? $1[index].count : 0)
            }
        }
        if let limit = style.size?.columns { Self.shrink(&widths, to: limit) }
        func line(_ cells: [String]) -> String {
            var text = ""
            for (index, cell) in cells.enumerated() {
                if index > 0 { text += Self.gap }
                let cut = Self.cut(cell, to: widths[index])
                text += cut
                if index < cells.count - 1 { text += String(repeating: " ", count: widths[index] - cut.count) }
            }
            return text
        }
        return ([style.bold(line(columns.map(\.title)))] + rows.map(line)).joined(separator: "\n")
    }

    /// Narrows the widest column until the line fits, as long as one can be narrowed.
    private static func shrink(_ widths: inout [Int], to limit: Int) {
        let gaps = gap.count * max(0, widths.count - 1)
        while widths.reduce(gaps, +) > limit {
            guard let widest = widths.indices.max(by: { widths[$0] < widths[$1] }), widths[widest] > narrowest
            else { return }
            widths[widest] -= 1
        }
    }

    static func cut(_ text: String, to width: Int) -> String {
        guard text.count > width else { return text }
        return String(text.prefix(max(0, width - 3))) + "..."
    }
}
