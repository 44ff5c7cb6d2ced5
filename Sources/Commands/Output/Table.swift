import APIConfiguration
import Core
import Support

/// Rows under titles, as every list of the CLI is shown: columns three spaces apart, titles bold on a terminal
/// (reference: cortex.md §9.3).
///
/// On a terminal it fits the width: columns move closer, then a text in the last column gets lines of its own below its
/// row, then texts are cut with `...`, and where even that is too wide each row becomes a list of `title: value`.
/// Identifiers are never cut: a part of one is of no use, and nor are reasons.
struct Table {
    struct Column {
        var title: String
        /// At least this wide.
        var minimumWidth: Int
        /// A text that may be cut; otherwise it is whole or not in the table.
        var isText: Bool

        init(_ title: String, minimumWidth: Int = 0, isText: Bool = false) {
            self.title = title
            self.minimumWidth = minimumWidth
            self.isText = isText
        }
    }

    var columns: [Column]
    private(set) var rows: [[String]] = []

    private static let gap = 3
    /// No text is cut below this.
    private static let narrowest = 16

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
        let widths = columns.indices.map { index in
            rows.reduce(max(columns[index].title.displayWidth, columns[index].minimumWidth)) {
                max($0, index < $1.count ? $1[index].displayWidth : 0)
            }
        }
        guard let limit = style.size?.columns else { return lines(widths, gap: Self.gap, style) }
        let canFold = columns.count > 2 && columns.last?.isText == true
        for gap in [Self.gap, 2, 1] where !canFold || Self.width(widths, gap) <= limit {
            if let fitting = fitting(widths, gap: gap, to: limit) { return lines(fitting, gap: gap, style) }
        }
        if canFold {
            for gap in [Self.gap, 2, 1] {
                if let fitting = fitting(Array(widths.dropLast()), gap: gap, to: limit) {
                    return folded(fitting, gap: gap, style, limit)
                }
            }
        }
        return records(style)
    }

    private static func width(_ widths: [Int], _ gap: Int) -> Int {
        widths.reduce(gap * max(0, widths.count - 1), +)
    }

    /// Widths whose line is at most `limit` wide, texts narrowed where needed, widest first; `nil` where that is not
    /// enough.
    private func fitting(_ widths: [Int], gap: Int, to limit: Int) -> [Int]? {
        var widths = widths
        while Self.width(widths, gap) > limit {
            let texts = widths.indices.filter { columns[$0].isText && widths[$0] > Self.narrowest }
            guard let widest = texts.max(by: { widths[$0] < widths[$1] }) else { return nil }
            widths[widest] -= 1
        }
        return widths
    }

    private func lines(_ widths: [Int], gap: Int, _ style: TextStyle) -> String {
        ([style.bold(Self.line(columns.map(\.title), widths, gap))] + rows.map { Self.line($0, widths, gap) })
            .joined(separator: "\n")
    }

    /// The last column below its row, indented.
    private func folded(_ widths: [Int], gap: Int, _ style: TextStyle, _ limit: Int) -> String {
        let titles = columns.dropLast().map(\.title)
        var lines = [style.bold(Self.line(titles, widths, gap))]
        for row in rows {
            lines.append(Self.line(Array(row.prefix(widths.count)), widths, gap))
            guard row.count > widths.count, let last = row.last, !last.isEmpty else { continue }
            lines += TextWrap.lines(last, columns: max(Self.narrowest, limit - 2)).map { "  \($0)" }
        }
        return lines.joined(separator: "\n")
    }

    private func records(_ style: TextStyle) -> String {
        rows.map { row in
            zip(columns, row).filter { !$0.1.isEmpty }.map { column, cell in
                column.isText ? style.fact(column.title, cell) : "\(style.bold("\(column.title):")) \(cell)"
            }.joined(separator: "\n")
        }.joined(separator: "\n\n")
    }

    private static func line(_ cells: [String], _ widths: [Int], _ gap: Int) -> String {
        var text = ""
        for (index, cell) in cells.enumerated() {
            if index > 0 { text += String(repeating: " ", count: gap) }
            let cut = cut(cell, to: widths[index])
            text += cut
            if index < cells.count - 1 {
                text += String(repeating: " ", count: max(0, widths[index] - cut.displayWidth))
            }
        }
        while text.last == " " { text.removeLast() }
        return text
    }

    static func cut(_ text: String, to width: Int) -> String {
        guard text.displayWidth > width else { return text }
        return text.prefix(columns: max(0, width - 3)) + "..."
    }
}
