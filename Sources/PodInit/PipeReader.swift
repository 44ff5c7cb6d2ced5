import Glibc

/// Reads a pipe to its end.
final class PipeReader {
    /// Reads in a row before others get their turn.
    private static let turns = 4

    private let loop: Loop
    private var remaining: Int
    private let take: (UnsafeRawBufferPointer) -> Void
    private var watch: Loop.Watch?
    /// Called once, at the end of the pipe.
    var onEnd: (() -> Void)?

    /// Hands on up to `limit` bytes; what comes beyond is read and dropped.
    init(loop: Loop, descriptor: CInt, limit: Int = .max, take: @escaping (UnsafeRawBufferPointer) -> Void) {
        self.loop = loop
        self.remaining = limit
        self.take = take
        self.watch = loop.watch(descriptor, for: .read) { _ in self.read(turns: Self.turns) }
    }

    /// Reads what is there now.
    func drain() { read(turns: 64) }

    /// Stops reading, and closes.
    func close() {
        guard let watch else { return }
        loop.forget(watch)
        Glibc.close(watch.descriptor)
        self.watch = nil
    }

    private func read(turns: Int) {
        for _ in 0..<turns {
            guard let watch else { return }
            let count = Glibc.read(watch.descriptor, loop.scratch.baseAddress, loop.scratch.count)
            if count < 0, errno == EAGAIN || errno == EINTR { return }
            guard count > 0 else {
                close()
                let end = onEnd
                onEnd = nil
                end?()
                return
            }
            let wanted = min(remaining, count)
            remaining -= remaining == .max ? 0 : wanted
            if wanted > 0 { take(UnsafeRawBufferPointer(rebasing: loop.scratch[..<wanted])) }
        }
    }
}
