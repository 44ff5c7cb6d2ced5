import Core
import NIOCore
import Synchronization

/// Carries lines from several writers to one reader, bounded in bytes: writers wait for a slow reader.
///
/// The reader takes everything that was written since its last call.
final class LinePipe: Sendable {
    private struct State {
        var bytes = ByteBuffer()
        /// Bytes that the reader has taken so far.
        var taken = 0
        var isFinished = false
        var reader: CheckedContinuation<Void, Never>?
        var writers: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let limit: Int

    /// - Parameter limit: number of bytes at which writers wait. The pipe holds at most this and one more piece.
    init(limit: Int = Limits.logBuffer) {
        self.limit = limit
    }

    /// Appends whole lines as soon as there is space.
    ///
    /// - Throws: `CancellationError` after ``finish()``, at once.
    func write(_ lines: ByteBuffer) async throws {
        while true {
            enum WriteStep { case written(CheckedContinuation<Void, Never>?), full, finished }
            let step = state.withLock { state -> WriteStep in
                guard !state.isFinished else { return .finished }
                guard state.bytes.readableBytes < limit else { return .full }
                state.bytes.writeImmutableBuffer(lines)
                return .written(state.reader.take())
            }
            switch step {
            case .written(let reader):
                reader?.resume()
                return
            case .finished: throw CancellationError()
            case .full: await waitForSpace()
            }
        }
    }

    private func waitForSpace() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let hasSpace = state.withLock { state in
                guard !state.isFinished, state.bytes.readableBytes >= limit else { return true }
                state.writers.append(continuation)
                return false
            }
            if hasSpace { continuation.resume() }
        }
    }

    /// Appends an empty line if the reader has nothing else to take.
    func heartbeat() {
        let reader = state.withLock { state -> CheckedContinuation<Void, Never>? in
            guard !state.isFinished, state.bytes.readableBytes == 0 else { return nil }
            state.bytes.writeInteger(UInt8(ascii: "\n"))
            return state.reader.take()
        }
        reader?.resume()
    }

    /// Ends the lines, from either side; what was written before can still be read.
    func finish() {
        let waiting = state.withLock { state in
            state.isFinished = true
            defer { (state.reader, state.writers) = (nil, []) }
            return state.writers + [state.reader].compactMap { $0 }
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Everything written since the last call, as soon as there is something; `nil` at the end.
    func next() async -> ByteBuffer? {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let goesOn = state.withLock { state in
                guard state.bytes.readableBytes == 0, !state.isFinished else { return true }
                state.reader = continuation
                return false
            }
            if goesOn { continuation.resume() }
        }
        let (bytes, writers) = state.withLock { state in
            state.taken += state.bytes.readableBytes
            defer { (state.bytes, state.writers) = (ByteBuffer(), []) }
            return (state.bytes, state.writers)
        }
        for writer in writers { writer.resume() }
        return bytes.readableBytes == 0 ? nil : bytes
    }

    /// Bytes that the reader has taken so far.
    var taken: Int { state.withLock { $0.taken } }
}
