import NIOCore
import NIOHTTP1
import Support

/// What a connection brought and was not taken yet, and who waits for more. Everything here happens on the event
/// loop.
///
/// The socket is read while few parts wait, so that a caller's leaving is noticed during a long answer, and a fast
/// caller cannot fill the memory.
final class ConnectionParts: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// Parts that wait at most before the socket is left alone; one read may bring more.
    private static let limit = 8

    private var context: ChannelHandlerContext?
    /// Taken from the front; few, so that moving them costs nothing.
    private var parts: [HTTPServerRequestPart] = []
    /// Nothing more comes; with the reason where that is a fault.
    private var isOver = false
    private var failure: (any Error)?
    private var isReadHeld = false
    private var reader: CheckedContinuation<Void, Never>?
    private var writer: CheckedContinuation<Void, Never>?
    /// Called when something came, or the end, and there is no reader.
    var onUnclaimedPart: (() -> Void)?
    /// Set while the connection is open.
    var guardian: ConnectionGuard?
    private let capacity: ServerCapacity
    /// Bytes of bodies that are in memory, and those of them that the task has taken.
    private var held = 0
    private var taken = 0
    /// Nothing more of the caller's is taken.
    private var isRefused = false

    init(capacity: ServerCapacity) {
        self.capacity = capacity
    }

    /// Whether something waits to be taken by the connection's task.
    var isUntaken: Bool { !parts.isEmpty }

    // MARK: For the connection's task

    /// The next part; `nil` at the end.
    ///
    /// - Throws: what broke the connection, after the parts before it.
    nonisolated(nonsending) func next() async throws -> HTTPServerRequestPart? {
        while parts.isEmpty {
            if let failure {
                self.failure = nil
                throw failure
            }
            if isOver { return nil }
            await withCheckedContinuation { continuation in
                // The event loop may have run something else since the look above.
                if parts.isEmpty, failure == nil, !isOver { reader = continuation } else { continuation.resume() }
            }
        }
        let part = parts.removeFirst()
        if case .body(let bytes) = part { taken += bytes.readableBytes }
        if isReadHeld, parts.count < Self.limit {
            isReadHeld = false
            context?.read()
        }
        return part
    }

    /// Sends parts; returns when the socket can take more.
    ///
    /// - Throws: when the connection is gone.
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

    /// Asks a caller that waits for that to send its body.
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

    /// Makes `fault` the end of the present request, behind what came before it. Nothing more is taken.
    func refuse(_ fault: HTTPFault) {
        guard !isOver, !isRefused else { return }
        isRefused = true
        failure = fault
        wake()
    }

    /// Ends the answers, behind those that were written.
    func finish() {
        context?.close(mode: .output, promise: nil)
    }

    // MARK: For the channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
        guardian = nil
        if held > 0 { capacity.releaseBody(held) }
        held = 0
        taken = 0
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
        }
        parts.append(part)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guardian?.readEnded(last: parts.last)
        if !parts.isEmpty { wake() }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        guard parts.count < Self.limit else {
            isReadHeld = true
            return
        }
        context.read()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { writer.take()?.resume() }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event { end() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !isOver, !isRefused {
            // Neither the end of a connection within a request nor a reset is a fault in the request.
            if let error = error as? HTTPParserError, error != .invalidEOFState, let guardian {
                failure = guardian.fault(for: error)
            } else {
                failure = CallerGone()
            }
        }
        end()
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        writer.take()?.resume()
        context.fireChannelInactive()
    }

    private func wake() {
        if let reader = reader.take() { reader.resume() } else { onUnclaimedPart?() }
    }

    private func end() {
        isOver = true
        wake()
        if context?.channel.isActive != true { writer.take()?.resume() }
    }
}

@available(*, unavailable)
extension ConnectionParts: Sendable {}

/// A connection as its task reads and writes it. Calls from elsewhere go to the event loop first.
///
/// The functions of the hot path are `nonisolated(nonsending)` here and in the gateway: they stay where their caller
/// is, which spares every call two looks at the task's preferred executor.
struct ConnectionStream: Sendable {
    let channel: any Channel
    private let parts: NIOLoopBound<ConnectionParts>
    let executor: LoopTaskExecutor

    /// To be made on the channel's event loop.
    init(_ parts: ConnectionParts, channel: any Channel) {
        self.channel = channel
        self.parts = NIOLoopBound(parts, eventLoop: channel.eventLoop)
        self.executor = LoopTaskExecutor(channel.eventLoop)
    }

    /// Runs `body` on the event loop.
    func onLoop<Result>(_ body: () async throws -> Result) async rethrows -> Result {
        try await withTaskExecutorPreference(executor, operation: body)
    }

    nonisolated(nonsending) func next() async throws -> HTTPServerRequestPart? {
        guard channel.eventLoop.inEventLoop else { return try await onLoop { try await parts.value.next() } }
        return try await parts.value.next()
    }

    nonisolated(nonsending) func write(_ parts: [HTTPServerResponsePart]) async throws {
        guard channel.eventLoop.inEventLoop else { return try await onLoop { try await self.parts.value.write(parts) } }
        try await self.parts.value.write(parts)
    }

    nonisolated(nonsending) func write(_ part: HTTPServerResponsePart) async throws {
        try await write([part])
    }

    nonisolated(nonsending) func writeContinue() async throws {
        guard channel.eventLoop.inEventLoop else { return try await onLoop { try await parts.value.writeContinue() } }
        try await parts.value.writeContinue()
    }

    /// Up to `count` bytes of the body that were taken are not in memory any more.
    func release(_ count: Int) {
        if channel.eventLoop.inEventLoop {
            parts.value.release(count)
        } else {
            channel.eventLoop.execute { [parts] in parts.value.release(count) }
        }
    }

    func finish() async {
        guard channel.eventLoop.inEventLoop else { return await onLoop { parts.value.finish() } }
        parts.value.finish()
    }
}
