import NIOCore
import NIOHTTP1

/// Watches over one connection on its event loop: closes it when idle, or at shutdown between two requests, and notices that the caller has gone.
final class ConnectionGuard: ChannelDuplexHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    let caller = CallerPresence()
    private let idleTime: TimeAmount
    private let lingerTime: TimeAmount
    private var watch: IdleWatch
    private var timer: Scheduled<Void>?

    init(limits: HTTPServerLimits) {
        self.idleTime = TimeAmount(limits.idleTime)
        self.lingerTime = TimeAmount(limits.lingerTime)
        self.watch = IdleWatch(idleTime: self.idleTime, now: .now())
    }

    func handlerAdded(context: ChannelHandlerContext) {
        schedule(at: .now() + idleTime, context: context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head: watch.receivedHead(now: .now())
        case .body: watch.receivedBody(now: .now())
        case .end: watch.receivedEnd(now: .now())
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = unwrapOutboundIn(data) else {
            context.write(data, promise: promise)
            return
        }
        watch.sentEnd(now: .now())
        context.write(data, promise: promise)
        guard caller.isLeaving, !watch.isBusy else { return }
        // The answer may have promised to keep the connection before the shutdown began.
        context.flush()
        context.close(mode: .output, promise: nil)
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: lingerTime) { context.close(promise: nil) }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            caller.leave()
            if !watch.isBusy { context.close(promise: nil) }
        case ChannelEvent.inputClosed:
            caller.goAway()
            context.fireUserInboundEventTriggered(event)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        caller.goAway()
        context.fireChannelInactive()
    }

    private func schedule(at deadline: NIODeadline, context: ChannelHandlerContext) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            let unsent = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
            switch self.watch.check(now: .now(), unsent: unsent) {
            case .close: context.close(promise: nil)
            case .look(let deadline): self.schedule(at: deadline, context: context)
            }
        }
    }
}

@available(*, unavailable)
extension ConnectionGuard: Sendable {}
