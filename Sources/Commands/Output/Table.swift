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

extension String {
    /// Columns that this text takes on a terminal: two for East Asian wide characters and emoji, none for marks that
    /// combine (UAX #11, in short).
    var displayWidth: Int {
        if utf8.allSatisfy({ $0 < 0x80 }) { return utf8.count }
        return reduce(0) { $0 + $1.displayWidth }
    }

    /// The longest beginning that takes at most `width` columns.
    func prefix(columns width: Int) -> Substring {
        var taken = 0
        var end = startIndex
        while end < endIndex {
            taken += self[end].displayWidth
            if taken > width { break }
            end = index(after: end)
        }
        return self[..<end]
    }
}

extension Character {
    var displayWidth: Int {
        guard let scalar = unicodeScalars.first else { return 0 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: return 0
        default: break
        }
        if scalar.properties.isEmojiPresentation || unicodeScalars.contains("\u{FE0F}") { return 2 }
        switch scalar.value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF,
            0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE4F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x20000...0x3FFFD:
            return 2
        default:
            return 1
        }
    }
}

/// How text may look: bold and colours only on a terminal, `NO_COLOR` respected, lines cut to the terminal's width.
struct TextStyle: Sendable, Hashable {
    struct Size: Sendable, Hashable {
        var columns: Int
        var rows: Int
    }

    enum Color: Int, CaseIterable {
        case cyan = 36
        case yellow = 33
        case green = 32
        case magenta = 35
        case blue = 34
        case red = 31
    }

    var isTerminal: Bool
    var hasColor: Bool
    /// `nil` when the output is no terminal: nothing is cut.
    var size: Size?

    /// For files and pipes.
    static let plain = TextStyle(isTerminal: false, hasColor: false, size: nil)

    func bold(_ text: String) -> String {
        hasColor ? "\u{1B}[1m\(text)\u{1B}[0m" : text
    }

    /// `title: value`; on a terminal broken between words.
    func fact(_ title: String, _ value: String) -> String {
        let head = "\(title):"
        let text = "\(head) \(value.inOneLine)"
        var lines = size.map { TextWrap.lines(text, columns: $0.columns, indent: 2) } ?? [text]
        if lines[0].hasPrefix(head) { lines[0] = bold(head) + lines[0].dropFirst(head.count) }
        return lines.joined(separator: "\n")
    }

    /// A value behind what names it; on a terminal broken between words, with every line below the first.
    ///
    /// - Parameter column: where the value begins.
    func hanging(_ value: String, at column: Int) -> String {
        guard let size else { return value.inOneLine }
        // The first line has the width of the others: the caller writes what comes before it.
        let lines = TextWrap.lines(value.inOneLine, columns: max(20, size.columns - column))
        return lines.joined(separator: "\n" + String(repeating: " ", count: column))
    }

    func colored(_ text: String, _ color: Color) -> String {
        hasColor ? "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m" : text
    }
}
