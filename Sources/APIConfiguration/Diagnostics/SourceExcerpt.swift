/// One line of a file for a terminal, with marks under a part of it: tabs become spaces, wide and combining characters
/// are measured, a long line is cut around the part.
struct SourceExcerpt {
    private(set) var text = ""
    /// Spaces up to the part.
    private(set) var indent = ""
    private(set) var underline = ""

    private struct Cell {
        var text: String
        var width: Int
    }

    private static let tabWidth = 4
    private static let cut = Cell(text: "…", width: 1)

    /// - Parameters:
    ///   - column: the beginning of the part, counted from 1 in Unicode scalars; may be after the line's end.
    ///   - length: of the part, in Unicode scalars.
    ///   - columns: the available width.
    init(_ line: some Sequence<Unicode.Scalar>, column: Int, length: Int, columns: Int) {
        var cells: [Cell] = []
        var width = 0
        for scalar in line {
            let cell = Self.cell(scalar, at: width)
            width += cell.width
            cells.append(cell)
        }
        let start = min(max(0, column - 1), cells.count)
        let end = min(cells.count, start + min(max(1, length), cells.count + 1))
        let window = Self.window(cells, width: width, start: start, end: end, columns: columns)
        var shown = cells[window]
        while window.upperBound == cells.count, start < cells.count, end <= shown.endIndex - 1,
            let last = shown.last, last.text.allSatisfy({ $0 == " " })
        {
            shown.removeLast()
        }
        let before = window.lowerBound > 0 ? [Self.cut] : []
        let after = window.upperBound < cells.count ? [Self.cut] : []
        text = (before + shown + after).map(\.text).joined()
        let leading = (before + cells[window.lowerBound..<max(window.lowerBound, start)]).reduce(0) { $0 + $1.width }
        indent = String(repeating: " ", count: leading)
        let marked = cells[start..<max(start, min(end, window.upperBound))].reduce(0) { $0 + $1.width }
        underline = String(repeating: "^", count: max(1, marked))
    }

    /// The cells to show: all if they fit, otherwise as many as fit, with the part and some of the text before it.
    private static func window(_ cells: [Cell], width: Int, start: Int, end: Int, columns: Int) -> Range<Int> {
        guard width > columns else { return 0..<cells.count }
        var first = start
        var room = columns / 3
        while first > 0, cells[first - 1].width <= room {
            first -= 1
            room -= cells[first].width
        }
        // Text before the end of a line is more useful than empty space after it.
        let rest = cells[first...].reduce(0) { $0 + $1.width }
        var spare = columns - 2 - rest
        while first > 0, cells[first - 1].width <= spare {
            first -= 1
            spare -= cells[first].width
        }
        var last = first
        room = columns - 2
        while last < cells.count, cells[last].width <= room {
            room -= cells[last].width
            last += 1
        }
        return first..<max(last, min(start + 1, cells.count))
    }

    private static func cell(_ scalar: Unicode.Scalar, at position: Int) -> Cell {
        if scalar == "\t" {
            let width = tabWidth - position % tabWidth
            return Cell(text: String(repeating: " ", count: width), width: width)
        }
        if joiners.contains(scalar) { return Cell(text: String(scalar), width: 0) }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark: return Cell(text: String(scalar), width: 0)
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate: return Cell(text: "\u{FFFD}", width: 1)
        case .spaceSeparator: return Cell(text: scalar == "\u{3000}" ? "  " : " ", width: scalar == "\u{3000}" ? 2 : 1)
        default: return Cell(text: String(scalar), width: DisplayWidth.isWide(scalar) ? 2 : 1)
        }
    }

    /// Characters that join others and have no width.
    static let joiners: Set<Unicode.Scalar> = ["\u{200C}", "\u{200D}"]
}

/// The number of terminal columns of a character (Unicode, East Asian Width: W and F; emoji).
enum DisplayWidth {
    private static let wide: [ClosedRange<UInt32>] = [
        0x1100...0x115F, 0x2329...0x232A, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0xA4CF,
        0xA960...0xA97F, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE10...0xFE19, 0xFE30...0xFE6F, 0xFF00...0xFF60,
        0xFFE0...0xFFE6, 0x20000...0x3FFFD,
    ]

    /// The columns of a text in one line.
    static func of(_ text: some StringProtocol) -> Int {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.utf8.count }
        return text.unicodeScalars.reduce(0) { $0 + width(of: $1) }
    }

    private static func width(of scalar: Unicode.Scalar) -> Int {
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format: 0
        default: isWide(scalar) ? 2 : 1
        }
    }

    static func isWide(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value >= 0x1100
            && (scalar.properties.isEmojiPresentation || wide.contains { $0.contains(scalar.value) })
    }
}
