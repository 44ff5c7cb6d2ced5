import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import Proxy

@Suite("Tunnels of upgraded connections")
struct TunnelTests {
    @Test("R14: a caller's half-close directly behind a 101 waits until the decoder of the container has left")
    func halfCloseBehindUpgrade() throws {
        let loop = EmbeddedEventLoop()
        let (caller, container) = (EmbeddedChannel(loop: loop), EmbeddedChannel(loop: loop))
        let (callers, containers) = Tunnel.pair(onActivity: nil)
        try container.pipeline.syncOperations.addHandler(ByteToMessageHandler(HTTPResponseDecoder()))
        let decoder = try container.pipeline.syncOperations.context(
            handlerType: ByteToMessageHandler<HTTPResponseDecoder>.self)
        container.pipeline.syncOperations.removeHandler(context: decoder, promise: nil)
        try container.pipeline.syncOperations.addHandler(containers)
        try caller.pipeline.syncOperations.addHandler(callers)
        // The decoder stops the process at anything but a part of a request.
        caller.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(try container.readOutbound(as: ByteBuffer.self) == nil)
        loop.run()
        #expect(try container.readOutbound(as: ByteBuffer.self) == ByteBuffer())
    }
}
