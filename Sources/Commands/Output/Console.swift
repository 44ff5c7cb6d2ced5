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

    /// Tells the person who runs the command something that is not the command's data.
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

    /// The terminal's present size.
    static func size(of descriptor: CInt) -> TextStyle.Size? {
        var window = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &window) == 0, window.ws_col > 0 else { return nil }
        return TextStyle.Size(columns: Int(window.ws_col), rows: Int(window.ws_row))
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
                // Somebody made the terminal non-blocking: wait until it takes more.
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
