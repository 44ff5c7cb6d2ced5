import Core
import Support
import Testing

@testable import Commands

@Suite("O2: how things are written")
struct OutputTests {
    private let terminal = TextStyle(isTerminal: true, hasColor: true, size: .init(columns: 40, rows: 10))

    @Test("N9: a command that ends with an error that is not ours prints nothing of what the error holds")
    func foreignErrors() {
        struct Foreign: Error { var token = "s3cr3t" }
        enum Other: Error { case failed(token: String) }
        for error in [Foreign(), Other.failed(token: "s3cr3t")] as [any Error] {
            let message = ExitStatus(error).message ?? ""
            #expect(!message.isEmpty && !message.contains("s3cr3t"), "\(message)")
        }
    }

    @Test(
        "O2: ages are the original's",
        arguments: [
            (-5, "0s"), (0, "0s"), (12, "12s"), (59, "59s"), (60, "1m0s"), (184, "3m4s"), (3599, "59m59s"),
            (3600, "1h0m"), (18_360, "5h6m"), (172_799, "47h59m"), (172_800, "2d0h"), (633_600, "7d8h"),
        ])
    func ages(seconds: Int, text: String) {
        #expect(Age.text(of: .seconds(seconds)) == text)
        #expect(Age.since(rfc3339: (Fixtures.now - .seconds(seconds)).rfc3339, now: Fixtures.now) == text)
    }

    @Test("O2: no time is a dash")
    func noAge() {
        #expect(Age.since(rfc3339: nil, now: Fixtures.now) == "-")
        #expect(Age.since(rfc3339: "yesterday", now: Fixtures.now) == "-")
    }

