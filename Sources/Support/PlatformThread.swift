import Core

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A thread that depends on nothing else: it also works while the cooperative thread pool and the event loops are
/// blocked.
package enum PlatformThread {
    /// Runs `body` on a new detached thread.
    ///
    /// - Parameter name: shown by `ps` and debuggers; at most 15 bytes.
    /// - Throws: ``Core/PlatformError`` `unavailable` when the system has no further thread.
    package static func start(name: String, _ body: @escaping @Sendable () -> Void) throws {
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                let start = Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
                PlatformThread.setName(start.name)
                start.body()
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw PlatformError(.unavailable, "The system has no further thread for \(name) (error \(result)).")
        }
        pthread_detach(thread)
    }

    /// Names the calling thread. A kernel that does not allow it leaves the process's name.
    private static func setName(_ name: String) {
        let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        _ = name.withCString { write(file, $0, strlen($0)) }
        close(file)
    }

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void

        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
}

/// Wakes a thread that waits, from any thread and from a signal handler: a pipe whose ends do not block.
///
/// It lives as long as the process; make few.
package struct ThreadWakeup: Sendable {
    /// Readable while there is something to wake up for.
    package let descriptor: CInt
    /// For ``wake(_:)`` in a signal handler.
    package let writing: CInt

    package init() throws {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw PlatformError(.unavailable, "No further pipe can be opened (error \(errno)).")
        }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        (self.descriptor, self.writing) = (ends[0], ends[1])
    }

    /// Wakes the waiting thread, or the next one to wait. A signal handler may call it.
    package func wake() { Self.wake(writing) }

    /// Wakes the thread that waits at the other end of this descriptor.
    package static func wake(_ writing: CInt) {
        var byte: UInt8 = 1
        // A full pipe wakes as well.
        _ = write(writing, &byte, 1)
    }

    /// Waits for ``wake()`` on the calling thread, no longer than `milliseconds` (-1: without a limit).
    ///
    /// - Returns: whether it was woken; false also after a signal.
    package func wait(milliseconds: CInt = -1) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, milliseconds) > 0 else { return false }
        var bytes: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
        while withUnsafeMutableBytes(of: &bytes, { read(descriptor, $0.baseAddress, $0.count) }) > 0 {}
        return true
    }
}
