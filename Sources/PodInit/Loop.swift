import CLinux
import Glibc
import PodInitProtocol

/// What a descriptor is ready for.
struct Readiness: OptionSet {
    let rawValue: CInt
    static let read = Readiness(rawValue: CInt(CX_READ))
    static let write = Readiness(rawValue: CInt(CX_WRITE))
    /// The other side is gone or the socket failed.
    static let hangup = Readiness(rawValue: CInt(CX_HANGUP))
}

/// The event loop of the process: descriptors, timers and signals, without a thread or process per connection.
final class Loop {
    /// A watched descriptor. `close` it through ``Loop/forget(_:)`` and then itself.
    final class Watch {
        let descriptor: CInt
        fileprivate let token: UInt64
        fileprivate var interest: Readiness = []
        fileprivate var isRegistered = false
        fileprivate var handler: ((Readiness) -> Void)?

        fileprivate init(descriptor: CInt, token: UInt64, handler: @escaping (Readiness) -> Void) {
            self.descriptor = descriptor
            self.token = token
            self.handler = handler
        }
    }

    private let poller: CInt
    private var watches: [UInt64: Watch] = [:]
    private var nextToken: UInt64 = 0
    private var timers = TimerHeap()
    private var isStopped = false
    /// A buffer for bytes in transit; nothing is kept in it between two events.
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 16)

    init() throws(Failure) {
        self.poller = cx_poller()
        guard poller >= 0 else { throw Failure(.internal, "epoll: \(errorText(-poller))") }
    }

    /// Calls `handler` whenever the descriptor is ready for `interest`, and when it hangs up.
    func watch(_ descriptor: CInt, for interest: Readiness, _ handler: @escaping (Readiness) -> Void) -> Watch {
        nextToken += 1
        let watch = Watch(descriptor: descriptor, token: nextToken, handler: handler)
        watches[watch.token] = watch
        watch.interest = interest
        register(watch)
        return watch
    }

    /// Changes the interest. `paused` hides hang-ups too: a socket that hung up would spin the loop.
    func change(_ watch: Watch, to interest: Readiness, paused: Bool = false) {
        guard watches[watch.token] != nil else { return }
        if paused {
            if watch.isRegistered { _ = cx_poller_remove(poller, watch.descriptor) }
            watch.isRegistered = false
            watch.interest = []
        } else if !watch.isRegistered || watch.interest != interest {
            watch.interest = interest
            register(watch)
        }
    }

    /// Ends the watching. The caller closes the descriptor.
    func forget(_ watch: Watch) {
        guard watches.removeValue(forKey: watch.token) != nil else { return }
        if watch.isRegistered { _ = cx_poller_remove(poller, watch.descriptor) }
        watch.handler = nil
    }

    /// Runs `action` once after `milliseconds`, unless the returned timer is cancelled.
    @discardableResult
    func after(_ milliseconds: Int64, _ action: @escaping () -> Void) -> Timer {
        let timer = Timer(deadline: cx_milliseconds() + max(0, milliseconds), action: action)
        timers.insert(timer)
        return timer
    }

    func stop() { isStopped = true }

    func run() {
        var tokens = [UInt64](repeating: 0, count: 64)
        var readiness = [CInt](repeating: 0, count: 64)
        while !isStopped {
            let wait = timers.next.map { max(0, min($0 - cx_milliseconds(), 3_600_000)) } ?? -1
            let count = cx_poller_wait(poller, &tokens, &readiness, 64, CInt(wait))
            for index in 0..<max(0, Int(count)) {
                watches[tokens[index]]?.handler?(Readiness(rawValue: readiness[index]))
            }
            for timer in timers.due(cx_milliseconds()) { timer.fire() }
        }
    }

    private func register(_ watch: Watch) {
        let known = watch.isRegistered ? CInt(1) : 0
        let result = cx_poller_set(poller, watch.descriptor, watch.interest.rawValue, watch.token, known)
        watch.isRegistered = result == 0
        // Out of memory or watches in the kernel: its owner sees a hang-up and closes.
        if result != 0 { after(0) { watch.handler?(.hangup) } }
    }
}
