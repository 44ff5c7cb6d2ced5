import Core
import NIOCore
import NIOHTTP1
import Support

/// One accepted connection: what has arrived on it, and whether a task answers it. The last handler of the pipeline;
/// confined to its event loop.
///
/// ```
/// reading ──bytes of a request arrive──▶ answering ──the answer is not ready──▶ parked
///                                         │  │  ▲                               │
///                                         │  │  └──────the reply is ready───────┘
///                                         │  └──a handler takes the channel──▶ handed over
///                                         └──last answer written, or caller gone──▶ closed
/// reading ──head of a request that an exchange answers──▶ exchanging ──response sent──▶ reading
/// ```
///
/// A new and a parked connection hold no task: a suspended task with its frames takes more memory than the channel and
/// this object together. Between two requests the task is kept, because another request usually follows at once. A
/// parked connection resumes as often as its reply returns another wait, so a reply may also send a part of its answer
/// each time. An exchange (``ServerExchange``) needs no task either: it is called with each part.
///
/// The socket is read while few parts wait for the task. So a caller's leaving is noticed during a long answer, and a
/// fast caller cannot fill the memory.
final class Connection: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        /// No task: nothing has arrived that is not answered.
        case reading
        /// A task is answering, or the server was asked for one. With the parked reply that it will begin with.
        case answering(ParkedReply?)
        /// No task: the reply will report when it is ready.
        case parked(ParkedReply)
        /// No task: the exchange gets the parts; `nil` when it is over, and the rest of its request is dropped.
        case exchanging((any ServerExchange)?)
        /// The output is closed behind the last response; what arrives is dropped.
        case lingering
        /// Nothing more is answered.
        case closed
        /// The channel belongs to a handler's ``ConnectionTaker``.
        case handedOver
    }

    /// The number of waiting parts from which on the socket is not read; one read may bring more.
    private static let waitingParts = 8

    let caller = CallerPresence()
    /// Set while the connection is in its pipeline.
    var guardian: ConnectionGuard?
    let responder: Responder
    private let tasks: AsyncStream<ConnectionHandle>.Continuation
    private let executor: LoopTaskExecutor
    private let capacity: ServerCapacity
    /// Succeeds when the connection is closed and no task of it is left.
    private let over: EventLoopPromise<Void>
    private var state = State.reading
    private var context: ChannelHandlerContext?
    private var isRemoved = false

    /// What has arrived and was not taken. Taken from the front; few, so that moving them costs little.
    private var parts: [HTTPServerRequestPart] = []
    /// Nothing more arrives.
    private var isInputOver = false
    /// The reason to refuse the present request, behind the parts before it.
    private var fault: HTTPFault?
    /// No more parts are taken from the caller.
    private var isRefused = false
    private var isReadHeld = false
    /// The parser stops behind the present request: see ``stopParsing()``.
    private(set) var isParsingOver = false
    /// Whether the present exchange has all of its request.
    private var hasWholeRequest = false
    /// Nothing more is read for the present exchange.
    private var isExchangeHeld = false
    /// Bytes of the rest of its request that were dropped.
    private var dropped = 0
    private var isPumping = false
    private var exchangeCaller: ExchangeCaller?
    private var reader: CheckedContinuation<Void, Never>?
    private var writer: CheckedContinuation<Void, Never>?
    /// Bytes of bodies in memory, and those of them that the task has taken.
    private var held = 0
    private var taken = 0

    /// - Parameters:
    ///   - tasks: where the connection asks its server for a task.
    ///   - over: succeeds when the connection is closed and no task of it is left.
    init(
        on loop: any EventLoop, responder: Responder, tasks: AsyncStream<ConnectionHandle>.Continuation,
        capacity: ServerCapacity, over: EventLoopPromise<Void>
    ) {
        self.responder = responder
        self.tasks = tasks
        self.executor = LoopTaskExecutor(loop)
        self.capacity = capacity
        self.over = over
    }

    /// The connection for callers on other threads. Made on the event loop.
    var handle: ConnectionHandle { ConnectionHandle(self, executor) }

    /// Whether parts wait for the task.
    var hasUntakenParts: Bool { !parts.isEmpty || isExchangeHeld }

    /// Whether an exchange answers the present request.
    var hasExchange: Bool {
        if case .exchanging(_?) = state { true } else { false }
    }

    // MARK: States

    /// Something arrived, or the input ended.
    private func wake() {
        if let reader = reader.take() {
            reader.resume()
        } else {
            pump()
        }
    }

    /// Asks the server for a task, so that the task is one of the server's children.
    private func answer(resuming parked: ParkedReply?) {
        state = .answering(parked)
        guard case .terminated = tasks.yield(handle) else { return }
        // The server has ended: there will be no answer.
        close()
    }

    /// The connection's task, until there is nothing to do.
    nonisolated(nonsending) func run() async {
        let rest = await responder.serve(self)
        guard case .answering = state else { return }
        switch rest {
        case .nothing: close()
        case .park(let parked): park(parked)
        case .exchange(let request, let head, let match):
            guard let caller = callerOfExchange() else { return close() }
            begin(match.handler.exchange(for: request, head, at: match.rest, caller: caller))
            pump()
        }
    }

    private func park(_ parked: ParkedReply) {
        state = .parked(parked)
        parked.reply.whenReady { [handle, loop = executor.loop] in loop.execute { handle.resume() } }
    }

    fileprivate func resume() {
        if case .parked(let parked) = state { answer(resuming: parked) }
    }

    /// Closes the connection now.
    func close() {
        state = .closed
        context?.close(promise: nil)
        completeIfOver()
    }

    /// Closes the channel, whatever its task does: the task finds that out.
    fileprivate func abort() {
        context?.close(promise: nil)
    }

    private func completeIfOver() {
        if isRemoved, case .closed = state { over.succeed() }
    }

    // MARK: Exchanges

    /// Gives what has arrived to the present exchange, begins the next one, or asks for a task. Every function that
    /// changes the state of an exchange may be called from here, so it is a loop and not a recursion.
    private func pump() {
        guard !isPumping else { return }
        isPumping = true
        defer { isPumping = false }
        while true {
            switch state {
            case .reading:
                guard !parts.isEmpty || fault != nil || isInputOver else { return }
                // Nothing can be done for a channel that is closed.
                guard let context, context.channel.isActive else { return close() }
                guard case .head(let head)? = parts.first,
                    let exchange = responder.exchange(for: head, on: self, callerOfExchange())
                else { return answer(resuming: nil) }
                begin(exchange)
                _ = takePart()
            case .exchanging(let exchange):
                guard !hasWholeRequest, !parts.isEmpty else { return endPump(exchange) }
                give(takePart(), to: exchange)
            case .lingering:
                // Read on, or the caller could not finish sending and would lose the response.
                while !parts.isEmpty { release(takePart()) }
                if isInputOver { close() }
                return
            case .answering, .parked, .closed, .handedOver:
                return
            }
        }
    }

    /// Nothing is left to give: the read is over, or the request cannot be read further.
    private func endPump(_ exchange: (any ServerExchange)?) {
        guard let exchange else {
            // The rest of the request does not come.
            if !hasWholeRequest, fault != nil || isInputOver { close() }
            return
        }
        if !hasWholeRequest, let fault = fault.take() {
            hasWholeRequest = true
            exchange.requestFailed(fault)
        } else if isInputOver, caller.hasFinished {
            close()
            exchange.callerGone()
        } else {
            // The parser may have ended behind this request: that is for the next one.
            exchange.readEnded()
        }
    }

    private func begin(_ exchange: any ServerExchange) {
        hasWholeRequest = false
        isExchangeHeld = false
        dropped = 0
        state = .exchanging(exchange)
    }

    private func give(_ part: HTTPServerRequestPart, to exchange: (any ServerExchange)?) {
        switch part {
        case .head:
            close()
        case .body(let bytes):
            release(part)
            if let exchange { return exchange.received(bytes) }
            dropped += bytes.readableBytes
            if dropped > Responder.drainedBody { linger() }
        case .end(let trailers):
            hasWholeRequest = true
            if let exchange { return exchange.receivedEnd(trailers) }
            nextRequest()
        }
    }

    /// The bytes of a part are not held here any more.
    private func release(_ part: HTTPServerRequestPart) {
        guard case .body(let bytes) = part else { return }
        held -= bytes.readableBytes
        capacity.releaseBody(bytes.readableBytes)
    }

    private func takePart() -> HTTPServerRequestPart {
        let part = parts.removeFirst()
        readIfWanted()
        return part
    }

    private func readIfWanted() {
        guard isReadHeld, !isExchangeHeld, parts.count < Self.waitingParts else { return }
        isReadHeld = false
        context?.read()
    }

    private func nextRequest() {
        state = .reading
        pump()
    }

    private func callerOfExchange() -> ExchangeCaller? {
        if let exchangeCaller { return exchangeCaller }
        guard let channel = context?.channel else { return nil }
        let caller = ExchangeCaller(self, channel: channel, peer: capacity.callerPeer(of: channel))
        channel.watchForVanishedPeer()
        // What is read at once, before a slow container is noticed: 128 KiB at most (contract R5).
        try? channel.syncOptions?.setOption(.maxMessagesPerRead, value: 2)
        exchangeCaller = caller
        return caller
    }

    /// Nothing more is read for the present exchange. What is read all the same is given to it.
    func holdExchange() { isExchangeHeld = true }

    func resumeExchange() {
        isExchangeHeld = false
        readIfWanted()
    }

    /// All of the response is written.
    func finishExchange(keepAlive: Bool) {
        guard case .exchanging = state else { return }
        guardian?.flush()
        guardian?.sentEnd()
        isExchangeHeld = false
        guard keepAlive, !caller.isLeaving else { return linger() }
        guard hasWholeRequest else {
            state = .exchanging(nil)
            return readIfWanted()
        }
        nextRequest()
    }

    /// Closes the output behind the responses, and the connection when the caller has closed it too or after a time: if
    /// it were closed with bytes of the caller unread, the system would discard the response.
    private func linger() {
        guard let context else { return }
        state = .lingering
        let channel = context.channel
        let sent = context.eventLoop.makePromise(of: Void.self)
        guardian?.sendAll(sent)
        let time = TimeAmount(responder.limits.lingerTime)
        sent.futureResult.whenComplete { _ in
            channel.close(mode: .output, promise: nil)
            let deadline = channel.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
            channel.closeFuture.whenComplete { _ in deadline.cancel() }
        }
        isExchangeHeld = false
        readIfWanted()
        if isInputOver { close() }
    }

    // MARK: For the task

    /// The parked reply that the task begins with, once.
    func takeParked() -> ParkedReply? {
        guard case .answering(let parked) = state else { return nil }
        state = .answering(nil)
        return parked
    }

    /// The next part of a request; `nil` at the end of the input.
    ///
    /// - Throws: ``HTTPFault`` for a request that is malformed or refused, behind the parts before it.
    nonisolated(nonsending) func next() async throws -> HTTPServerRequestPart? {
        while parts.isEmpty {
            if let fault = fault.take() { throw fault }
            if isInputOver { return nil }
            await withCheckedContinuation { continuation in
                // The event loop may have run something else since the checks above.
                if parts.isEmpty, fault == nil, !isInputOver { reader = continuation } else { continuation.resume() }
            }
        }
        let part = parts.removeFirst()
        if case .body(let bytes) = part { taken += bytes.readableBytes }
        readIfWanted()
        return part
    }

    /// Sends parts; returns when the socket can take more.
    ///
    /// - Throws: when the connection is closed.
    nonisolated(nonsending) func write(_ parts: [HTTPServerResponsePart]) async throws {
        guard let context, context.channel.isActive else { throw ChannelError.ioOnClosedChannel }
        var isEnd = false
        for part in parts {
            context.write(wrapOutboundOut(part), promise: nil)
            if case .end = part { isEnd = true }
        }
        context.flush()
        if isEnd { guardian?.sentEnd() }
        while !context.channel.isWritable {
            guardian?.answerWaits()
            guard context.channel.isActive else { throw ChannelError.ioOnClosedChannel }
            await withCheckedContinuation { continuation in
                let isWaiting = context.channel.isActive && !context.channel.isWritable
                if isWaiting { writer = continuation } else { continuation.resume() }
            }
        }
    }

    /// Asks a caller that sent `Expect: 100-continue` for its body.
    nonisolated(nonsending) func writeContinue() async throws {
        try await write([.head(HTTPResponseHead(version: .http1_1, status: .continue))])
        guardian?.sentContinue()
    }

    /// Up to `count` bytes of the body that the task has taken are not in memory any more.
    func release(_ count: Int) {
        let count = min(count, taken)
        guard count > 0 else { return }
        taken -= count
        held -= count
        capacity.releaseBody(count)
    }

    /// Closes the output behind the answers, and the connection when the caller has closed it too or after `time`. The
    /// caller gets to read the answer: if the connection were closed with bytes of the caller unread, the system would
    /// discard the answer.
    nonisolated(nonsending) func closeOutput(lingering time: TimeAmount) async throws {
        await guardian?.sendAll()
        guard let context else { return }
        let channel = context.channel
        context.close(mode: .output, promise: nil)
        let deadline = channel.eventLoop.scheduleTask(in: time) { channel.close(promise: nil) }
        defer { deadline.cancel() }
        while try await next() != nil {}
    }

    // MARK: Hand-over

    /// The parser takes no bytes behind the present request, which offers an upgrade. The guard limits how many are
    /// kept.
    func stopParsing() {
        isParsingOver = true
        if case .end = parts.last { guardian?.parsingEnded() }
    }

    /// Whether the channel can be given away with all bytes behind the request: the caller has not closed its sending
    /// side, and has not sent too many.
    var canHandOver: Bool {
        isParsingOver && parts.isEmpty && !isInputOver && guardian?.hasAllUnparsed == true
    }

    /// Gives the channel to `taker`, with the bytes that arrived behind the request. All of the request was read, and
    /// all of the response is written.
    ///
    /// - Throws: ``CallerGone`` unless ``canHandOver``; errors of `taker`. The connection must be closed then.
    func handOver(to taker: ConnectionTaker) throws {
        guard let context, let guardian, canHandOver, !caller.isLeaving else { throw CallerGone() }
        guardian.handOver()
        let channel = context.channel
        let pipeline = context.pipeline.syncOperations
        // What the taker writes must not reach the encoder, and the bytes behind the request must reach the taker: the
        // decoder forwards them when it is removed.
        let decoder = try pipeline.context(handlerType: ByteToMessageHandler<HTTPRequestDecoder>.self)
        let encoder = try pipeline.context(handlerType: HTTPResponseEncoder.self)
        pipeline.removeHandler(context: encoder, promise: nil)
        try taker(channel)
        state = .handedOver
        channel.closeFuture.whenComplete { [over] _ in over.succeed() }
        pipeline.removeHandler(context: context, promise: nil)
        let removed = channel.eventLoop.makePromise(of: Void.self)
        pipeline.removeHandler(context: decoder, promise: removed)
        removed.futureResult.whenComplete { _ in
            channel.pipeline.fireChannelReadComplete()
            // The socket may have been left alone while parts of the request waited.
            channel.read()
        }
    }

    // MARK: For the guard and the channel

    /// Makes `fault` the end of the present request, behind the parts before it. Nothing more is taken.
    func refuse(_ fault: HTTPFault) {
        guard !isInputOver, !isRefused else { return }
        isRefused = true
        self.fault = fault
        wake()
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        endInput()
        self.context = nil
        // Each of them refers to this object.
        exchangeCaller = nil
        guardian = nil
        isRemoved = true
        if held > 0 { capacity.releaseBody(held) }
        held = 0
        taken = 0
        completeIfOver()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = unwrapInboundIn(data)
        guard !isRefused else { return }
        switch part {
        case .head:
            guardian?.receivedHead()
        case .body(let bytes):
            let count = bytes.readableBytes
            guard capacity.takeBody(count, besides: held) else {
                guardian?.refuse(ServerCapacity.bodiesFault)
                return
            }
            held += count
            guardian?.receivedBody(count)
        case .end:
            guardian?.receivedEnd()
            if isParsingOver { guardian?.parsingEnded() }
        }
        parts.append(part)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guardian?.readEnded(last: parts.last)
        if !parts.isEmpty { wake() }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        guard parts.count < Self.waitingParts, !isExchangeHeld else {
            isReadHeld = true
            return
        }
        context.read()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { writer.take()?.resume() }
        if case .exchanging(let exchange?) = state { exchange.writabilityChanged() }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { endInput() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Neither the end of a connection within a request nor a reset is a fault in the request.
        if !isInputOver, !isRefused, let error = error as? HTTPParserError, error != .invalidEOFState {
            fault = guardian?.fault(for: error)
        }
        endInput()
    }

    func channelInactive(context: ChannelHandlerContext) {
        endInput()
        context.fireChannelInactive()
    }

    private func endInput() {
        isInputOver = true
        wake()
        if context?.channel.isActive != true { writer.take()?.resume() }
    }
}

