import Core
import NIOCore
import NIOHTTP1

/// Watches over one connection on its event loop: closes it when its caller is silent or too slow (contract N6), or at
/// shutdown between two requests, and notices that the caller has finished or gone. The first handler of the pipeline:
/// it sees bytes; ``ConnectionParts`` reports messages to it.
final class ConnectionGuard: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    let caller = CallerPresence()
    private let times: IdleTimes
    private let parts: ConnectionParts
    /// The connection's place among all connections; released when it is closed.
    private let place: ServerCapacity.Place
    private var watch: IdleWatch
    private var timer: Scheduled<Void>?
    private var timerAt = NIODeadline.distantFuture
    private var context: ChannelHandlerContext?
    /// Bytes of answers that were given to the socket.
    private var written = 0
    /// What is being parsed, to explain an error in it.
    private var present: ByteBuffer?

    init(times: IdleTimes, parts: ConnectionParts, place: ServerCapacity.Place) {
        self.times = times
        self.parts = parts
        self.place = place
        self.watch = IdleWatch(times, now: .now())
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        schedule(at: .now() + times.firstByte, context: context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        self.context = nil
        place.leave()
    }

    // MARK: Bytes

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if watch.mayBeginRequest, let fault = RequestHeadCheck.fault(inRequestLineOf: bytes) {
            return refuse(fault)
        }
        present = bytes
        context.fireChannelRead(data)
        present = nil
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        written &+= unwrapOutboundIn(data).readableBytes
        context.write(data, promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent:
            caller.leave()
            if !watch.isBusy { context.close(promise: nil) }
        case ChannelEvent.inputClosed:
            caller.finish()
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

    // MARK: Messages

    func receivedHead() { watch.receivedHead() }
    func receivedBody(_ count: Int) { watch.receivedBody(count) }
    func receivedEnd() { watch.receivedEnd() }

    /// A read from the socket is over.
    ///
    /// - Parameter last: the last part that waits for the server.
    func readEnded(last: HTTPServerRequestPart?) {
        if watch.hasBodyAhead, case .head(let head) = last, head.headers.contains(name: "expect") {
            watch.expectsContinue()
        }
        if let deadline = watch.readEnded(now: .now()) { look(at: deadline) }
    }

    func sentContinue() {
        if let deadline = watch.sentContinue(now: .now()) { look(at: deadline) }
    }

    /// The end of an answer was written and flushed.
    func sentEnd() {
        if let deadline = watch.sentEnd(now: .now()) { look(at: deadline) }
        guard let context, caller.isLeaving, !watch.isBusy else { return }
        // The answer may have promised to keep the connection before the shutdown began.
        context.close(mode: .output, promise: nil)
        timer?.cancel()
        timerAt = .now()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: times.linger) { context.close(promise: nil) }
    }

    /// The socket takes no more of an answer for now.
    func answerWaits() { look(at: .now() + times.answer) }

    /// The reason to refuse what could not be parsed.
    func fault(for error: HTTPParserError) -> HTTPFault {
        // Behind other requests of the same read it is not known where the broken one begins.
        let bytes = watch.hasHead && !watch.isInBody ? nil : present
        return RequestHeadCheck.fault(for: error, in: bytes, isInBody: watch.isInBody)
    }

    /// Answers `fault` to the present request, or to what has come of one, and takes nothing more.
    func refuse(_ fault: HTTPFault) {
        watch.refuse(now: .now())
        parts.refuse(fault)
        look(at: .now() + times.linger + .seconds(5))
    }

    // MARK: Time

    /// Looks at the connection then, if not sooner.
    private func look(at deadline: NIODeadline) {
        guard deadline < timerAt, let context, timer != nil else { return }
        timer?.cancel()
        schedule(at: deadline, context: context)
    }

    private func schedule(at deadline: NIODeadline, context: ChannelHandlerContext) {
        timerAt = deadline
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.look(context) }
    }

    private func look(_ context: ChannelHandlerContext) {
        let unsent = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        switch watch.check(now: .now(), unsent: unsent, read: written &- unsent, isUntaken: parts.isUntaken) {
        case .close:
            context.close(promise: nil)
        case .refuse(let refusal):
            // Looked at once more: a caller that does not take the answer is closed then.
            schedule(at: .now() + times.linger + .seconds(5), context: context)
            refuse(HTTPFault(refusal, times))
        case .look(let deadline):
            schedule(at: deadline, context: context)
        }
    }
}

@available(*, unavailable)
extension ConnectionGuard: Sendable {}

extension HTTPFault {
    /// 408, with what came too slowly.
    fileprivate init(_ refusal: IdleWatch.Refusal, _ times: IdleTimes) {
        let message =
            switch refusal {
            case .head:
                "the request's head was not complete \(times.head.seconds) s after its first byte. Send it at once"
            case .body:
                "the body arrived at less than \(times.rate) bytes a second. Send it faster, or send it when all of it is there"
            }
        self.init(PlatformError(.timedOut, message), status: .requestTimeout)
    }
}

extension TimeAmount {
    fileprivate var seconds: Int64 { nanoseconds / 1_000_000_000 }
}
