import ContainerHTTP
import Core
import NIOCore
import Synchronization

/// The connections into one replica, at most as many as it has slots (contract R10). Idle ones are kept by event loop.
/// Safe from any thread.
final class ReplicaConnections: Sendable {
    /// Where the connection of a request comes from.
    private enum Source: Sendable {
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
        /// Few, so they are searched.
        var loops: [PerLoop] = []
        /// Whether idle connections are kept.
        var isKept = true

        func index(of loop: any EventLoop) -> Int? { loops.firstIndex { $0.loop === loop } }
    }

    private let state = Mutex(State())

    /// Gets a connection for a request that has a slot: an idle one at once, otherwise a new one, or one of another
    /// event loop. To be called on `loop`.
    ///
    /// - Parameters:
    ///   - mayReuse: whether an idle connection may be used.
    ///   - limit: the number of slots.
    ///   - completion: gets the link; `nil` where no connection can be opened.
    func link(
        for slot: ReplicaSlot, on loop: any EventLoop, mayReuse: Bool, limit: Int, transport: any ContainerTransport,
        _ completion: @escaping (ContainerLink?) -> Void
    ) -> LinkRequest {
        let request = LinkRequest(completion)
        let bound = NIOLoopBound(request, eventLoop: loop)
        let replica = slot.replica.ready
        switch take(on: loop, mayReuse: mayReuse, limit: limit) {
        case .idle(let link):
            request.complete(link.value)
        case .connect:
            connect(bound, to: replica, on: loop, transport)
        case .replace(let old, let oldLoop):
            oldLoop.execute {
                old.value.close()
                loop.execute { self.connect(bound, to: replica, on: loop, transport) }
            }
        case .move(let old, let oldLoop):
            oldLoop.execute {
                let descriptor = old.value.detach()
                if descriptor == nil { old.value.close() }
                loop.execute {
                    guard let descriptor else { return self.connect(bound, to: replica, on: loop, transport) }
                    self.adopt(descriptor, bound, on: loop, transport, wasUsedBefore: true)
                }
            }
        }
        return request
    }

    private func connect(
        _ request: NIOLoopBound<LinkRequest>, to replica: ReadyReplica, on loop: any EventLoop,
        _ transport: any ContainerTransport
    ) {
        // It may have been cancelled while an old connection was closed.
        guard let attempt = request.value.begin() else { return notOpened() }
        // Ends with the attempt, which the request cancels.
        Task {
            let descriptor = try? await attempt.descriptor(
                replica.connector, port: replica.api.specification.pod.port)
            loop.execute {
                guard let descriptor else {
                    self.notOpened()
                    return request.value.complete(nil)
                }
                self.adopt(descriptor, request, on: loop, transport, wasUsedBefore: false)
            }
        }
    }

    /// Every result but `idle` counts a connection, until it is closed, or ``notOpened()``.
    private func take(on loop: any EventLoop, mayReuse: Bool, limit: Int) -> Source {
        state.withLock { state in
            let own = state.index(of: loop)
            if mayReuse, let own {
                while let idle = state.loops[own].idle.popLast() {
                    if idle.link.value.isReusable { return .idle(idle.link) }
                }
            }
            state.open += 1
            guard state.open > limit else { return .connect }
            // Own ones are preferred, because closing them takes no change of thread.
            for index in (own.map { [$0] } ?? []) + state.loops.indices.filter({ $0 != own }) {
                guard let idle = state.loops[index].idle.popLast() else { continue }
                let old = state.loops[index].loop
                return mayReuse ? .move(idle.link, from: old) : .replace(idle.link, on: old)
            }
            return .connect
        }
    }

    /// Makes a link of a connected descriptor, for a connection that was counted.
    private func adopt(
        _ descriptor: CInt, _ request: NIOLoopBound<LinkRequest>, on loop: any EventLoop,
        _ transport: any ContainerTransport, wasUsedBefore: Bool
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
                request.value.complete(link)
            case .failure:
                if !box.value.isClosed {
                    box.value.isClosed = true
                    self.notOpened()
                }
                request.value.complete(nil)
            }
        }
    }

    /// A connection that was counted could not be opened.
    private func notOpened() {
        state.withLock { $0.open -= 1 }
    }

    /// A connection is closed. To be called on its event loop.
    private func closed(_ link: ContainerLink?, on loop: any EventLoop) {
        state.withLock { state in
            state.open -= 1
            guard let link, let index = state.index(of: loop) else { return }
            state.loops[index].idle.removeAll { $0.link.value === link }
        }
    }

    /// Keeps a connection for a later request, or closes it. To be called on its event loop.
    fileprivate func give(back link: ContainerLink, on loop: any EventLoop, now: Instant) {
        guard link.isReusable else { return link.close() }
        link.rest(since: now)
        let isKept = state.withLock { state -> Bool in
            guard state.isKept else { return false }
            let idle = Idle(link: NIOLoopBound(link, eventLoop: loop), since: now)
            if let index = state.index(of: loop) {
                state.loops[index].idle.append(idle)
            } else {
                state.loops.append(PerLoop(loop: loop, idle: [idle]))
            }
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
        state.withLock { $0.isKept = isKept }
        if !isKept { close { _ in true } }
    }

    private func close(_ isDue: (Idle) -> Bool) {
        let due = state.withLock { state -> [(any EventLoop, NIOLoopBound<ContainerLink>)] in
            var due: [(any EventLoop, NIOLoopBound<ContainerLink>)] = []
            for index in state.loops.indices where state.loops[index].idle.contains(where: isDue) {
                let loop = state.loops[index].loop
                due += state.loops[index].idle.filter(isDue).map { (loop, $0.link) }
                state.loops[index].idle.removeAll(where: isDue)
            }
            return due
        }
        for (loop, link) in due { loop.execute { link.value.close() } }
    }
}

/// A connection that a request waits for. Used on the request's event loop.
final class LinkRequest {
    private var completion: ((ContainerLink?) -> Void)?
    private var attempt: ConnectionAttempt?

    fileprivate init(_ completion: @escaping (ContainerLink?) -> Void) {
        self.completion = completion
    }

    /// The attempt to connect; `nil` for a request that was cancelled.
    fileprivate func begin() -> ConnectionAttempt? {
        guard completion != nil else { return nil }
        let attempt = ConnectionAttempt()
        self.attempt = attempt
        return attempt
    }

    fileprivate func complete(_ link: ContainerLink?) {
        guard let completion = completion.take() else {
            link?.close()
            return
        }
        completion(link)
    }

    /// The completion is not called any more. A connection that is opened all the same is closed.
    func cancel() {
        completion = nil
        attempt?.cancel()
    }
}

extension Gate {
    /// Frees a slot, and keeps its connection for a later request if it can have one. To be called on the event loop of
    /// the connection.
    func end(
        _ slot: ReplicaSlot, returning link: ContainerLink?, on loop: any EventLoop, clock: any PlatformClock
    ) {
        guard let link else { return end(slot, now: clock.instant()) }
        link.release {
            let now = clock.instant()
            slot.replica.connections.give(back: link, on: loop, now: now)
            self.end(slot, now: now)
        }
    }
}

/// The link of a connection that is being made, for the code that runs when it is closed.
private final class LinkBox {
    var link: ContainerLink?
    var isClosed = false
}
