import Core
package import NIOCore
package import NIOHTTP1
import Support

/// One HTTP/1.1 connection into a container, for one request at a time. It is used on its event loop only.
///
/// The answer is read only as fast as the caller takes it (``next(isolation:)``), so a fast container cannot fill the
/// memory.
package final class ContainerConnection: ChannelInboundHandler {
    package typealias InboundIn = HTTPClientResponsePart
    package typealias OutboundOut = HTTPClientRequestPart

    /// The socket is not read while this many pieces wait. One read may add several.
    private static let limit = 4

    /// A piece of the answer.
    package enum Event {
        case head(HTTPResponseHead)
        case body(ByteBuffer)
        case end
        /// The connection is gone; nothing follows.
        case lost(Loss)
    }

    /// Why a connection is gone.
    package enum Loss {
        /// It was closed by either side, or reset.
        case closed
        /// What arrived is not HTTP/1.1, or not within its limits. The text ends the sentence "The container's answer
        /// could not be read: …".
        case malformed(String)
        /// The same, because its head is larger than the limits.
        case headTooLarge(String)

        /// - Parameter rawAnswer: the bytes that were being parsed.
        init(_ error: any Error, rawAnswer: @autoclosure () -> [UInt8]) {
            switch error {
            case HTTPParserError.invalidEOFState: self = .closed
            case HTTPParserError.headerOverflow, is FramingLimiter.Overrun:
                self = .headTooLarge(
                    "its headers are larger than \(Limits.headerBytes / 1024) KiB or more than \(Limits.headerFields)")
            case let fault as FramingLimiter.Malformed: self = .malformed(fault.reason)
            case is HTTPParserError, is NIOHTTPDecoderError:
                self = .malformed(AnswerFault.reason(head: rawAnswer(), error: error as? HTTPParserError))
            default: self = .closed
            }
        }
    }

    private let limiter: FramingLimiter
    private let descriptor: CInt
    private let transport: any ContainerTransport
    private var context: ChannelHandlerContext?
    /// Taken from the front. There are few, so that moving them is cheap.
    private var events: [Event] = []
    private var waiter: CheckedContinuation<Void, Never>?
    private var loss: Loss?
    private var proof: UnseenProof
    /// When the connection became idle.
    private(set) var idleSince = Instant(microseconds: 0)

    /// Whether a read of the socket was requested and has not ended yet.
    private var isReading = false

    private init(limiter: FramingLimiter, descriptor: CInt, transport: any ContainerTransport) {
        self.limiter = limiter
        self.descriptor = descriptor
        self.transport = transport
        self.proof = UnseenProof(acknowledgedAtStart: transport.acknowledgement(descriptor)?.bytes)
    }

    /// Makes a connection of a connected descriptor, which it owns from now on. Must be called on `loop`.
    package static func adopt(
        _ descriptor: CInt, loop: any EventLoop, transport: any ContainerTransport,
        isolation: isolated (any Actor)? = #isolation
    ) async throws -> ContainerConnection {
        let channel = try await transport.channel(of: descriptor, on: loop) { channel in
            channel.eventLoop.makeCompletedFuture {
                let limiter = FramingLimiter()
                let decoder = HTTPResponseDecoder(
                    leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .drop,
                    limitConfiguration: .containerHeads)
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

    /// Whether another request can be sent: the connection is open, nothing is left of the last answer, and nothing
    /// waits in the socket that the event loop has not seen yet.
    var isUsable: Bool {
        guard loss == nil, events.isEmpty, let channel = context?.channel, channel.isActive else { return false }
        return transport.isQuiet(descriptor)
    }

    /// Whether the whole head of the present request was written to the socket. Before that the container cannot have
    /// acted on the request.
    package var isHeadWritten: Bool { proof.isHeadWritten }

    /// Whether the container provably saw nothing of the present request on a kept connection (contract A11).
    package var isRequestUnseen: Bool { proof.isUnseen }

    /// Whether any byte arrived since the present request began.
    package var hasReceived: Bool { limiter.hasReceived }

    /// Sends the head and, unless `body` is `nil`, the whole body. Returns before they are written.
    package func send(_ head: HTTPRequestHead, body: [UInt8]?) {
        proof.isHeadWritten = false
        guard let context, loss == nil else { return }
        proof.begin(bytesWritten: limiter.bytesWritten)
        limiter.beginExchange(isToHead: head.method == .HEAD)
        let written = context.eventLoop.makePromise(of: Void.self)
        let me = NIOLoopBound(self, eventLoop: context.eventLoop)
        written.futureResult.whenSuccess { me.value.proof.isHeadWritten = true }
        context.write(wrapOutboundOut(.head(head)), promise: written)
        guard let body else {
            context.flush()
            return
        }
        if !body.isEmpty {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: body)))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    /// Sends a piece of the body and returns when the socket has taken it.
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

    /// Closes the connection at once. The rest of the answer is dropped.
    package func close() {
        lose(.closed)
        context?.close(promise: nil)
    }

    // MARK: Receiving

    /// The next piece of the answer. After the connection is gone every call returns ``Event/lost(_:)``. For one task
    /// only.
    package func next(isolation: isolated (any Actor)? = #isolation) async -> Event {
        while events.isEmpty {
            if let loss { return .lost(loss) }
            ask()
            await withCheckedContinuation { continuation in
                // The read may have returned something at once.
                if events.isEmpty, loss == nil { waiter = continuation } else { continuation.resume() }
            }
        }
        defer { ask() }
        return events.removeFirst()
    }

    /// Reads more, unless enough pieces wait.
    private func ask() {
        guard !isReading, events.count < Self.limit, loss == nil, let context else { return }
        isReading = true
        context.read()
    }

    /// Watches an idle connection, so that its end is noticed.
    func rest(since now: Instant) {
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
        guard loss == nil else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            // What arrives on a kept connection before the request is written completely answers an earlier request.
            if proof.isReused, !isRequestWritten(context) {
                lose(.closed)
                return context.close(promise: nil)
            }
            events.append(.head(head))
        case .body(let buffer): events.append(.body(buffer))
        case .end: events.append(.end)
        }
        limiter.reset()
    }

    /// Whether the socket has taken all of the present request.
    private func isRequestWritten(_ context: ChannelHandlerContext) -> Bool {
        isHeadWritten && (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) == 0
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        ask()
        guard !events.isEmpty || loss != nil else { return }
        waiter.take()?.resume()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        lose(Loss(error, rawAnswer: limiter.rawAnswer))
        context.close(promise: nil)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, loss == nil, context.channel.isActive {
            // The socket is still open here, so the system can be asked about its bytes.
            proof.inputClosed(
                hasReceived: limiter.hasReceived, acknowledgement: transport.acknowledgement(descriptor))
            lose(.closed)
            context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
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

extension NIOHTTPDecoderLimitConfiguration {
    /// The limits of the heads that containers send.
    static var containerHeads: NIOHTTPDecoderLimitConfiguration {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldCount = Limits.headerFields
        limits.maxHeaderListSize = Limits.headerBytes
        limits.maxHeaderFieldSize = Limits.headerBytes
        return limits
    }
}

/// Limits the bytes that may arrive without completing a part of an answer (headers, interim answers, chunk extensions,
/// trailers), refuses sizes of chunks that the parser does not show (contract R27), and counts the bytes that are
/// written.
final class FramingLimiter: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    struct Overrun: Error {}

    /// The reason ends the sentence "The container's answer could not be read: …".
    struct Malformed: Error { let reason: String }

    private var bytes = 0
    /// Bytes handed to the channel since the connection began.
    private(set) var bytesWritten: Int64 = 0
    /// Whether any byte arrived since the present request began.
    private(set) var hasReceived = false
    private var interim = InterimHeads()
    private var framing = MessageFraming.nothing
    /// The bytes of earlier reads that did not complete a part of the answer. Empty for nearly every answer.
    private var earlier: [UInt8] = []
    /// The bytes of the present read, while they are being decoded.
    private var present: ByteBuffer?

    private var context: ChannelHandlerContext?
    /// What arrived since ``hold()``.
    private var held: [Held]?
    private var isPassing = false

    private enum Held {
        case read(ByteBuffer)
        case event(Any)
    }

    /// Passes nothing on until ``release()``.
    func hold() { held = [] }

    /// Passes on what was held back, and from now on everything as it comes, without a limit.
    func release() {
        isPassing = true
        let held = held.take() ?? []
        guard let context else { return }
        for item in held {
            switch item {
            case .read(let bytes): context.fireChannelRead(wrapInboundOut(bytes))
            case .event(let event): context.fireUserInboundEventTriggered(event)
            }
        }
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if held != nil { held?.append(.event(event)) } else { context.fireUserInboundEventTriggered(event) }
    }

    func reset() { bytes = 0 }

    /// - Parameter isToHead: whether the request is a `HEAD`.
    func beginExchange(isToHead: Bool) {
        bytes = 0
        hasReceived = false
        interim = InterimHeads()
        framing = .response(isToHead: isToHead)
        if !earlier.isEmpty { earlier = [] }
    }

    /// The bytes that arrived last, to explain why they are not an answer. Available only while they are being decoded.
    var rawAnswer: [UInt8] { earlier + (present.map { Array($0.readableBytesView.prefix(Limits.headerBytes)) } ?? []) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isPassing { return context.fireChannelRead(data) }
        var buffer = unwrapInboundIn(data)
        if held != nil {
            held?.append(.read(buffer))
            return
        }
        bytes += buffer.readableBytes
        hasReceived = true
        buffer = interim.pass(buffer)
        let fault = buffer.withUnsafeReadableBytes { framing.fault(in: $0) }
        // What comes before the fault is parsed.
        if let fault { buffer = buffer.readSlice(length: fault.offset) ?? buffer }
        present = buffer
        if buffer.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(buffer)) }
        if let fault {
            framing = .nothing
            return context.fireErrorCaught(Malformed(reason: fault.fault.reason))
        }
        if bytes > 0, let present {
            earlier += present.readableBytesView.prefix(
                2 * Limits.headerBytes - min(earlier.count, 2 * Limits.headerBytes))
        }
        present = nil
        guard bytes > 2 * Limits.headerBytes else { return }
        bytes = 0
        context.fireErrorCaught(Overrun())
    }

    /// Writes bytes that no other handler of the pipeline has to see.
    func write(_ bytes: ByteBuffer, promise: EventLoopPromise<Void>?) {
        guard let context else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        bytesWritten += Int64(bytes.readableBytes)
        context.write(wrapOutboundOut(.byteBuffer(bytes)), promise: promise)
    }

    func flush() { context?.flush() }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        bytesWritten += Int64(unwrapOutboundIn(data).readableBytes)
        context.write(data, promise: promise)
    }
}
