package import Core
package import NIOCore
package import NIOHTTP1
import Support

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Gets what a container sends, part by part, on the link's event loop.
package protocol ContainerLinkUser: AnyObject {
    /// An interim response: 1xx, but not 101.
    func linkReceived(interim head: HTTPResponseHead)

    /// The head of the final response, or of status 101.
    func linkReceived(_ head: HTTPResponseHead)

    func linkReceived(_ bytes: ByteBuffer)

    func linkReceivedEnd(_ trailers: HTTPHeaders?)

    /// A read from the socket is over: what was received may be sent on.
    func linkReadEnded()

    /// The socket takes more of the request again, or no more for now (``ContainerLink/isWritable``).
    func linkWritabilityChanged()

    /// The connection is gone. The last call.
    func linkLost(_ loss: ContainerConnection.Loss)
}

/// One HTTP/1.1 connection into a container that passes parts on as they arrive, for one request at a time. Used on its
/// event loop only.
///
/// ``ContainerConnection`` is the same for code that asks for each part.
package final class ContainerLink: ChannelDuplexHandler, RemovableChannelHandler {
    package typealias InboundIn = HTTPClientResponsePart
    package typealias OutboundIn = Never

    /// The system's buffer for bytes that were not read. A container that has closed its side is read to the end at
    /// once, whatever its caller reads; this bounds how much that is.
    private static let receiveBuffer = 128 * 1024

    private let limiter: FramingLimiter
    private let decoder: HTTPResponseDecoder
    private var writer = HTTPMessageWriter()
    private let descriptor: CInt
    private let transport: any ContainerTransport
    private var proof: UnseenProof
    private var context: ChannelHandlerContext?
    private var user: (any ContainerLinkUser)?
    private var onClose: (() -> Void)?
    private var isLost = false
    /// Whether all of the request was given to the channel, and all of the response was received.
    private var isRequestOver = true
    /// Whether the socket is known to have taken all of the present request; whether something waits for ``flush()``.
    private var isKnownWritten = false
    /// Whether the head was the last that was written of it.
    private var isHeadLast = true
    private var hasUnflushed = false
    private var isResponseOver = true
    /// Whether the container keeps the connection open behind the response.
    private var isKeptOpen = true
    /// Keeps the socket while it is not yet known whether the container saw the request.
    private var atEnd: DescriptorCopy?
    private var isHeld = false
    private var isReadHeld = false
    /// Whether a read of the socket is being decoded, and what is done when it is over.
    private var isDecoding = false
    private var afterRead: (() -> Void)?
    /// When the connection became idle.
    package private(set) var idleSince = Instant(microseconds: 0)

    private init(
        limiter: FramingLimiter, decoder: HTTPResponseDecoder, descriptor: CInt, transport: any ContainerTransport,
        wasUsedBefore: Bool, onClose: @escaping () -> Void
    ) {
        self.limiter = limiter
        self.decoder = decoder
        self.descriptor = descriptor
        self.transport = transport
        self.proof = UnseenProof(
            acknowledgedAtStart: transport.acknowledgement(descriptor)?.bytes, wasUsedBefore: wasUsedBefore)
        self.onClose = onClose
    }

    /// Makes a link of a connected descriptor, which it owns from now on. Must be called on `loop`.
    ///
    /// - Parameters:
    ///   - wasUsedBefore: whether a request was answered on the connection before.
    ///   - onClose: called once on the loop, when the connection is closed for whatever reason; not if this fails.
    package static func adopt(
        _ descriptor: CInt, loop: any EventLoop, transport: any ContainerTransport, wasUsedBefore: Bool,
        onClose: @escaping @Sendable () -> Void
    ) -> EventLoopFuture<ContainerLink> {
        transport.channel(of: descriptor, on: loop) { channel in
            channel.eventLoop.makeCompletedFuture {
                let limiter = FramingLimiter()
                let decoder = HTTPResponseDecoder(
                    leftOverBytesStrategy: .forwardBytes, informationalResponseStrategy: .forward,
                    limitConfiguration: .containerHeads)
                try channel.syncOptions?.setOption(.socketOption(.so_rcvbuf), value: .init(receiveBuffer))
                // What is read at once, before a slow caller is noticed: 128 KiB at most (contract R5).
                try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 2)
                let pipeline = channel.pipeline.syncOperations
                try pipeline.addHandler(limiter)
                try pipeline.addHandler(ByteToMessageHandler(decoder))
                try pipeline.addHandler(
                    ContainerLink(
                        limiter: limiter, decoder: decoder, descriptor: descriptor, transport: transport,
                        wasUsedBefore: wasUsedBefore, onClose: onClose))
            }
        }.flatMapThrowing { channel in
            // The transport's channels read on request.
            try channel.syncOptions?.setOption(.autoRead, value: true)
            return try channel.pipeline.syncOperations.handler(type: ContainerLink.self)
        }
    }

    // MARK: Sending

    /// Whether the socket takes more of the request now.
    package var isWritable: Bool { !isLost && context?.channel.isWritable == true }

    /// Whether the container provably saw nothing of the present request on a kept connection (contract R15).
    package var isRequestUnseen: Bool { proof.isUnseen }

    /// Whether the whole head of the present request was written to the socket.
    package var isHeadWritten: Bool { proof.isHeadWritten }

    /// Writes the head of a request, whose response goes to `user`. It is sent by ``flush()``.
    package func send(_ head: HTTPRequestHead, for user: any ContainerLinkUser) {
        self.user = user
        proof.begin(bytesWritten: limiter.bytesWritten)
        limiter.beginExchange(isToHead: head.method == .HEAD)
        isRequestOver = false
        isKnownWritten = false
        isHeadLast = true
        hasUnflushed = true
        isResponseOver = false
        isKeptOpen = true
        guard let context, !isLost else { return }
        let written = context.eventLoop.makePromise(of: Void.self)
        let me = NIOLoopBound(self, eventLoop: context.eventLoop)
        written.futureResult.whenSuccess { me.value.proof.isHeadWritten = true }
        // The method decides whether the response has a body.
        decoder.write(data: .head(head))
        limiter.write(writer.head(head), promise: written)
    }

    package func send(_ bytes: ByteBuffer) {
        guard !isLost else { return }
        isHeadLast = false
        hasUnflushed = true
        writer.body(bytes) { limiter.write($0, promise: nil) }
    }

    package func sendEnd(_ trailers: HTTPHeaders?) {
        isRequestOver = true
        guard !isLost, let end = writer.end(trailers) else { return }
        isHeadLast = false
        hasUnflushed = true
        limiter.write(end, promise: nil)
    }

    /// Sends what was written.
    package func flush() {
        guard hasUnflushed else { return }
        hasUnflushed = false
        limiter.flush()
    }

    // MARK: Receiving

    /// Nothing more is read, until ``resumeReading()``; a few parts may still come.
    package func holdReading() { isHeld = true }

    package func resumeReading() {
        isHeld = false
        guard isReadHeld else { return }
        isReadHeld = false
        context?.read()
    }

    // MARK: Between requests

    /// Whether another request can be sent: request and response are complete, and nothing else was received.
    package var isReusable: Bool {
        !isLost && isRequestOver && isResponseOver && isKeptOpen && context?.channel.isActive == true
    }

    /// Runs `action` when the present read of the socket is decoded completely, at once if none is: only then is it
    /// known that nothing came behind the response. The user gets no further call.
    package func release(_ action: @escaping () -> Void) {
        user = nil
        if isDecoding { afterRead = action } else { action() }
    }

    /// Ends the use of the connection by its user, which gets no further call.
    package func rest(since now: Instant) {
        user = nil
        idleSince = now
        resumeReading()
    }

    /// Closes the connection at once. Its user gets no further call.
    package func close() {
        user = nil
        atEnd = nil
        isLost = true
        context?.close(promise: nil)
    }

    /// Gives an idle connection away, for another event loop: closes this link and returns another descriptor of the
    /// connection, which the caller owns; `nil` when the connection cannot be given away.
    package func detach() -> CInt? {
        guard isReusable, transport.isQuiet(descriptor) else { return nil }
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        close()
        return copy >= 0 ? copy : nil
    }

    // MARK: Upgrade

    /// Gives the channel to `taker` behind a response of status 101, with the bytes that arrived behind it. From then
    /// on the channel carries bytes, and the user gets no further call.
    package func handOver(to taker: (any Channel) throws -> Void) throws {
        guard let context, !isLost else { throw ChannelError.ioOnClosedChannel }
        user = nil
        let channel = context.channel
        let pipeline = context.pipeline.syncOperations
        let decoder = try pipeline.context(handlerType: ByteToMessageHandler<HTTPResponseDecoder>.self)
        // The decoder would drop what it still has if it saw the end of the connection before it is removed.
        limiter.hold()
        // The decoder leaves in a later step of the loop. That step must come before the one in which `taker` may get
        // bytes to write: the decoder accepts only parts of requests.
        let removed = channel.eventLoop.makePromise(of: Void.self)
        pipeline.removeHandler(context: decoder, promise: removed)
        let limiter = NIOLoopBound(limiter, eventLoop: channel.eventLoop)
        removed.futureResult.whenComplete { _ in
            limiter.value.release()
            channel.pipeline.fireChannelReadComplete()
            channel.read()
        }
        try taker(channel)
        let onClose = onClose.take()
        channel.closeFuture.assumeIsolated().whenComplete { _ in onClose?() }
        pipeline.removeHandler(context: context, promise: nil)
    }

    // MARK: Channel

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        lose(.closed)
        afterRead.take()?()
        onClose.take()?()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isDecoding = true
        guard !isLost else { return }
        // Nothing may arrive without a request, nor on a kept connection before its request is written completely: that
        // would belong to an earlier request.
        guard let user, !proof.isReused || isResponseOver || isRequestWritten(context) else {
            lose(.closed)
            return context.close(promise: nil)
        }
        limiter.reset()
        switch unwrapInboundIn(data) {
        case .head(let head):
            if let reason = AnswerFault.ambiguity(in: head) {
                lose(.malformed(reason))
                return context.close(promise: nil)
            }
            if head.status.code < 200, head.status != .switchingProtocols { return user.linkReceived(interim: head) }
            isKeptOpen = head.isKeepAlive && !Self.closes(head.headers)
            user.linkReceived(head)
        case .body(let bytes):
            user.linkReceived(bytes)
        case .end(let trailers):
            isResponseOver = true
            if let trailers, Self.closes(trailers) { isKeptOpen = false }
            user.linkReceivedEnd(trailers)
        }
    }

    /// Whether fields say in a way that only some programs understand that the connection ends.
    private static func closes(_ fields: HTTPHeaders) -> Bool {
        fields.contains { name, value in
            guard name.utf8.count == 10 || name.utf8.count == 16 else { return false }
            return ["connection", "proxy-connection"].contains(name.lowercased())
                && value.lowercased().contains("close")
        }
    }

    /// Whether the socket has taken all of the present request.
    private func isRequestWritten(_ context: ChannelHandlerContext) -> Bool {
        if isKnownWritten { return true }
        guard proof.isHeadWritten else { return false }
        isKnownWritten =
            isHeadLast || (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) == 0
        return isKnownWritten
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isDecoding = false
        user?.linkReadEnded()
        afterRead.take()?()
        context.fireChannelReadComplete()
    }

    package func read(context: ChannelHandlerContext) {
        guard !isHeld else {
            isReadHeld = true
            return
        }
        context.read()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        user?.linkWritabilityChanged()
        context.fireChannelWritabilityChanged()
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        lose(ContainerConnection.Loss(error, rawAnswer: limiter.rawAnswer))
        context.close(promise: nil)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, !isLost, context.channel.isActive {
            settle(context, tries: 0)
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// The container closed its sending side. Where that alone does not prove whether it saw the request, its system
    /// says so a little later: it rejects bytes for a closed connection, and acknowledges them for one that is read on.
    private func settle(_ context: ChannelHandlerContext, tries: Int) {
        guard !isLost, self.context != nil else { return }
        let isOpen = proof.inputClosed(
            hasReceived: limiter.hasReceived, acknowledgement: transport.acknowledgement(descriptor))
        guard isOpen, user != nil, tries < 8 else {
            lose(.closed)
            return context.close(promise: nil)
        }
        // A reset closes the channel's own descriptor before anything is reported.
        if atEnd == nil { atEnd = DescriptorCopy(descriptor) }
        context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(1 << Int64(tries))) {
            self.settle(context, tries: tries + 1)
        }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        lose(.closed)
        context.fireChannelInactive()
    }

    private func lose(_ loss: ContainerConnection.Loss) {
        guard !isLost else { return }
        isLost = true
        if let copy = atEnd.take() {
            proof.inputClosed(
                hasReceived: limiter.hasReceived, acknowledgement: transport.acknowledgement(copy.number))
        }
        user.take()?.linkLost(loss)
    }
}

/// Another descriptor of a socket, which is closed with this object.
private final class DescriptorCopy {
    let number: CInt

    init?(_ descriptor: CInt) {
        number = fcntl(descriptor, F_DUPFD_CLOEXEC, 3)
        if number < 0 { return nil }
    }

    deinit {
        #if canImport(Glibc)
            _ = Glibc.close(number)
        #elseif canImport(Musl)
            _ = Musl.close(number)
        #endif
    }
}

@available(*, unavailable)
extension ContainerLink: Sendable {}
