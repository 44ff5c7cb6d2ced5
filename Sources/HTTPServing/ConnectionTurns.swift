import NIOCore

/// Sees to it that a connection has a task while there is something to do, and none while nothing is: a caller that
/// waits for an answer which is not there yet, or that has sent nothing so far, costs its channel and this object (a
/// task with its frames takes more than both).
///
/// Everything here happens on the event loop, but for what is said otherwise.
final class ConnectionTurns {
    /// A turn that wants a task: taken up by the server, so that the task is one of its children.
    struct Turn: Sendable {
        let executor: any TaskExecutor
        /// The connection's work until it has nothing to do.
        let run: @Sendable () async -> Void
    }

    private enum Stage {
        /// No task: nothing came that is not answered.
        case idle
        /// No task: the answer is not there yet.
        case waiting(WaitingAnswer)
        case running
        /// Nothing is answered any more.
        case over
    }

    let stream: ConnectionStream
    let caller: CallerPresence
    private let queue: AsyncStream<Turn>.Continuation
    private let work: @Sendable (ConnectionStream, CallerPresence, WaitingAnswer?) async -> WaitingAnswer?
    private var stage = Stage.idle
    private var isClosed = false
    private let over: EventLoopPromise<Void>

    /// - Parameter work: answers requests, first the waiting one, until the connection is to be closed (`nil`) or an
    ///   answer has to wait.
    init(
        _ parts: ConnectionParts, channel: any Channel, caller: CallerPresence, queue: AsyncStream<Turn>.Continuation,
        work: @escaping @Sendable (ConnectionStream, CallerPresence, WaitingAnswer?) async -> WaitingAnswer?
    ) {
        self.stream = ConnectionStream(parts, channel: channel)
        self.caller = caller
        self.queue = queue
        self.work = work
        self.over = channel.eventLoop.makePromise()
        parts.onUnclaimedPart = { [weak self] in self?.arrived() }
        let me = NIOLoopBound(self, eventLoop: channel.eventLoop)
        channel.closeFuture.whenComplete { _ in me.value.closed() }
    }

    /// The connection is closed and nothing of its work goes on. From any thread.
    var whenOver: EventLoopFuture<Void> { over.futureResult }

    private func arrived() {
        if case .idle = stage { start(nil) }
    }

    private func closed() {
        isClosed = true
        settle()
    }

    private func start(_ waiting: WaitingAnswer?) {
        stage = .running
        let turn = Turn(executor: stream.executor) { [stream, caller, work, me = bound] in
            let waiting = await work(stream, caller, waiting)
            await stream.onLoop { me.value.ended(waiting) }
        }
        if case .terminated = queue.yield(turn) {
            // The server is gone: there will be no answer.
            stream.channel.close(promise: nil)
            ended(nil)
        }
    }

    private func ended(_ waiting: WaitingAnswer?) {
        guard let waiting else {
            stage = .over
            return settle()
        }
        stage = .waiting(waiting)
        waiting.answer.whenReady { [me = bound, loop = stream.channel.eventLoop] in
            loop.execute { me.value.ready() }
        }
    }

    private func ready() {
        if case .waiting(let waiting) = stage { start(waiting) }
    }

    private func settle() {
        guard isClosed else { return }
        switch stage {
        case .idle, .over: over.succeed()
        case .waiting, .running: break
        }
    }

    private var bound: NIOLoopBound<ConnectionTurns> { NIOLoopBound(self, eventLoop: stream.channel.eventLoop) }
}

@available(*, unavailable)
extension ConnectionTurns: Sendable {}

/// A request whose answer is not there yet, and what has to be known to send it.
struct WaitingAnswer: Sendable {
    let answer: any PendingReply
    let framing: AnswerFraming
}

/// What of a request decides how its answer is framed.
struct AnswerFraming: Sendable {
    /// Whether `HEAD` was asked for: no body then.
    var isHead = false
    /// Whether the caller speaks HTTP/1.0.
    var isOld = false
    /// Whether another request may follow on this connection.
    var mayKeepAlive = false
}
