import Core
import NIOCore

/// One side of an upgraded connection: passes bytes and half-closes to the other side, each way as fast as it is read
/// (contract R14). Both sides belong to one event loop.
final class Tunnel: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var other: Tunnel?
    private var context: ChannelHandlerContext?
    private var isReadHeld = false
    private var isInputOver = false
    /// Called with each read.
    private let onActivity: (() -> Void)?

    private init(onActivity: (() -> Void)?) {
        self.onActivity = onActivity
    }

    /// Two sides that belong together.
    ///
    /// - Parameter onActivity: called when bytes move; `nil` where nothing depends on that.
    static func pair(onActivity: (() -> Void)?) -> (Tunnel, Tunnel) {
        let (first, second) = (Tunnel(onActivity: onActivity), Tunnel(onActivity: onActivity))
        first.other = second
        second.other = first
        return (first, second)
    }

    /// Closes both sides.
    func close() {
        let other = other
        closeThis()
        other?.closeThis()
    }

    private func closeThis() {
        context?.close(promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        // Most upgraded connections are silent: their buffers begin small.
        try? context.channel.syncOptions?.setOption(
            .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 512, maximum: 65_536))
        if isInputOver { closeThis() }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        // Each side holds the other until one is gone.
        let other = other.take()
        other?.closeThis()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        onActivity?()
        other?.context?.write(wrapOutboundOut(unwrapInboundIn(data)), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        other?.context?.flush()
    }

    func read(context: ChannelHandlerContext) {
        guard other?.context?.channel.isWritable != false else {
            isReadHeld = true
            return
        }
        context.read()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        guard context.channel.isWritable, let other, other.isReadHeld else { return }
        other.isReadHeld = false
        other.context?.read()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed? = event as? ChannelEvent else { return }
        isInputOver = true
        // Later: directly behind a 101 the decoder of the other side is still there, and what is written would end the
        // process (``ContainerLink/handOver(to:)``).
        context.eventLoop.assumeIsolated().execute { self.passEnd() }
    }

    private func passEnd() {
        guard let other = other?.context else { return closeThis() }
        // Behind what was written before.
        other.writeAndFlush(wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { _ in
            other.close(mode: .output, promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        close()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        close()
    }
}

@available(*, unavailable)
extension Tunnel: Sendable {}
