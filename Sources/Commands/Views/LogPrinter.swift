import Core
import Support

/// Log lines with the replica they come from in front, each replica in its own colour (contract O4).
struct LogPrinter {
    private let style: TextStyle
    private var colors: [String: TextStyle.Color] = [:]
    private var width = 0

    init(style: TextStyle) {
        self.style = style
    }

    /// One line of a container, for standard output. The prefix is padded to the widest one so far.
    mutating func line(replica: String, container: String, text: String) -> String {
        let prefix = "\(replica)/\(container)".inOneLine
        width = max(width, prefix.count)
        let color = colors[replica] ?? TextStyle.Color.allCases[colors.count % TextStyle.Color.allCases.count]
        colors[replica] = color
        let padding = String(repeating: " ", count: width - prefix.count)
        // A file gets the text as it is; a terminal gets nothing that steers it.
        let shown = style.isTerminal ? String(text.lastOverwrite).withoutControls : text
        let reset = style.hasColor && shown.contains("\u{1B}") ? "\u{1B}[0m" : ""
        return "\(style.colored("\(prefix)\(padding) |", color)) \(shown)\(reset)"
    }
}
