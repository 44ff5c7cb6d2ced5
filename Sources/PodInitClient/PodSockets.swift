import CLinux
package import Core
import PodInitProtocol
import Subprocess
import Support
import Synchronization

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Connections into pods over sockets that no process of a pod ever holds (contract N4).
///
/// A socket that `PodInit` makes and passes may have a second holder in the pod. `O_NONBLOCK` belongs to all holders,
/// so that holder could make a read or a write of the platform's event loop block. Therefore the platform makes the
/// sockets in the pod's network namespace itself and connects them, which needs no namespace. Safe from any task.
package final class PodSockets: Sendable {
    /// How sockets in pods' networks are made. Found out with the first namespace; it never changes afterwards.
    package enum Way: String, Sendable {
        /// By a thread of the platform.
        case thread
        /// By a short process of the platform, which enters the user namespace that owns the pod's network. It cannot
        /// return from there.
        case helper
        /// By the pod's `PodInit`: the kernel permits nothing else.
        case podInit = "pod-init"
    }

    /// How long one run of the helper may take. A caller stops waiting sooner, and the sockets are kept for the next
    /// one.
    private static let helperTime: Duration = .seconds(60)
    /// How long a namespace that cannot be opened is not tried again.
    private static let recheck: Duration = .seconds(60)
    /// After a failed connection the platform reopens the namespace if it was opened at least this long ago.
    private static let reopen: Duration = .seconds(5)

    private let helper: String
    private let clock: any PlatformClock
    private let mayUseThread: Bool
    private let helperTime: Duration
    private let onWay: @Sendable (Way) -> Void
    private let pools = Mutex<[String: PodSocketPool]>([:])
    private let found = Mutex<Way?>(nil)
    private let saidImpossible = Mutex(false)

    /// - Parameters:
    ///   - helper: the path of `cortex-pod-init`.
    ///   - onWay: called when it is found out how sockets are made: once, and before that at most once with `podInit`
    ///     where the namespace of a pod cannot be opened here.
    package convenience init(
        helper: String, clock: any PlatformClock, onWay: @escaping @Sendable (Way) -> Void = { _ in }
    ) {
        self.init(helper: helper, clock: clock, mayUseThread: true, helperTime: Self.helperTime, onWay: onWay)
    }

    init(
        helper: String, clock: any PlatformClock, mayUseThread: Bool, helperTime: Duration = PodSockets.helperTime,
        onWay: @escaping @Sendable (Way) -> Void = { _ in }
    ) {
        self.helper = helper
        self.clock = clock
        self.mayUseThread = mayUseThread
        self.helperTime = helperTime
        self.onWay = onWay
    }

    /// `nil` until it is found out.
    package var way: Way? { found.withLock { $0 } }

    /// Connects to `127.0.0.1:port` in the pod, or to `[::1]:port` where that refuses.
    ///
    /// - Parameters:
    ///   - pod: the name under which unused sockets are kept until ``forget(_:)``.
    ///   - network: opens the pod's network namespace, which belongs to this object then; `nil`: it cannot be opened on
    ///     this machine.
    /// - Returns: the connected TCP socket, non-blocking and close-on-exec, the caller's to close; `nil` where the
    ///   platform cannot enter the namespaces of pods.
    /// - Throws: `connection_failed` with the system's reason when nothing accepts within `timeout`.
    package func connect(
        pod: String, port: Int, timeout: Duration, network: @escaping @Sendable () async throws -> CInt?
    ) async throws -> CInt? {
        guard let number = UInt16(exactly: port), number > 0 else {
            throw PlatformError(.badRequest, "A port is a number from 1 to 65535.")
        }
        guard way != .podInit else { return nil }
        let deadline = clock.instant() + timeout
        let pool = pools.withLock { pools in
            let pool = pools[pod] ?? PodSocketPool()
            pools[pod] = pool
            return pool
        }
        defer { removeUnused(pool, pod) }
        guard !pool.isImpossible(now: clock.instant()) else { return nil }
        var refusal: CInt = 0
        for isIPv6 in [false, true] {
            let socket: CInt
            do {
                guard let taken = try await take(pool, isIPv6, deadline, network) else { return nil }
                socket = taken
            } catch let error as PlatformError where isIPv6 && error.code == .connectionFailed {
                // The pod may have no IPv6: that the other address refused is what matters.
                break
            }
            let result = try await connect(socket, number, isIPv6, deadline)
            if result == 0 { return socket }
            close(socket)
            if refusal == 0 { refusal = result }
            guard result == ECONNREFUSED else { break }
        }
        pool.dropNetwork(before: clock.instant() - Self.reopen)
        throw PlatformError(.connectionFailed, "Port \(port) of the pod: \(text(refusal)).")
    }

    /// Finds out how sockets are made, with a namespace of which no hostile process has a part. It is closed.
    ///
    /// - Throws: `connection_failed` when that cannot be found out at the moment.
    package func findWay(in network: CInt) async throws -> Way {
        let descriptor = Descriptor(network)
        if let way { return way }
        for socket in try await make(in: descriptor, isIPv6: false, count: { _ in 1 }) ?? [] { close(socket) }
        return way ?? .podInit
    }

    /// How many sockets are kept for a pod.
    package func kept(of pod: String) -> Int { pools.withLock { $0[pod] }?.count ?? 0 }

    /// Closes what is kept for a pod that is gone.
    package func forget(_ pod: String) { pools.withLock { $0.removeValue(forKey: pod) }?.close() }

    private func removeUnused(_ pool: PodSocketPool, _ pod: String) {
        pools.withLock { pools in
            if pools[pod] === pool, pool.isUnused { pools[pod] = nil }
        }
    }

    /// - Returns: 0, or the system's error number.
    /// - Throws: `CancellationError`; the socket is closed then, and only then.
    private func connect(
        _ socket: CInt, _ port: UInt16, _ isIPv6: Bool, _ deadline: Instant
    ) async throws -> CInt {
        var result = -cx_connect_loopback(socket, port, isIPv6 ? 1 : 0)
        var pause = Duration.milliseconds(1)
        while result == EINPROGRESS {
            // Within one machine it takes no time, unless the backlog of the listener is full.
            var event = pollfd(fd: socket, events: Int16(POLLOUT), revents: 0)
            if poll(&event, 1, 0) > 0 {
                result = cx_socket_error(socket)
                break
            }
            guard clock.instant() < deadline else { return ETIMEDOUT }
            do {
                try await clock.sleep(for: pause)
            } catch {
                close(socket)
                throw error
            }
            pause = min(pause * 2, .milliseconds(50))
        }
        return result == 0 && cx_is_self_connected(socket) != 0 ? ECONNREFUSED : result
    }

    // MARK: Sockets

    /// - Returns: a socket that is not connected; `nil` where the platform cannot make any.
    private func take(
        _ pool: PodSocketPool, _ isIPv6: Bool, _ deadline: Instant,
        _ network: @escaping @Sendable () async throws -> CInt?
    ) async throws -> CInt? {
        while true {
            let next = pool.next(isIPv6: isIPv6) {
                Task { [self] in
                    defer { pool.endMaking(isIPv6: isIPv6) }
                    return try await fill(pool, isIPv6, network)
                }
            }
            switch next {
            case .socket(let socket): return socket
            case .closed: throw PlatformError(.connectionFailed, "The pod is gone.")
            case .making(let task):
                defer { pool.endWaiting(isIPv6: isIPv6) }
                do {
                    // The task goes on when this caller leaves: it works for the next one too.
                    let making = try await withTimeLimit(max(deadline - clock.instant(), .zero), clock: clock) {
                        try await task.value
                    }
                    guard making == .done else { return nil }
                } catch let error as PlatformError where error.code == .timedOut {
                    throw PlatformError(
                        .connectionFailed, "No connection into the pod was made in time.", cause: error)
                }
            }
        }
    }

    private func fill(
        _ pool: PodSocketPool, _ isIPv6: Bool, _ network: @Sendable () async throws -> CInt?
    ) async throws -> PodSocketPool.Making {
        let descriptor: Descriptor
        if let kept = pool.network {
            descriptor = kept
        } else if let opened = try await open(network) {
            descriptor = Descriptor(opened)
            pool.keep(descriptor, now: clock.instant())
        } else {
            // What was possible for one pod is possible for each, so this is a failure and no reason to ask `PodInit`.
            guard way == nil else {
                throw PlatformError(.connectionFailed, "The pod's network cannot be opened.")
            }
            pool.noteImpossible(until: clock.instant() + Self.recheck)
            let isFirst = saidImpossible.withLock { said in
                defer { said = true }
                return !said
            }
            if isFirst { onWay(.podInit) }
            return .impossible
        }
        let sockets = try await make(in: descriptor, isIPv6: isIPv6) { [clock] isAdaptive in
            pool.batch(isIPv6: isIPv6, isAdaptive: isAdaptive, now: clock.instant())
        }
        guard let sockets else { return .impossible }
        if pool.add(sockets, isIPv6: isIPv6, now: clock.instant()) { trim(pool) }
        return .done
    }

    private func open(_ network: @Sendable () async throws -> CInt?) async throws -> CInt? {
        do {
            return try await network()
        } catch let error as PlatformError where error.code != .connectionFailed {
            // Such as an engine that does not answer: for the caller no connection was made.
            throw PlatformError(.connectionFailed, error.message, cause: error)
        }
    }

    private func trim(_ pool: PodSocketPool) {
        Task { [clock] in
            repeat { try await clock.sleep(for: PodSocketPool.idle) } while !pool.trim(now: clock.instant())
        }
    }

    /// Makes sockets by the thread, and by the helper where the kernel does not permit that.
    ///
    /// Only its refusal to let the platform in, before it ever did, is a reason for the next way. All else is a failure
    /// of this call.
    ///
    /// - Returns: at least one socket; `nil` where the kernel does not permit any way.
    private func make(
        in network: Descriptor, isIPv6: Bool, count: (_ isAdaptive: Bool) -> Int
    ) async throws -> [CInt]? {
        if way == .podInit { return nil }
        if way != .helper, mayUseThread {
            switch await NetworkThread.shared.makeSockets(in: network, isIPv6: isIPv6, count: count(false)) {
            case .made(let sockets):
                choose(.thread)
                return sockets
            case .failed(let error):
                throw PlatformError(.connectionFailed, "No socket in the pod's network can be made: \(text(error)).")
            case .forbidden:
                guard way == nil else { throw Self.notPermitted }
            }
        }
        if let sockets = try await runHelper(in: network, isIPv6: isIPv6, count: count(true)) {
            choose(.helper)
            return sockets
        }
        guard choose(.podInit) == .podInit else { throw Self.notPermitted }
        return nil
    }

    private static var notPermitted: PlatformError {
        PlatformError(.connectionFailed, "The platform may not enter the pod's network.")
    }

    /// - Returns: the way that holds from now on: this one, if none was found before.
    @discardableResult
    private func choose(_ way: Way) -> Way {
        let (chosen, isNew) = found.withLock { found -> (Way, Bool) in
            if let found { return (found, false) }
            found = way
            return (way, true)
        }
        if isNew { onWay(way) }
        return chosen
    }

    /// - Returns: `nil` where the kernel does not let the platform into the namespace.
    private func runHelper(in network: Descriptor, isIPv6: Bool, count: Int) async throws -> [CInt]? {
        var ends: (CInt, CInt) = (-1, -1)
        let result = cx_socket_pair(&ends.0, &ends.1)
        guard result == 0 else {
            throw PlatformError(.connectionFailed, "The pod cannot be reached: \(text(-result)).")
        }
        let (receiver, sender) = (Descriptor(ends.0), Descriptor(ends.1))
        let helper = self.helper
        let arguments = ["sockets", isIPv6 ? "6" : "4", String(count)]
        let status: TerminationStatus
        do {
            status = try await withTimeLimit(helperTime, clock: clock) {
                try await Subprocess.run(
                    .path(FilePath(helper)), arguments: Arguments(arguments), environment: .custom([:]),
                    input: .fileDescriptor(network.file, closeAfterSpawningProcess: false),
                    output: .fileDescriptor(sender.file, closeAfterSpawningProcess: false), error: .discarded
                ).terminationStatus
            }
        } catch let error as CancellationError {
            throw error
        } catch {
            throw PlatformError(.connectionFailed, "No connection into the pod can be made.", cause: error)
        }
        if case .exited(PodInitLimits.notPermitted) = status { return nil }
        guard status.isSuccess else {
            throw PlatformError(.connectionFailed, "No socket in the pod's network can be made (\(status)).")
        }
        var byte: UInt8 = 0
        var held: CInt = 0
        var passed = [CInt](repeating: -1, count: Int(CX_PASSED))
        let received = cx_receive_all(receiver.number, &byte, 1, &passed, &held)
        guard received == 1, held > 0 else {
            throw PlatformError(.connectionFailed, "No socket in the pod's network was made.")
        }
        return Array(passed[..<Int(held)])
    }
}

extension Descriptor {
    fileprivate var file: FileDescriptor { FileDescriptor(rawValue: number) }
}
