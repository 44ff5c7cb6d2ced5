/// Wraps text for a terminal between words.
package enum TextWrap {
    /// Wraps a text to the width of the terminal. A word that is longer than a line stays whole: an address or a path
    /// that the terminal wraps can still be copied.
    ///
    /// - Parameters:
    ///   - columns: width of the terminal.
    ///   - indent: spaces before every line except the first; fewer on a terminal that is hardly wider.
    /// - Returns: at least one line; a text that fits is returned unchanged.
    package static func lines(_ text: String, columns: Int, indent: Int = 0) -> [String] {
        guard DisplayWidth.of(text) > columns else { return [text] }
        let indent = min(indent, max(0, columns / 2))
        let blank = String(repeating: " ", count: indent)
        var lines: [String] = []
        var line = ""
        var width = 0
        var isEmpty = true
        for part in text.split(separator: " ", omittingEmptySubsequences: false) {
            let partWidth = DisplayWidth.of(part)
            if !isEmpty, width + 1 + partWidth > columns {
                while line.last == " " { line.removeLast() }
                lines.append(line)
                (line, width, isEmpty) = (blank, indent, true)
            }
            // Spaces at the end of a line are removed.
            if isEmpty, !lines.isEmpty, partWidth == 0 { continue }
            if !isEmpty {
                line += " "
                width += 1
            }
            line += part
            width += partWidth
            isEmpty = false
        }
        if !isEmpty { lines.append(line) }
        return lines
    }
}
