import Core
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Unused sockets of one pod, by address family, and the namespace in which they are made. Safe from any task.
final class PodSocketPool: Sendable {
    /// How many sockets one run of the helper makes: `smallest`, doubled up to `largest` while they are used up within
    /// `soon`.
    private static let smallest = 2
    static let largest = 64
    static let soon: Duration = .seconds(1)
    /// A pool that got nothing new for this long keeps `smallest` sockets of a family.
    static let idle: Duration = .seconds(10)

    /// Whether the sockets can be made here.
    enum Making: Sendable { case done, impossible }

    enum Next {
        case socket(CInt)
        /// Sockets are being made; ask again afterwards.
        case making(Task<Making, any Error>)
        /// The pod is gone.
        case closed
    }

    private struct Family {
        var sockets: [CInt] = []
        var making: Task<Making, any Error>?
        /// Callers that wait for `making`.
        var waiting = 0
        var batch = 0
        var madeAt: Instant?
    }

    private struct State {
        var network: Descriptor?
        var networkAt: Instant?
        /// Until when opening the namespace is known to be impossible.
        var impossibleUntil: Instant?
        var families: [Bool: Family] = [:]
        var isTrimming = false
        var isClosed = false
    }

    private let state = Mutex(State())

    /// Takes a socket, or says which task makes some.
    ///
    /// - Parameter make: called when nothing is kept and no sockets are being made; starts a task that ends with
    ///   ``endMaking(isIPv6:)``.
    func next(isIPv6: Bool, make: () -> Task<Making, any Error>) -> Next {
        state.withLock { state in
            guard !state.isClosed else { return .closed }
            var family = state.families[isIPv6] ?? Family()
            defer { state.families[isIPv6] = family }
            if let socket = family.sockets.popLast() { return .socket(socket) }
            family.waiting += 1
            let making = family.making ?? make()
            family.making = making
            return .making(making)
        }
    }

    /// For each ``Next/making(_:)``, when its wait is over.
    func endWaiting(isIPv6: Bool) { state.withLock { $0.families[isIPv6]?.waiting -= 1 } }

    func endMaking(isIPv6: Bool) { state.withLock { $0.families[isIPv6]?.making = nil } }

    /// How many sockets to make now.
    ///
    /// - Parameter isAdaptive: for the helper, whose start costs more than a socket.
    func batch(isIPv6: Bool, isAdaptive: Bool, now: Instant) -> Int {
        state.withLock { state in
            var family = state.families[isIPv6] ?? Family()
            defer { state.families[isIPv6] = family }
            let isUsedUp = family.madeAt.map { now - $0 < Self.soon } ?? false
            family.batch = isAdaptive ? isUsedUp ? max(Self.smallest, family.batch * 2) : Self.smallest : 1
            family.batch = min(max(family.batch, family.waiting), Self.largest)
            return family.batch
        }
    }

    /// Adds new sockets, or closes them when the pod is gone.
    ///
    /// - Returns: whether the caller is to start calling ``trim(now:)``.
    func add(_ sockets: [CInt], isIPv6: Bool, now: Instant) -> Bool {
        let (surplus, isToTrim) = state.withLock { state -> ([CInt], Bool) in
            guard !state.isClosed else { return (sockets, false) }
            state.families[isIPv6, default: Family()].sockets += sockets
            state.families[isIPv6]?.madeAt = now
            guard sockets.count > Self.smallest, !state.isTrimming else { return ([], false) }
            state.isTrimming = true
            return ([], true)
        }
        for socket in surplus { close(socket) }
        return isToTrim
    }

    /// Closes what a burst of connections left, once the pool is idle.
    ///
    /// - Returns: whether that is done.
    func trim(now: Instant) -> Bool {
        let surplus = state.withLock { state -> [CInt]? in
            let isBusy = state.families.values.contains { $0.madeAt.map { now - $0 < Self.idle } ?? false }
            guard !isBusy || state.isClosed else { return nil }
            state.isTrimming = false
            var surplus: [CInt] = []
            for isIPv6 in state.families.keys {
                let count = state.families[isIPv6]?.sockets.count ?? 0
                guard count > Self.smallest else { continue }
                surplus += state.families[isIPv6]?.sockets.suffix(count - Self.smallest) ?? []
                state.families[isIPv6]?.sockets.removeLast(count - Self.smallest)
            }
            return surplus
        }
        for socket in surplus ?? [] { close(socket) }
        return surplus != nil
    }

    // MARK: The namespace

    var network: Descriptor? { state.withLock { $0.network } }

    func keep(_ network: Descriptor, now: Instant) {
        state.withLock { state in
            guard !state.isClosed else { return }
            state.network = network
            state.networkAt = now
        }
    }

    /// Forgets a namespace that was opened a while ago, with its sockets: the pod may have got another one.
    func dropNetwork(before: Instant) {
        let (left, network) = state.withLock { state -> ([CInt], Descriptor?) in
            guard let opened = state.networkAt, opened < before else { return ([], nil) }
            defer { (state.network, state.networkAt) = (nil, nil) }
            return (Self.takeAll(&state), state.network)
        }
        for socket in left { close(socket) }
        _ = network
    }

    /// Whether opening the namespace failed lately, so that it need not be tried again.
    func isImpossible(now: Instant) -> Bool { state.withLock { $0.impossibleUntil.map { now < $0 } ?? false } }

    func noteImpossible(until instant: Instant) { state.withLock { $0.impossibleUntil = instant } }

    // MARK: The end

    /// Whether nothing is kept and nothing is on its way.
    var isUnused: Bool {
        state.withLock { state in
            state.network == nil && state.impossibleUntil == nil
                && state.families.values.allSatisfy { $0.sockets.isEmpty && $0.waiting == 0 && $0.making == nil }
        }
    }

    /// Closes all that is kept, and later all that is being made.
    func close() {
        let (left, network) = state.withLock { state -> ([CInt], Descriptor?) in
            defer { state.network = nil }
            state.isClosed = true
            return (Self.takeAll(&state), state.network)
        }
        for socket in left { closeDescriptor(socket) }
        _ = network
    }

    /// How many sockets are kept.
    var count: Int { state.withLock { $0.families.values.reduce(0) { $0 + $1.sockets.count } } }

    private static func takeAll(_ state: inout State) -> [CInt] {
        var all: [CInt] = []
        for isIPv6 in state.families.keys {
            all += state.families[isIPv6]?.sockets ?? []
            state.families[isIPv6]?.sockets = []
        }
        return all
    }

    private func close(_ descriptor: CInt) { closeDescriptor(descriptor) }
}
