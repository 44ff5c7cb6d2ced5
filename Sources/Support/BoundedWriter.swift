import Core
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Writes lines to a descriptor on a thread of its own, so that a reader who does not read (a full pipe, a stopped
/// terminal) delays no caller.
///
/// Lines beyond the limit are dropped. How many is written as a line of its own as soon as there is room again. Safe
/// from any thread.
package final class BoundedWriter: Sendable {
    /// Standard error of this process. Its thread starts with the first line.
    package static let standardError = BoundedWriter(descriptor: STDERR_FILENO)

    private struct State {
        var lines: [String] = []
        var bytes = 0
        var dropped = 0
        /// Lines that the thread has taken and not yet written.
        var isWriting = false
        var wakeup: ThreadWakeup?
    }

    private let descriptor: CInt
    private let limit: Int
    private let state = Mutex(State())

    /// - Parameter limit: bytes that may wait.
    package init(descriptor: CInt, limit: Int = Limits.standardErrorBuffer) {
        self.descriptor = descriptor
        self.limit = limit
    }

    /// Queues `text`, which ends with a line end. Never blocks.
    package func write(_ text: String) {
        let count = text.utf8.count
        let wakeup = state.withLock { state -> ThreadWakeup? in
            guard state.bytes + count <= limit, start(&state) else {
                state.dropped += 1
                return nil
            }
            state.lines.append(text)
            state.bytes += count
            return state.wakeup
        }
        wakeup?.wake()
    }

    /// Waits on the calling thread until everything is written, no longer than `milliseconds`. For the end of the
    /// process.
    ///
    /// - Returns: whether everything is written.
    @discardableResult
    package func flush(milliseconds: Int) -> Bool {
        for _ in 0..<max(1, milliseconds) {
            let isDone = state.withLock { $0.lines.isEmpty && !$0.isWriting }
            if isDone { return true }
            usleep(1000)
        }
        return false
    }

    /// Whether the thread runs; it starts with the first line.
    private func start(_ state: inout State) -> Bool {
        if state.wakeup != nil { return true }
        do {
            let wakeup = try ThreadWakeup()
            try PlatformThread.start(name: "cortex-stderr") { [self] in run(wakeup) }
            state.wakeup = wakeup
            return true
        } catch {
            // Without a thread the line is lost, as it is without a reader.
            return false
        }
    }

    private func run(_ wakeup: ThreadWakeup) {
        while true {
            _ = wakeup.wait()
            while let text = take() { put(Array(text.utf8)) }
        }
    }

    /// Everything that waits, as one text.
    private func take() -> String? {
        state.withLock { state in
            guard !state.lines.isEmpty || state.dropped > 0 else {
                state.isWriting = false
                return nil
            }
            var text = state.lines.joined()
            if state.dropped > 0 {
                text += "\(state.dropped) lines of this log were dropped: standard error was not read\n"
            }
            state.lines = []
            state.bytes = 0
            state.dropped = 0
            state.isWriting = true
            return text
        }
    }

    private func put(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            #if canImport(Musl)
                let count = rest.withUnsafeBytes { Musl.write(descriptor, $0.baseAddress, $0.count) }
            #else
                let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            #endif
            if count >= 0 {
                rest = rest.dropFirst(count)
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Another process made the terminal non-blocking.
                var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&entry, 1, -1)
            default: return  // Standard error is closed: there is no reader to inform.
            }
        }
    }
}
