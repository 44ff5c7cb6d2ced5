import CPodInit
import Core
import PodInitProtocol
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Says when files in folders are made, written, renamed or removed: by one inotify descriptor of the process, which
/// the loop watches.
///
/// Whatever happens in the folders, the loop looks at most every 5 ms. Where the kernel cannot watch a folder, and in
/// case it misses something, every subscriber also gets an element every ``period``.
///
/// `@unchecked Sendable`: all stored properties but `let`s are read and written only on the loop's thread.
package final class FolderChanges: PollHandler, @unchecked Sendable {
    package static let shared = FolderChanges()

    /// Time between two elements without a change.
    package static let period: Duration = .seconds(2)
    /// How long the loop does not look after it has looked, in milliseconds.
    private static let pause: Int64 = 5
    /// Reads of one look; each takes up to 4 KiB of events.
    private static let readsPerLook = 4
    /// Events of one read at most.
    private static let capacity = 256

    private struct Subscriber {
        var continuation: AsyncStream<Void>.Continuation
        /// `nil` where the kernel does not watch the folder.
        var watch: CInt?
    }

    private let loop = PollLoop.shared
    private let nextID = Atomic<UInt64>(0)
    private var subscribers: [UInt64: Subscriber] = [:]
    /// Subscribers of each watch: a folder has one, however many subscribe to it.
    private var watches: [CInt: Set<UInt64>] = [:]
    /// The inotify descriptor; -1 while there is no subscriber.
    private var descriptor: CInt = -1
    private var token: UInt64?
    private var looking: Timer?
    private var timer: Timer?

    /// Elements after changes in `folder`, several changes in one. The first comes at once. They end with the reading
    /// task, or when the stream is dropped.
    ///
    /// - Throws: `unavailable` when the loop cannot be started for lack of descriptors or threads.
    package func changes(in folder: String) throws -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let id = nextID.wrappingAdd(1, ordering: .relaxed).newValue
        try loop.perform { self.add(id, folder, continuation) }
        // A loop that has run once does not fail to take an action.
        continuation.onTermination = { _ in try? self.loop.perform { self.remove(id) } }
        return stream
    }

    // MARK: On the loop

    private func add(_ id: UInt64, _ folder: String, _ continuation: AsyncStream<Void>.Continuation) {
        if subscribers.isEmpty { open() }
        var subscriber = Subscriber(continuation: continuation)
        if descriptor >= 0 {
            let watch = cx_watch_folder(descriptor, folder)
            if watch >= 0 {
                watches[watch, default: []].insert(id)
                subscriber.watch = watch
            }
        }
        subscribers[id] = subscriber
        // What happened before the folder was watched.
        continuation.yield()
    }

    private func remove(_ id: UInt64) {
        guard let subscriber = subscribers.removeValue(forKey: id) else { return }
        if let watch = subscriber.watch {
            watches[watch]?.remove(id)
            if watches[watch]?.isEmpty == true {
                watches[watch] = nil
                // Without effect when the folder is gone.
                _ = cx_unwatch_folder(descriptor, watch)
            }
        }
        if subscribers.isEmpty { shut() }
    }

    private func open() {
        repeatLater()
        let descriptor = cx_folder_watcher()
        guard descriptor >= 0 else { return }
        guard case .success(let token) = loop.watch(descriptor, for: CInt(CX_READ), self) else {
            close(descriptor)
            return
        }
        (self.descriptor, self.token) = (descriptor, token)
    }

    private func shut() {
        timer?.cancel()
        looking?.cancel()
        if let token { loop.forget(token, of: descriptor) }
        if descriptor >= 0 { close(descriptor) }
        (descriptor, token, timer, looking) = (-1, nil, nil, nil)
    }

    private func repeatLater() {
        timer = loop.after(Self.period.wholeMicroseconds / 1000) { [weak self] in
            guard let self else { return }
            for subscriber in subscribers.values { subscriber.continuation.yield() }
            repeatLater()
        }
    }

    func ready(_ readiness: CInt) {
        var changed = Set<CInt>()
        withUnsafeTemporaryAllocation(of: CInt.self, capacity: Self.capacity) { buffer in
            for _ in 0..<Self.readsPerLook {
                let count = cx_changed_folders(descriptor, buffer.baseAddress, CInt(buffer.count))
                guard count > 0 else { return }
                changed.formUnion(buffer[..<Int(count)])
            }
        }
        // More happened than the kernel keeps.
        let isOverflow = changed.contains(-1)
        for subscriber in subscribers.values where isOverflow || subscriber.watch.map(changed.contains) == true {
            subscriber.continuation.yield()
        }
        // A container that writes without end takes no more of the loop than this.
        if let token { looking = loop.pause(token, of: descriptor, milliseconds: Self.pause, self) }
    }
}