    @Test("O2: columns are three spaces apart, rows sorted as text, nothing cut in a pipe")
    func plainTable() {
        var table = Table([.init("name"), .init("wide", minimumWidth: 8), .init("c")])
        table.append(["b", "x", "1"])
        table.append(["a-long-name", "y\nz", "2"])
        table.sort()
        #expect(
            table.render(.plain) == """
                name          wide       c
                a-long-name   y z        2
                b             x          1
                """)
        table.remove(column: "wide")
        #expect(table.render(.plain) == "name          c\na-long-name   2\nb             1")
    }

    @Test("O2: on a terminal the titles are bold and lines fit its width")
    func terminalTable() {
        var table = Table([.init("id"), .init("reason", isText: true)])
        table.append(["1", String(repeating: "long ", count: 20)])
        let lines = table.render(terminal).split(separator: "\n").map(String.init)
        #expect(lines[0] == "\u{1B}[1mid   reason\u{1B}[0m")
        #expect(lines[1].count == 40)
        #expect(lines[1].hasSuffix("..."))
    }

    @Test(
        "O2: what others wrote cannot move the cursor",
        arguments: [("a\nb\tc", "a b c"), ("\u{1B}[2Jx\u{9B}y\u{7F}", "\u{FFFD}[2Jx\u{FFFD}y\u{FFFD}"), ("ä✓", "ä✓")])
    func oneLine(input: String, text: String) {
        #expect(input.inOneLine == text)
    }

    @Test(
        "O4: a log line keeps its colours and nothing else",
        arguments: [
            ("\u{1B}[1;31mred\u{1B}[0m\tx", "\u{1B}[1;31mred\u{1B}[0m\tx"),
            ("\u{1B}]0;title\u{07}", "\u{FFFD}]0;title\u{FFFD}"),
            (
                "\u{1B}[m\u{1B}[4;38;5;208;48;2;1;2;3m\u{1B}[22;24;39;49m",
                "\u{1B}[m\u{1B}[4;38;5;208;48;2;1;2;3m\u{1B}[22;24;39;49m"
            ),
            ("\u{1B}[8mx\u{1B}[5my\u{1B}[7mz", "\u{FFFD}[8mx\u{FFFD}[5my\u{FFFD}[7mz"),
            (
                "\u{1B}[1;8m\u{1B}[38;5m\u{1B}[38;2;1;2m\u{1B}[48;5;256m",
                "\u{FFFD}[1;8m\u{FFFD}[38;5m\u{FFFD}[38;2;1;2m\u{FFFD}[48;5;256m"
            ),
            ("\u{1B}[99999999999999999999m", "\u{FFFD}[99999999999999999999m"),
            ("\u{1B}[2J", "\u{FFFD}[2J"), ("\u{1B}[31", "\u{FFFD}[31"), ("a\rb\u{1B}", "a\u{FFFD}b\u{FFFD}"),
        ])
    func logControls(input: String, text: String) {
        #expect(input.withoutControls == text)
    }

    @Test(
        "N8: what a container or caller wrote cannot steer the terminal; JSON keeps its meaning",
        arguments: [
            ("{\"a\":\"x\u{9B}31m\u{7F}\u{202E}\"}", #"{"a":"x\u009b31m\u007f\u202e"}"#),
            ("[1,\r2,\r\n3]\n", "[1,\n2,\n3]\n"), ("\u{1B}[31mred\u{1B}[0m\tä✓", "\u{1B}[31mred\u{1B}[0m\tä✓"),
            ("\u{1B}]0;t\u{07}\u{2066}", #"\u001b]0;t\u0007\u2066"#), ("\u{1B}[8mhidden", #"\u001b[8mhidden"#),
        ])
    func safeText(input: String, text: String) {
        #expect(input.safeForTerminal == text)
    }

    @Test("N8: characters that turn the direction of text are shown as such in lines")
    func directions() {
        let text = "a\u{061C}\u{200E}\u{200F}\u{202A}\u{202E}\u{2066}\u{2069}\u{2028}b"
        let shown = "a" + String(repeating: "\u{FFFD}", count: 8) + "b"
        #expect(text.inOneLine == shown)
        #expect(text.withoutControls == shown)
    }

    @Test(
        "N8: of a line that a progress bar wrote over and over, a terminal gets the last piece",
        arguments: [
            ("10%\r50%\r100%", "100%"), ("10%\r100%\r", "100%"), ("done\r", "done"), ("\r", ""), ("", ""),
            ("  0%|   | 0/9\r100%|###| 9/9 \u{1B}[A", "100%|###| 9/9 \u{FFFD}[A"),
        ])
    func progressBars(input: String, text: String) {
        var printer = LogPrinter(style: TextStyle(isTerminal: true, hasColor: false, size: nil))
        #expect(printer.line(replica: "a", container: "c", text: input) == "a/c | \(text)")
        var file = LogPrinter(style: .plain)
        #expect(file.line(replica: "a", container: "c", text: input) == "a/c | \(input)")
    }

    @Test("O4: each line begins with its replica, padded; to a file every character stays")
    func plainLogs() {
        var printer = LogPrinter(style: .plain)
        #expect(printer.line(replica: "a-1", container: "main", text: "x\u{1B}[2J") == "a-1/main | x\u{1B}[2J")
        #expect(printer.line(replica: "a-10", container: "main", text: "") == "a-10/main | ")
        #expect(printer.line(replica: "a-1", container: "main", text: "y") == "a-1/main  | y")
    }

    @Test("O4: each replica has its colour")
    func coloredLogs() {
        var printer = LogPrinter(style: terminal)
        let first = printer.line(replica: "a", container: "c", text: "1")
        let second = printer.line(replica: "b", container: "c", text: "1")
        #expect(first.hasPrefix("\u{1B}[36ma/c |\u{1B}[0m"))
        #expect(second.hasPrefix("\u{1B}[33mb/c |\u{1B}[0m"))
        #expect(printer.line(replica: "a", container: "c", text: "1") == first)
    }

    @Test("O2: a watched picture covers the one before without clearing the screen")
    func watchFrame() {
        let size = TextStyle.Size(columns: 10, rows: 6)
        let frame = Watch.frame(header: "a very long header", text: "1\n2", size: size)
        #expect(frame == "\u{1B}[Ha very ...\u{1B}[K\n\u{1B}[K\n1\u{1B}[K\n2\u{1B}[K\n\u{1B}[J")
        let long = Watch.frame(header: "h", text: "1\n2\n3\n4\n5", size: size)
        #expect(long.split(separator: "\n", omittingEmptySubsequences: false).count == 6)
        #expect(long.contains("... 3 more lines"))
    }
}
