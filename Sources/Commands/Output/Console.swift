import APIConfiguration
import Core
import Foundation
import Support

/// The only place that writes to the terminal. Data goes to standard output, everything else to standard error.
struct Console: Sendable {
    let output: CInt
    let errors: CInt
    private let baseStyle: TextStyle
    /// How text on standard error may look.
    let errorStyle: TextStyle
    /// Whether standard error is a terminal: progress lines are redrawn there.
    let hasErrorTerminal: Bool
    /// Whether a user can be asked: standard input and standard error are terminals.
    let canAsk: Bool

    init(environment: [String: String], output: CInt = STDOUT_FILENO, errors: CInt = STDERR_FILENO) {
        // A closed pipe is an error of `write`, not a signal, so that it ends in one place.
        signal(SIGPIPE, SIG_IGN)
        self.output = output
        self.errors = errors
        self.hasErrorTerminal = isatty(errors) == 1
        self.canAsk = isatty(STDIN_FILENO) == 1 && isatty(errors) == 1
        self.baseStyle = Self.style(of: output, environment)
        self.errorStyle = Self.style(of: errors, environment)
    }

    private static func style(of descriptor: CInt, _ environment: [String: String]) -> TextStyle {
        let isTerminal = isatty(descriptor) == 1
        let noColor = environment["NO_COLOR"].map { !$0.isEmpty } ?? false
        return TextStyle(
            isTerminal: isTerminal, hasColor: isTerminal && !noColor && environment["TERM"] != "dumb",
            size: isTerminal ? size(of: descriptor) : nil)
    }

    /// How text looks there, at the terminal's present size.
    var style: TextStyle {
        guard baseStyle.isTerminal else { return baseStyle }
        var style = baseStyle
        style.size = Self.size(of: output) ?? baseStyle.size
        return style
    }

    /// Writes data; a line end is added where it is missing. On a terminal, what could steer it is escaped, except
    /// colours.
    ///
    /// - Throws: ``BrokenPipe`` when the reader is gone; ``PlatformError`` when it cannot be written (disk full).
    func print(_ text: String) throws {
        let text = baseStyle.isTerminal ? text.safeForTerminal : text
        try write(Array((text.hasSuffix("\n") ? text : text + "\n").utf8))
    }

    /// Writes bytes as they are.
    func write(_ bytes: some Collection<UInt8>) throws {
        try Self.write(Array(bytes), to: output)
    }

    /// Writes a message for the user to standard error; it is not part of the command's data.
    func note(_ text: String) {
        // Without standard error there is no reader for the message.
        let text = wrapped(hasErrorTerminal ? text.safeForTerminal : text)
        try? Self.write(Array((text + "\n").utf8), to: errors)
    }

    /// On a terminal, lines broken between words instead of anywhere, what belongs to a line indented below it.
    private func wrapped(_ text: String) -> String {
        guard hasErrorTerminal, let columns = Self.size(of: errors)?.columns, columns > 20 else { return text }
        return text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            // What begins with a space or has colours is laid out already.
            guard line.first != " ", !line.contains("\u{1B}") else { return String(line) }
            return TextWrap.lines(String(line), columns: columns, indent: 2).joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// Writes to standard error without a line end: for progress and prompts.
    func noteInPlace(_ text: String) {
        try? Self.write(Array(text.utf8), to: errors)
    }

    /// The terminal's present size. A terminal that does not know it (0 columns, as in many containers and over serial
    /// lines) is taken for one of 80 by 24; `nil` where there is no terminal.
    static func size(of descriptor: CInt) -> TextStyle.Size? {
        var window = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &window) == 0 else { return nil }
        return TextStyle.Size(
            columns: window.ws_col > 0 ? Int(window.ws_col) : 80, rows: window.ws_row > 0 ? Int(window.ws_row) : 24)
    }

    private static func write(_ bytes: [UInt8], to descriptor: CInt) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Another program made the terminal non-blocking: wait until it accepts more.
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&waiting, 1, -1)
            case EPIPE: throw BrokenPipe()
            default:
                throw PlatformError(.setup, "the output cannot be written: \(String(cString: strerror(errno)))")
            }
        }
    }
}

/// The reader of standard output is gone (`cortex get | head`): end quietly.
struct BrokenPipe: Error {}

/// Questions on the terminal. They are asked on standard error, so that standard output stays data.
enum Prompt {
    /// Asks until it is answered with yes or no; the end of input means no.
    static func confirm(_ question: String, console: Console) -> Bool {
        while true {
            console.noteInPlace("\(question) (y/n): ")
            guard let answer = readLine()?.trimmingCharacters(in: .whitespaces).lowercased() else { return false }
            if ["y", "yes"].contains(answer) { return true }
            if ["n", "no"].contains(answer) { return false }
            console.note("please answer y or n")
        }
    }

    /// Asks for one line; `nil` when it is empty.
    static func line(_ question: String, console: Console) -> String? {
        console.noteInPlace("\(question): ")
        let answer = readLine()?.trimmingCharacters(in: .whitespaces) ?? ""
        return answer.isEmpty ? nil : answer
    }

    /// Asks for one line that is not shown while it is typed; `nil` when it is empty.
    ///
    /// - Throws: `CancellationError` on Ctrl-C. The terminal is as before on every way out.
    static func secret(_ question: String, console: Console) throws -> String? {
        var saved = termios()
        guard tcgetattr(STDIN_FILENO, &saved) == 0 else { return line(question, console: console) }
        var silent = saved
        // Without signals: otherwise Ctrl-C would leave a terminal that shows nothing.
        silent.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved)
            console.note("")
        }
        console.noteInPlace("\(question): ")
        var answer: [UInt8] = []
        var byte: UInt8 = 0
        while read(STDIN_FILENO, &byte, 1) == 1, answer.count < 4096 {
            switch byte {
            case 0x03: throw CancellationError()
            case 0x04, UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                let text = String(decoding: answer, as: UTF8.self).trimmingCharacters(in: .whitespaces)
                return text.isEmpty ? nil : text
            case 0x7F, 0x08: _ = answer.popLast()
            default: answer.append(byte)
            }
        }
        return nil
    }
}

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
