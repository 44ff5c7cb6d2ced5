import CLinux
import Core
import PodInitProtocol
import Support
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Gets what the loop reports about a descriptor. Called on the loop's thread.
protocol PollHandler: AnyObject {
    func ready(_ readiness: CInt)
}

/// The one thread on which all conversations with `PodInit` take place: descriptors and timers, and nothing that blocks
/// (contract N4).
///
/// `@unchecked Sendable`: everything but `inbox` is touched only by the loop's own thread; the functions say so.
final class PollLoop: @unchecked Sendable {
    static let shared = PollLoop()

    private struct Inbox {
        var actions: [@Sendable () -> Void] = []
        /// Set once the thread runs.
        var wakeup: ThreadWakeup?
    }

    private let inbox = Mutex(Inbox())
    private var poller: CInt = -1
    private var watched: [UInt64: any PollHandler] = [:]
    private var nextToken: UInt64 = 0
    private var timers = TimerHeap()
    /// What a conversation receives into.
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 * 1024, alignment: 16)
    let passed = UnsafeMutableBufferPointer<CInt>.allocate(capacity: Int(CX_PASSED))

    // MARK: From any thread

    /// Runs `action` on the loop, soon.
    ///
    /// - Throws: `unavailable` when the loop cannot be started for lack of descriptors or threads.
    func perform(_ action: @escaping @Sendable () -> Void) throws {
        let wakeup = try inbox.withLock { inbox in
            let wakeup = try start(&inbox)
            inbox.actions.append(action)
            // The first wakes the loop, which then takes all.
            return inbox.actions.count == 1 ? wakeup : nil
        }
        wakeup?.wake()
    }

    private func start(_ inbox: inout Inbox) throws -> ThreadWakeup {
        if let wakeup = inbox.wakeup { return wakeup }
        let poller = cx_poller()
        guard poller >= 0 else { throw Self.noResources(-poller) }
        do {
            let wakeup = try ThreadWakeup()
            let result = cx_poller_set(poller, wakeup.descriptor, CInt(CX_READ), 0, 0)
            guard result == 0 else { throw Self.noResources(-result) }
            try PlatformThread.start(name: "cortex-pods") { [self] in run(poller, wakeup) }
            inbox.wakeup = wakeup
            return wakeup
        } catch {
            close(poller)
            throw error
        }
    }

    private static func noResources(_ number: CInt) -> PlatformError {
        PlatformError(.unavailable, "No pod can be reached: \(text(number)).")
    }

    // MARK: On the loop

    /// Calls `handler.ready` whenever the descriptor is ready for `interest`, and when it hangs up.
    ///
    /// - Returns: the token for ``change(_:of:to:)`` and ``forget(_:of:)``, or the system's negative error number.
    func watch(_ descriptor: CInt, for interest: CInt, _ handler: any PollHandler) -> Result<UInt64, PlatformError> {
        nextToken += 1
        let result = cx_poller_set(poller, descriptor, interest, nextToken, 0)
        guard result == 0 else { return .failure(Self.noResources(-result)) }
        watched[nextToken] = handler
        return .success(nextToken)
    }

    func change(_ token: UInt64, of descriptor: CInt, to interest: CInt) {
        _ = cx_poller_set(poller, descriptor, interest, token, 1)
    }

    /// Stops watching for a while; a hang-up goes unseen as well, because it would be reported again and again.
    func pause(_ token: UInt64, of descriptor: CInt, milliseconds: Int64, _ handler: any PollHandler) -> Timer {
        _ = cx_poller_remove(poller, descriptor)
        return after(milliseconds) { [weak self, weak handler] in
            guard let self, let handler, watched[token] === handler else { return }
            _ = cx_poller_set(poller, descriptor, CInt(CX_READ), token, 0)
        }
    }

    /// Ends the watching. The caller closes the descriptor.
    func forget(_ token: UInt64, of descriptor: CInt) {
        guard watched.removeValue(forKey: token) != nil else { return }
        _ = cx_poller_remove(poller, descriptor)
    }

    /// Runs `action` once after `milliseconds`, unless the returned timer is cancelled.
    func after(_ milliseconds: Int64, _ action: @escaping () -> Void) -> Timer {
        let timer = Timer(deadline: cx_milliseconds() + max(0, milliseconds), action: action)
        timers.insert(timer)
        return timer
    }

    private func run(_ poller: CInt, _ wakeup: ThreadWakeup) {
        self.poller = poller
        var tokens = [UInt64](repeating: 0, count: 64)
        var readiness = [CInt](repeating: 0, count: 64)
        while true {
            let wait = timers.next.map { max(0, min($0 - cx_milliseconds(), 3_600_000)) } ?? -1
            let count = cx_poller_wait(poller, &tokens, &readiness, 64, CInt(wait))
            for index in 0..<max(0, Int(count)) {
                if tokens[index] == 0 {
                    _ = wakeup.wait(milliseconds: 0)
                } else {
                    watched[tokens[index]]?.ready(readiness[index])
                }
            }
            let actions = inbox.withLock { inbox in
                defer { inbox.actions = [] }
                return inbox.actions
            }
            for action in actions { action() }
            for timer in timers.due(cx_milliseconds()) { timer.fire() }
        }
    }
}

/// Closes what must not be closed on the loop. Closing a descriptor of a pod may last as long as the pod likes: a
/// socket that lingers, a file of a file system that the pod itself provides. Each pod gets a thread of its own while
/// there is something to close, so that none delays another.
final class DescriptorCloser: Sendable {
    static let shared = DescriptorCloser()
    /// Descriptors of one pod that may wait to be closed before it is not talked to any more.
    static let limit = 512

    private struct Queue {
        var descriptors: [CInt] = []
        var isRunning = false
        /// Being closed at the moment.
        var current = 0
    }

    private let queues = Mutex<[String: Queue]>([:])

    /// Whether the pod keeps too many descriptors from being closed.
    func isFull(_ pod: String) -> Bool {
        queues.withLock { ($0[pod].map { $0.descriptors.count + $0.current } ?? 0) > Self.limit }
    }

    /// Never blocks. Safe from any thread.
    func close(_ descriptors: [CInt], of pod: String) {
        let begins = queues.withLock { queues in
            queues[pod, default: Queue()].descriptors += descriptors
            guard queues[pod]?.isRunning == false else { return false }
            queues[pod]?.isRunning = true
            return true
        }
        guard begins else { return }
        do {
            try PlatformThread.start(name: "cortex-close") { [self] in run(pod) }
        } catch {
            // No thread at the moment: the next descriptor of this pod tries again.
            queues.withLock { $0[pod]?.isRunning = false }
        }
    }

    private func run(_ pod: String) {
        while true {
            let batch = queues.withLock { queues -> [CInt] in
                guard let queue = queues[pod], !queue.descriptors.isEmpty else {
                    queues[pod] = nil
                    return []
                }
                queues[pod]?.descriptors = []
                queues[pod]?.current = queue.descriptors.count
                return queue.descriptors
            }
            if batch.isEmpty { return }
            for descriptor in batch { closeDescriptor(descriptor) }
        }
    }
}

/// The system's `close`, where a method of that name hides it.
func closeDescriptor(_ descriptor: CInt) { _ = close(descriptor) }
