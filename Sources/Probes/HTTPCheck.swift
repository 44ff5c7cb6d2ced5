import Core
import NIOCore
import NIOHTTP1
import NIOPosix

/// One GET over a connection of its own; only the status is read.
enum HTTPCheck {
    /// Bytes that may come before the status is known; interim answers count.
    static let headLimit = 64 * 1024

    /// - Throws: ``PlatformError`` when the port refuses, ``ProbeFailure`` when the answer is not HTTP.
    static func status(of target: HTTPGet, connector: any Connector, group: any EventLoopGroup) async throws -> Int {
        let descriptor = try await connector.connect(port: target.port)
        let loop = group.next()
        let promise = loop.makePromise(of: Int.self)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(HeadLimiter(limit: headLimit))
                        try pipeline.addHTTPClientHandlers(leftOverBytesStrategy: .dropBytes)
                        try pipeline.addHandler(StatusHandler(target: target, promise: promise))
                    }
                }
                .withConnectedSocket(descriptor).get()
        } catch {
            promise.fail(error)
            throw error
        }
        return try await withTaskCancellationHandler {
            defer { channel.close(promise: nil) }
            return try await promise.futureResult.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }
}

/// Ends the connection when too much arrives before the status.
private final class HeadLimiter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private var rest: Int

    init(limit: Int) { self.rest = limit }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        rest -= unwrapInboundIn(data).readableBytes
        context.fireChannelRead(data)
        if rest <= 0 { context.fireErrorCaught(ProbeFailure("the answer has no end of its headers within 64 KiB")) }
    }
}

private final class StatusHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let target: HTTPGet
    private var promise: EventLoopPromise<Int>?

    init(target: HTTPGet, promise: EventLoopPromise<Int>) {
        self.target = target
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        let path = target.path.hasPrefix("/") ? target.path : "/" + target.path
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
        head.headers.add(name: "Host", value: "localhost:\(target.port)")
        head.headers.add(name: "User-Agent", value: "kube-probe/cortex-\(CortexVersion.current)")
        head.headers.add(name: "Accept", value: "*/*")
        head.headers.add(name: "Connection", value: "close")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let head) = unwrapInboundIn(data) else { return }
        end(.success(Int(head.status.code)), context)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let failure =
            error is ProbeFailure || !(error is HTTPParserError)
            ? error : ProbeFailure("GET \(target.path) on port \(target.port): the answer is not HTTP")
        end(.failure(failure), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(
            .failure(
                ProbeFailure("GET \(target.path) on port \(target.port): the connection was closed without an answer")),
            context)
        context.fireChannelInactive()
    }

    private func end(_ result: Result<Int, any Error>, _ context: ChannelHandlerContext) {
        guard let promise = promise.take() else { return }
        promise.completeWith(result)
        context.close(promise: nil)
    }
}