@available(*, unavailable)
extension Connection: Sendable {}

/// A connection for tasks that may run elsewhere: handlers that are not on the event loop read and write bodies
/// through it. Calls go to the event loop first.
///
/// The functions of the hot path are `nonisolated(nonsending)` here and in the gateway: they stay on their caller's
/// executor, which spares every call two lookups of the task's preferred executor.
struct ConnectionHandle: Sendable {
    private let connection: NIOLoopBound<Connection>
    let executor: LoopTaskExecutor

    fileprivate init(_ connection: Connection, _ executor: LoopTaskExecutor) {
        self.connection = NIOLoopBound(connection, eventLoop: executor.loop)
        self.executor = executor
    }

    private var isOnLoop: Bool { executor.loop.inEventLoop }

    private func onLoop<Result>(_ body: () async throws -> Result) async rethrows -> Result {
        try await withTaskExecutorPreference(executor, operation: body)
    }

    /// The connection's task. Runs with the preference for ``executor``.
    func run() async {
        await connection.value.run()
    }

    nonisolated(nonsending) func next() async throws -> HTTPServerRequestPart? {
        guard isOnLoop else { return try await onLoop { try await connection.value.next() } }
        return try await connection.value.next()
    }

    nonisolated(nonsending) func write(_ parts: [HTTPServerResponsePart]) async throws {
        guard isOnLoop else { return try await onLoop { try await connection.value.write(parts) } }
        try await connection.value.write(parts)
    }

    nonisolated(nonsending) func writeContinue() async throws {
        guard isOnLoop else { return try await onLoop { try await connection.value.writeContinue() } }
        try await connection.value.writeContinue()
    }

    /// See ``Connection/release(_:)``.
    func release(_ count: Int) {
        if isOnLoop {
            connection.value.release(count)
        } else {
            executor.loop.execute { connection.value.release(count) }
        }
    }

    /// Closes the connection now. From any thread.
    func abort() {
        executor.loop.execute { connection.value.abort() }
    }

    /// On the event loop.
    fileprivate func resume() {
        connection.value.resume()
    }
}
