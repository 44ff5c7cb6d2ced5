import Core
import Foundation

/// `--watch`: draws the same view every two seconds from the top left corner, over the one before, so that nothing
/// flickers. No mode of the terminal is changed, so there is nothing to restore however the command ends.
struct Watch {
    let console: Console
    let clock: any PlatformClock
    /// The command as it was typed, for the first line.
    let title: String

    static let period: Duration = .seconds(2)

    /// Draws until the task is cancelled or a signal ends the process. An error of the first view ends it; a later one
    /// is shown, and the next view is drawn as usual.
    func run(_ view: () async throws -> String) async throws {
        guard console.style.isTerminal, console.style.size != nil else {
            throw PlatformError(.usage, "--watch needs a terminal; omit it when the output is redirected")
        }
        var shown = try await view()
        try console.write(Self.clear.utf8)
        while true {
            let header = "\(title)   every 2s   \(Self.localTime(clock.now()))"
            try console.write(Self.frame(header: header, text: shown, size: console.style.size).utf8)
            try await clock.sleep(for: Self.period)
            do {
                shown = try await view()
            } catch let error as PlatformError {
                shown = "error: \(error.message)"
            }
        }
    }

    static let clear = "\u{1B}[2J"

    /// One view: from the top left corner, each line cleared to its end, everything below cleared; no longer than the
    /// terminal is high.
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
