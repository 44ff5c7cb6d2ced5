import ContainerHTTP
import Core
import NIOCore
import Synchronization

/// The connections into one replica, at most as many as it has slots (contract R10). Idle ones are kept by event loop.
/// Safe from any thread.
final class ReplicaConnections: Sendable {
    /// Where the connection of a request comes from.
    enum Source: Sendable {
        /// An idle one of the same event loop.
        case idle(NIOLoopBound<ContainerLink>)
        /// An idle one of another event loop, to be moved. It is counted twice until it is detached.
        case move(NIOLoopBound<ContainerLink>, from: any EventLoop)
        /// A new one.
        case connect
        /// A new one, after this idle one is closed.
        case replace(NIOLoopBound<ContainerLink>, on: any EventLoop)
    }

    private struct Idle: Sendable {
        let link: NIOLoopBound<ContainerLink>
        let since: Instant
    }

    private struct PerLoop {
        let loop: any EventLoop
        /// The one that was used last is the last.
        var idle: [Idle] = []
    }

    private struct State {
        /// Open connections, and those that are being opened.
        var open = 0
        var loops: [ObjectIdentifier: PerLoop] = [:]
        var isClosed = false
    }

    private let state = Mutex(State())

    /// A connection for a request that has a slot. To be called on `loop`. Every result but `idle` counts a connection,
    /// until it is closed, or ``notOpened()``.
    ///
    /// - Parameters:
    ///   - mayReuse: whether an idle connection may be used.
    ///   - limit: the number of slots.
    func take(on loop: any EventLoop, mayReuse: Bool, limit: Int) -> Source {
        state.withLock { state in
            let key = ObjectIdentifier(loop)
            if mayReuse {
                while let idle = state.loops[key]?.idle.popLast() {
                    if idle.link.value.isReusable { return .idle(idle.link) }
                }
            }
            state.open += 1
            guard state.open > limit else { return .connect }
            // Own ones are preferred, because closing them takes no change of thread.
            for key in [key] + state.loops.keys.filter({ $0 != key }) {
                guard let perLoop = state.loops[key], let idle = state.loops[key]?.idle.popLast() else { continue }
                return mayReuse ? .move(idle.link, from: perLoop.loop) : .replace(idle.link, on: perLoop.loop)
            }
            return .connect
        }
    }

    /// Makes a link of a connected descriptor, for a connection that was counted. To be called on `loop`.
    ///
    /// - Parameter completion: gets the link; `nil` where it could not be made.
    func adopt(
        _ descriptor: CInt, on loop: any EventLoop, transport: any ContainerTransport, wasUsedBefore: Bool,
        _ completion: @escaping (ContainerLink?) -> Void
    ) {
        let box = NIOLoopBound(LinkBox(), eventLoop: loop)
        ContainerLink.adopt(descriptor, loop: loop, transport: transport, wasUsedBefore: wasUsedBefore) {
            guard !box.value.isClosed else { return }
            box.value.isClosed = true
            self.closed(box.value.link.take(), on: loop)
        }.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let link):
                if !box.value.isClosed { box.value.link = link }
                completion(link)
            case .failure:
                if !box.value.isClosed {
                    box.value.isClosed = true
                    self.notOpened()
                }
                completion(nil)
            }
        }
    }

    /// A connection that was counted could not be opened.
    func notOpened() {
        state.withLock { $0.open -= 1 }
    }

    /// A connection is closed. To be called on its event loop.
    private func closed(_ link: ContainerLink?, on loop: any EventLoop) {
        state.withLock { state in
            state.open -= 1
            guard let link else { return }
            state.loops[ObjectIdentifier(loop)]?.idle.removeAll { $0.link.value === link }
        }
    }

    /// Keeps a connection for a later request, or closes it. To be called on its event loop.
    func give(back link: ContainerLink, on loop: any EventLoop, now: Instant) {
        guard link.isReusable else { return link.close() }
        link.rest(since: now)
        let isKept = state.withLock { state -> Bool in
            guard !state.isClosed else { return false }
            let idle = Idle(link: NIOLoopBound(link, eventLoop: loop), since: now)
            state.loops[ObjectIdentifier(loop), default: PerLoop(loop: loop)].idle.append(idle)
            return true
        }
        if !isKept { link.close() }
    }

    /// Closes the connections that are idle since before `oldest`.
    func closeIdle(since oldest: Instant) {
        close { $0.since < oldest }
    }

    /// Sets whether idle connections are kept. If not, those that are idle are closed now, and later ones as soon as
    /// they are idle.
    func setKept(_ isKept: Bool) {
        state.withLock { $0.isClosed = !isKept }
        if !isKept { close { _ in true } }
    }

    private func close(_ isDue: (Idle) -> Bool) {
        let due = state.withLock { state -> [(any EventLoop, NIOLoopBound<ContainerLink>)] in
            var due: [(any EventLoop, NIOLoopBound<ContainerLink>)] = []
            for key in state.loops.keys {
                guard let perLoop = state.loops[key], perLoop.idle.contains(where: isDue) else { continue }
                due += perLoop.idle.filter(isDue).map { (perLoop.loop, $0.link) }
                state.loops[key]?.idle.removeAll(where: isDue)
            }
            return due
        }
        for (loop, link) in due { loop.execute { link.value.close() } }
    }
}

/// The link of a connection that is being made, for the code that runs when it is closed.
private final class LinkBox {
    var link: ContainerLink?
    var isClosed = false
}
