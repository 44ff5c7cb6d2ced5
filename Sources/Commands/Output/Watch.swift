import Core
import Foundation

/// `--watch`: draws the same view again every two seconds, over the old one, so that nothing flickers.
struct Watch {
    let console: Console
    let clock: any PlatformClock
    /// The command as it was typed, for the first line.
    let title: String

    static let period: Duration = .seconds(2)

    /// Draws until the task is cancelled or the process is interrupted. A view that fails the first time ends it; later
    /// the error is shown and it goes on.
    func run(_ view: () async throws -> String) async throws {
        guard console.style.isTerminal, console.style.size != nil else {
            throw PlatformError(.usage, "--watch draws on a terminal, and the output is none; leave it away")
        }
        var shown = try await view()
        try await TerminalScreen.run(console) { screen in
            while true {
                let header = "\(title)   every 2s   \(Self.localTime(clock.now()))"
                try screen.draw(Self.frame(header: header, text: shown, size: console.style.size), leaving: shown)
                try await clock.sleep(for: Self.period)
                do {
                    shown = try await view()
                } catch let error as PlatformError {
                    shown = "error: \(error.message)"
                }
            }
        }
    }

    /// One picture: from the top left corner, each line cleared to its end, what is below cleared too; no longer than
    /// the terminal is high.
    static func frame(header: String, text: String, size: TextStyle.Size?) -> String {
        var lines = [header, ""] + text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if let size, size.rows > 2, lines.count > size.rows - 1 {
            let hidden = lines.count - (size.rows - 2)
            lines = lines.prefix(size.rows - 2) + ["... \(hidden) more lines"]
        }
        if let size { lines[0] = Table.cut(header, to: size.columns) }
        return "\u{1B}[H" + lines.map { "\($0)\u{1B}[K\n" }.joined() + "\u{1B}[J"
    }

    private static func localTime(_ now: Timestamp) -> String {
        var seconds = time_t(now.seconds)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { return now.rfc3339 }
        func two(_ value: CInt) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}
