package import Core
package import NIOCore
package import NIOHTTP1

/// One HTTP/1.1 connection into a container, for one request at a time. Everything happens on its event loop.
///
/// The answer is read only as fast as it is taken (`next`), so a fast container cannot fill the memory.
package final class ContainerConnection: ChannelInboundHandler {
    package typealias InboundIn = HTTPClientResponsePart
    package typealias OutboundOut = HTTPClientRequestPart

    /// Pieces that wait at most before the socket is left alone; one read may bring more.
    private static let limit = 4

    /// A piece of the answer.
    package enum Event {
        case head(HTTPResponseHead)
        case body(ByteBuffer)
        case end
        /// Nothing more comes.
        case lost(Loss)
    }

    /// Why a connection brings nothing more.
    package enum Loss {
        /// Closed or reset by the other side, or closed by us.
        case closed
        /// What came is not HTTP, or its headers have no end; a text for people.
        case malformed(String)
    }

    private let limiter: FramingLimiter
    private let descriptor: CInt
    private let transport: any ContainerTransport
    private var context: ChannelHandlerContext?
    /// Taken from the front; few, so that moving them costs nothing.
    private var events: [Event] = []
    private var waiter: CheckedContinuation<Void, Never>?
    private var loss: Loss?
    /// Whether the head of the present request has left this process as a whole; before that no container can have
    /// acted on it.
    package private(set) var isHeadWritten = false
    /// Whether all of the present request has left this process.
    private var isRequestWritten = false
    /// Whether an earlier request was answered on this connection.
    private var isReused = false
    /// Bytes of earlier requests on this connection.
    private var bytesBefore: Int64 = 0
    /// What the system had counted as acknowledged before the first request; `nil` where it does not count.
    private let acknowledgedAtStart: Int64?
    /// Whether the container closed this kept connection, and its system had acknowledged no byte of the present
    /// request.
    private var isClosedUnseen = false
    /// When the connection became idle; the owner sets it with ``rest(since:)``.
    package var idleSince = Instant(microseconds: 0)

    /// Whether the socket is being watched for more. Asking again before it is served spares the system a change of
    /// what it watches.
    private var isReading = false

    private init(limiter: FramingLimiter, descriptor: CInt, transport: any ContainerTransport) {
        self.limiter = limiter
        self.descriptor = descriptor
        self.transport = transport
        self.acknowledgedAtStart = transport.acknowledgement(descriptor)?.bytes
    }

    /// Makes a connection of a connected descriptor, which it owns from now on. To be called on `loop`.
    package static func adopt(
        _ descriptor: CInt, loop: any EventLoop, transport: any ContainerTransport,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> ContainerConnection {
        let channel = try await transport.channel(of: descriptor, on: loop) { channel in
            channel.eventLoop.makeCompletedFuture {
                var limits = NIOHTTPDecoderLimitConfiguration()
                limits.maxHeaderFieldCount = Limits.headerFields
                limits.maxHeaderListSize = Limits.headerBytes
                limits.maxHeaderFieldSize = Limits.headerBytes
                let limiter = FramingLimiter()
                let decoder = HTTPResponseDecoder(
                    leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .drop,
                    limitConfiguration: limits)
                let pipeline = channel.pipeline.syncOperations
                try pipeline.addHandler(limiter)
                try pipeline.addHandler(HTTPRequestEncoder())
                try pipeline.addHandler(ByteToMessageHandler(decoder))
                try pipeline.addHandler(
                    ContainerConnection(limiter: limiter, descriptor: descriptor, transport: transport))
            }
        }.get()
        return try channel.pipeline.syncOperations.handler(type: ContainerConnection.self)
    }

    // MARK: Sending

    /// Whether a request can be sent: open, nothing left over, and no end of file waiting in the socket that the loop
    /// has not seen yet.
    package var isUsable: Bool {
        guard loss == nil, events.isEmpty, let channel = context?.channel, channel.isActive else { return false }
        return transport.isQuiet(descriptor)
    }

    /// Whether the container provably saw nothing of the present request (contract A11): its head never left this
    /// process as a whole, or the container closed a kept connection with FIN, no byte of the request was acknowledged,
    /// its system rejected them, and no byte of an answer arrived.
    package var isRequestUnseen: Bool { isReused && (!isHeadWritten || isClosedUnseen) }

    /// Whether anything arrived since the present request began.
    package var hasReceived: Bool { limiter.hasReceived }

    /// Sends the head and, where it is given, the whole body.
    package func send(_ head: HTTPRequestHead, body: [UInt8]?) {
        isHeadWritten = false
        isRequestWritten = false
        guard let context, loss == nil else { return }
        isReused = limiter.bytesWritten > 0
        bytesBefore = limiter.bytesWritten
        limiter.beginExchange()
        let written = context.eventLoop.makePromise(of: Void.self)
        let me = NIOLoopBound(self, eventLoop: context.eventLoop)
        written.futureResult.whenSuccess { me.value.isHeadWritten = true }
        context.write(wrapOutboundOut(.head(head)), promise: written)
        guard let body else {
            context.flush()
            return
        }
        if body.isEmpty {
            written.futureResult.whenSuccess { me.value.isRequestWritten = true }
        } else {
            let last = context.eventLoop.makePromise(of: Void.self)
            last.futureResult.whenSuccess { me.value.isRequestWritten = true }
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: last)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    /// Sends a piece of the body and returns when the socket took it.
    ///
    /// - Throws: when the connection is gone.
    package func sendBody(_ piece: [UInt8], isolation: isolated (any Actor)? = #isolation) async throws {
        guard let context, loss == nil else { throw ChannelError.ioOnClosedChannel }
        let promise = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: piece)))), promise: promise)
        try await promise.futureResult.get()
    }

    /// Ends a body that was sent in pieces.
    package func endBody() {
        guard let context, loss == nil else { return }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    /// Closes the connection at once; what was not taken of the answer is dropped.
    package func close() {
        lose(.closed)
        context?.close(promise: nil)
    }

    // MARK: Receiving

    /// The next piece of the answer; `lost` again and again after the connection is gone. For one task only.
    package func next(isolation: isolated (any Actor)? = #isolation) async -> Event {
        while events.isEmpty {
            if let loss { return .lost(loss) }
            ask()
            await withCheckedContinuation { continuation in
                // The read may have brought something at once.
                if events.isEmpty, loss == nil { waiter = continuation } else { continuation.resume() }
            }
        }
        defer { ask() }
        return events.removeFirst()
    }

    /// Lets more come while little waits.
    private func ask() {
        guard !isReading, events.count < Self.limit, loss == nil, let context else { return }
        isReading = true
        context.read()
    }

    /// Watches an unused connection, so that its end is noticed.
    package func rest(since now: Instant) {
        idleSince = now
        ask()
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        lose(.closed)
        self.context = nil
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What arrives on a kept connection before the request is written as a whole belongs to an earlier one.
        if isReused, !isRequestWritten, loss == nil {
            lose(.closed)
            context.close(promise: nil)
        }
        guard loss == nil else { return }
        limiter.reset()
        switch unwrapInboundIn(data) {
        case .head(let head): events.append(.head(head))
        case .body(let buffer): events.append(.body(buffer))
        case .end: events.append(.end)
        }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        ask()
        guard !events.isEmpty || loss != nil else { return }
        waiter.take()?.resume()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case HTTPParserError.invalidEOFState: lose(.closed)
        case HTTPParserError.headerOverflow, is FramingLimiter.Overrun:
            lose(
                .malformed(
                    "its headers are larger than \(Limits.headerBytes / 1024) KiB or more than \(Limits.headerFields)"))
        case is HTTPParserError, is NIOHTTPDecoderError:
            lose(.malformed(AnswerFault.reason(head: limiter.rawAnswer, error: error as? HTTPParserError)))
        default: lose(.closed)
        }
        context.close(promise: nil)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, loss == nil, context.channel.isActive {
            // The socket is still open here, so the system can be asked what it knows.
            isClosedUnseen = wasNothingSeen
            lose(.closed)
            context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    private var wasNothingSeen: Bool {
        guard isReused, !limiter.hasReceived, let acknowledgedAtStart,
            let acknowledgement = transport.acknowledgement(descriptor)
        else { return false }
        // Earlier requests were answered, so all of them was acknowledged: a system that does not count proves nothing.
        return acknowledgement.isRejected && acknowledgement.bytes - acknowledgedAtStart == bytesBefore
    }

    package func channelInactive(context: ChannelHandlerContext) {
        lose(.closed)
        context.fireChannelInactive()
    }

    private func lose(_ reason: Loss) {
        if loss == nil { loss = reason }
        waiter.take()?.resume()
    }
}

/// Watches the bytes of a connection: bounds what may arrive without any part of an answer coming of it (headers,
/// interim answers, chunk extensions, trailers), and counts what is written.
final class FramingLimiter: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    struct Overrun: Error {}

    private var bytes = 0
    /// Bytes handed to the channel since the connection began.
    private(set) var bytesWritten: Int64 = 0
    /// Whether anything arrived since the present request began.
    private(set) var hasReceived = false
    /// What arrived in earlier reads without any part of an answer coming of it; empty for nearly every answer.
    private var earlier: [UInt8] = []
    /// The present read, while it is being decoded.
    private var present: ByteBuffer?

    func reset() { bytes = 0 }

    func beginExchange() {
        bytes = 0
        hasReceived = false
        if !earlier.isEmpty { earlier = [] }
    }

    /// What arrived last, for an explanation of why it is no answer; only while it is being decoded.
    var rawAnswer: [UInt8] { earlier + (present.map { Array($0.readableBytesView.prefix(Limits.headerBytes)) } ?? []) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        bytes += buffer.readableBytes
        hasReceived = true
        present = buffer
        context.fireChannelRead(data)
        if bytes > 0, let present {
            earlier += present.readableBytesView.prefix(
                2 * Limits.headerBytes - min(earlier.count, 2 * Limits.headerBytes))
        }
        present = nil
        guard bytes > 2 * Limits.headerBytes else { return }
        bytes = 0
        context.fireErrorCaught(Overrun())
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        bytesWritten += Int64(unwrapOutboundIn(data).readableBytes)
        context.write(data, promise: promise)
    }
}
