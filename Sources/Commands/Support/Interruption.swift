import Dispatch
import Foundation

/// Ctrl-C while the command waits for something that goes on without it.
enum Interruption {
    /// Runs a wait; when it is interrupted from a terminal, says what goes on before the process ends. It ends by the
    /// signal itself, so that a shell's loop around it ends too.
    static func telling<Result: Sendable>(
        _ console: Console, _ text: String, _ body: () async throws -> Result
    ) async throws -> Result {
        guard console.hasErrorTerminal else { return try await body() }
        let source = await SignalSource.make(SIGINT) {
            console.note("\n\(text)")
            signal(SIGINT, SIG_DFL)
            // To the process: this thread takes no signals.
            kill(getpid(), SIGINT)
            sleep(1)
            exit(ExitStatus.interrupted)
        }
        defer {
            source.cancel()
            signal(SIGINT, SIG_DFL)
        }
        return try await body()
    }
}

/// A signal as an event.
enum SignalSource {
    /// - Returns: once the signal is surely heard: until then it would be lost, or end the process.
    static func make(_ number: CInt, _ handler: @escaping @Sendable () -> Void) async -> any DispatchSourceSignal {
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number)
        source.setEventHandler(handler: handler)
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            source.setRegistrationHandler { continuation.resume() }
            source.resume()
        }
        return source
    }
}
