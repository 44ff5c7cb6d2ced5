import Support

/// One line on standard error that says what is waited for: redrawn in place on a terminal, else a line for each
/// change.
final class ProgressLine {
    private let console: Console
    private var last: String?

    init(_ console: Console) {
        self.console = console
    }

    func show(_ text: String) {
        let text = text.inOneLine
        guard text != last else { return }
        last = text
        if console.hasErrorTerminal {
            let width = Console.size(of: console.errors)?.columns ?? 80
            console.noteInPlace("\r\u{1B}[K\(Table.cut(text, to: width - 1))")
        } else {
            console.note(text)
        }
    }

    /// Takes the line away, so that what follows stands alone.
    func clear() {
        if last != nil, console.hasErrorTerminal { console.noteInPlace("\r\u{1B}[K") }
        last = nil
    }
}
