import Dispatch
import Foundation
import Synchronization

/// The terminal's second screen with its cursor hidden, for a view that is drawn again and again. What stood on the
/// terminal before comes back on every way out: the end of `run`, an error, Ctrl-C, SIGTERM, SIGHUP, and while the
/// command is stopped with Ctrl-Z.
final class TerminalScreen: Sendable {
    private struct State {
        var isOpen = false
        /// What is left on the terminal when the screen closes.
        var last = ""
    }

    private static let enter = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[2J\u{1B}[H"
    private static let leave = "\u{1B}[?25h\u{1B}[?1049l"

    private let console: Console
    private let state = Mutex(State())

    private init(_ console: Console) {
        self.console = console
    }

    /// Runs `body` on the second screen. A signal that ends the process ends it with 128 + its number.
    static func run(_ console: Console, _ body: (TerminalScreen) async throws -> Void) async throws {
        let screen = TerminalScreen(console)
        var sources: [any DispatchSourceSignal] = []
        for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP] {
            sources.append(await SignalSource.make(number) { screen.handle(number) })
        }
        defer {
            for source in sources { source.cancel() }
            for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP] { signal(number, SIG_DFL) }
        }
        screen.open()
        defer { screen.close() }
        try await body(screen)
    }

    /// Draws a picture; `text` is what stays on the terminal afterwards.
    func draw(_ frame: String, leaving text: String) throws {
        try state.withLock { state in
            state.last = text
            guard state.isOpen else { return }
            try console.write(frame.utf8)
        }
    }

    private func open() {
        state.withLock { state in
            guard !state.isOpen else { return }
            state.isOpen = true
            // A terminal that is gone is noticed by the next picture.
            try? console.write(Self.enter.utf8)
        }
    }

    private func close() {
        state.withLock { state in
            guard state.isOpen else { return }
            state.isOpen = false
            let last = state.last.isEmpty ? "" : state.last + "\n"
            // The terminal may be gone: nothing is left to restore then.
            try? console.write((Self.leave + last).utf8)
        }
    }

    private func handle(_ number: CInt) {
        if number == SIGTSTP {
            close()
            raise(SIGSTOP)
            return open()
        }
        close()
        exit(128 + number)
    }
}
