import Synchronization

/// Carries lines from one writer to one reader: what gathers while the reader is busy is handed over at once, and a writer that
/// is far ahead waits, so memory stays bounded.
final class LinePipe: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var isFinished = false
        var reader: CheckedContinuation<Void, Never>?
        var writer: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    private let limit: Int

    /// - Parameter limit: bytes at which a writer waits.
    init(limit: Int = 256 * 1024) {
        self.limit = limit
    }

    /// Appends a line; returns when there is room for more. After `finish` it returns at once.
    func write(_ line: [UInt8]) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let (reader, goesOn) = state.withLock { state -> (CheckedContinuation<Void, Never>?, Bool) in
                guard !state.isFinished else { return (nil, true) }
                state.bytes += line
                defer { state.reader = nil }
                guard state.bytes.count >= limit else { return (state.reader, true) }
                state.writer = continuation
                return (state.reader, false)
            }
            reader?.resume()
            if goesOn { continuation.resume() }
        }
    }

    /// Appends an empty line if the reader has nothing else to take.
    func heartbeat() {
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.isFinished, state.bytes.isEmpty else { return nil }
            state.bytes.append(UInt8(ascii: "\n"))
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume()
    }

    /// Ends the lines, from either side; what was written before can still be read.
    func finish() {
        let (reader, writer) = state.withLock { state in
            state.isFinished = true
            defer { (state.reader, state.writer) = (nil, nil) }
            return (state.reader, state.writer)
        }
        reader?.resume()
        writer?.resume()
    }

    /// Everything written since the last call, as soon as there is something; `nil` at the end.
    func next() async -> [UInt8]? {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let goesOn = state.withLock { state in
                guard state.bytes.isEmpty, !state.isFinished else { return true }
                state.reader = continuation
                return false
            }
            if goesOn { continuation.resume() }
        }
        let (bytes, writer) = state.withLock { state in
            defer { (state.bytes, state.writer) = ([], nil) }
            return (state.bytes, state.writer)
        }
        writer?.resume()
        return bytes.isEmpty ? nil : bytes
    }
}
