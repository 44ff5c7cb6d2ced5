import APIConfiguration
import Core
import Support

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
