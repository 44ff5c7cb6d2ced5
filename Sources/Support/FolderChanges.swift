import CLinux
import Core
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Reports when files in folders are made, written, renamed or removed, through one inotify descriptor and one thread
/// of the process.
///
/// The thread looks at most every 5 ms, however much happens in the folders. Where the kernel cannot watch a folder,
/// and in case it misses something, every subscriber also gets an element every ``period``. Safe from any thread.
package final class FolderChanges: Sendable {
    package static let shared = FolderChanges()

    /// Time between two elements without a change.
    package static let period: Duration = .seconds(2)
    /// How long the thread does not look after it has looked, in microseconds.
    private static let pause: useconds_t = 5000
    /// Reads of one look; each takes up to 4 KiB of events.
    private static let readsPerLook = 4
    /// The most events of one read.
    private static let capacity = 256

    private typealias Continuation = AsyncStream<Void>.Continuation

    private enum Request {
        case add(UInt64, folder: String, Continuation)
        case remove(UInt64)
    }

    private struct State {
        var nextID: UInt64 = 0
        var requests: [Request] = []
        /// Set once the thread runs.
        var wakeup: ThreadWakeup?
    }

    private let state = Mutex(State())

    /// Elements after changes in `folder`, several changes in one. The first comes at once. They end with the reading
    /// task, or when the stream is dropped.
    ///
    /// - Throws: `unavailable` when there is no further descriptor or thread.
    package func changes(in folder: String) throws -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let (id, wakeup) = try state.withLock { state in
            let wakeup = try state.wakeup ?? start()
            state.wakeup = wakeup
            state.nextID += 1
            state.requests.append(.add(state.nextID, folder: folder, continuation))
            return (state.nextID, wakeup)
        }
        continuation.onTermination = { [self] _ in
            state.withLock { $0.requests.append(.remove(id)) }
            wakeup.wake()
        }
        wakeup.wake()
        return stream
    }

    private func start() throws -> ThreadWakeup {
        let wakeup = try ThreadWakeup()
        try PlatformThread.start(name: "cortex-folders") { [self] in run(wakeup) }
        return wakeup
    }

    // MARK: On the thread

    private func run(_ wakeup: ThreadWakeup) -> Never {
        var watcher = Watcher()
        var due = Int64.max
        while true {
            let wait = due == .max ? -1 : CInt(max(0, due - cx_milliseconds()))
            // While there is no inotify descriptor, `poll` passes the entry with -1 over.
            var entries = [
                pollfd(fd: wakeup.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: watcher.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            _ = poll(&entries, 2, wait)
            if entries[0].revents != 0 {
                _ = wakeup.wait(milliseconds: 0)
                let requests = state.withLock { state in
                    defer { state.requests = [] }
                    return state.requests
                }
                for request in requests { watcher.take(request) }
            }
            if watcher.subscribers.isEmpty {
                due = .max
            } else if due == .max || cx_milliseconds() >= due {
                // The first subscriber of all begins the period; later ones join it.
                if due != .max { watcher.reportAll() }
                due = cx_milliseconds() + Self.period.wholeMicroseconds / 1000
            }
            guard entries[1].revents != 0, watcher.descriptor >= 0 else { continue }
            watcher.look()
            // A container that writes without end takes no more of a processor than this.
            usleep(Self.pause)
        }
    }

    /// The subscribers and the inotify descriptor. Used by the thread only.
    private struct Watcher {
        struct Subscriber {
            var continuation: Continuation
            /// `nil` where the kernel does not watch the folder.
            var watch: CInt?
        }

        private(set) var subscribers: [UInt64: Subscriber] = [:]
        /// The inotify descriptor; -1 while there is no subscriber.
        private(set) var descriptor: CInt = -1
        /// Subscribers of each watch: a folder has one, however many subscribe to it.
        private var watches: [CInt: Set<UInt64>] = [:]

        mutating func take(_ request: Request) {
            switch request {
            case .add(let id, let folder, let continuation): add(id, folder, continuation)
            case .remove(let id): remove(id)
            }
        }

        private mutating func add(_ id: UInt64, _ folder: String, _ continuation: Continuation) {
            if descriptor < 0 { descriptor = max(-1, cx_folder_watcher()) }
            var subscriber = Subscriber(continuation: continuation)
            if descriptor >= 0 {
                let watch = cx_watch_folder(descriptor, folder)
                if watch >= 0 {
                    watches[watch, default: []].insert(id)
                    subscriber.watch = watch
                }
            }
            subscribers[id] = subscriber
            // For what happened before the folder was watched.
            continuation.yield()
        }

        private mutating func remove(_ id: UInt64) {
            guard let subscriber = subscribers.removeValue(forKey: id) else { return }
            if let watch = subscriber.watch {
                watches[watch]?.remove(id)
                if watches[watch]?.isEmpty == true {
                    watches[watch] = nil
                    // Has no effect when the folder was removed.
                    _ = cx_unwatch_folder(descriptor, watch)
                }
            }
            if subscribers.isEmpty, descriptor >= 0 {
                close(descriptor)
                (descriptor, watches) = (-1, [:])
            }
        }

        func reportAll() {
            for subscriber in subscribers.values { subscriber.continuation.yield() }
        }

        /// Reads the events and reports them.
        func look() {
            var changed = Set<CInt>()
            withUnsafeTemporaryAllocation(of: CInt.self, capacity: FolderChanges.capacity) { buffer in
                for _ in 0..<FolderChanges.readsPerLook {
                    let count = cx_changed_folders(descriptor, buffer.baseAddress, CInt(buffer.count))
                    guard count > 0 else { return }
                    changed.formUnion(buffer[..<Int(count)])
                }
            }
            // -1: more happened than the kernel keeps.
            let isOverflow = changed.contains(-1)
            for subscriber in subscribers.values where isOverflow || subscriber.watch.map(changed.contains) == true {
                subscriber.continuation.yield()
            }
        }
    }
}
