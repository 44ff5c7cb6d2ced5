import CLinux
import Core
import Support
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Makes sockets in other network namespaces, for a platform that the kernel permits to enter them directly.
///
/// A namespace is a property of a thread. Therefore one thread that does nothing else enters the namespace, makes the
/// sockets and returns before it takes the next request. None of these calls waits for a pod. A thread that cannot
/// return ends, and the next request starts another one, which inherits the platform's namespace from its caller. Safe
/// from any task.
final class NetworkThread: Sendable {
    static let shared = NetworkThread()

    enum SocketResult: Sendable {
        /// Non-blocking and close-on-exec, the caller's to close.
        case made([CInt])
        /// The kernel does not permit this user to enter the namespace.
        case forbidden
        /// Any other error, by its number.
        case failed(CInt)
    }

    private struct Request: Sendable {
        var network: Descriptor
        var isIPv6: Bool
        var count: Int
        var continuation: CheckedContinuation<SocketResult, Never>
    }

    private struct State {
        var requests: [Request] = []
        var wakeup: ThreadWakeup?
        var isRunning = false
    }

    private let state = Mutex(State())
    private let openHome: @Sendable () -> CInt

    /// - Parameter openHome: opens the network namespace of the calling thread, or returns a negative error number.
    init(openHome: @escaping @Sendable () -> CInt = { cx_network_of(0) }) {
        self.openHome = openHome
    }

    /// Makes `count` TCP sockets in a network namespace, within microseconds.
    func makeSockets(in network: Descriptor, isIPv6: Bool, count: Int) async -> SocketResult {
        await withCheckedContinuation { continuation in
            let request = Request(network: network, isIPv6: isIPv6, count: count, continuation: continuation)
            do {
                let wakeup = try state.withLock { state in
                    let wakeup = try start(&state)
                    state.requests.append(request)
                    return wakeup
                }
                wakeup.wake()
            } catch {
                continuation.resume(returning: .failed(EAGAIN))
            }
        }
    }

    private func start(_ state: inout State) throws -> ThreadWakeup {
        let wakeup = try state.wakeup ?? ThreadWakeup()
        state.wakeup = wakeup
        guard !state.isRunning else { return wakeup }
        try PlatformThread.start(name: "cortex-sockets") { [self] in run(wakeup) }
        state.isRunning = true
        return wakeup
    }

    private func run(_ wakeup: ThreadWakeup) {
        let home = openHome()
        defer { if home >= 0 { close(home) } }
        while home >= 0 {
            guard let request = state.withLock({ $0.requests.isEmpty ? nil : $0.requests.removeFirst() }) else {
                _ = wakeup.wait()
                continue
            }
            var sockets = [CInt](repeating: -1, count: request.count)
            var place: CInt = 0
            let result = cx_sockets_in(
                request.network.number, home, request.isIPv6 ? 1 : 0, &sockets, CInt(request.count), &place)
            if place == CInt(CX_LOST) { end(with: EAGAIN) }
            let isForbidden = place == CInt(CX_FORBIDDEN)
            request.continuation.resume(
                returning: result == 0 ? .made(sockets) : isForbidden ? .forbidden : .failed(-result))
            if place == CInt(CX_LOST) { return }
        }
        end(with: -home)
    }

    /// Fails what waits for this thread, which takes no further request.
    private func end(with error: CInt) {
        let left = state.withLock { state in
            defer { state.requests = [] }
            state.isRunning = false
            return state.requests
        }
        for request in left { request.continuation.resume(returning: .failed(error)) }
    }
}

/// A descriptor that is closed when its last user releases it.
final class Descriptor: Sendable {
    let number: CInt

    init(_ number: CInt) { self.number = number }

    deinit { close(number) }
}
