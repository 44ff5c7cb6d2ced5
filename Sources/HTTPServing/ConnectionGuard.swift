import Core
import NIOCore
import NIOHTTP1
import Support

/// Enforces the time limits of one connection: closes it when its caller is silent or too slow (contract N6), or at
/// shutdown between two requests, and notices that the caller has finished or gone. It also refuses what the parser
/// reads and does not show: chunks by the sizes that they declare, and bare line ends before a request (contract R27).
///
/// The first handler of the pipeline: it sees bytes; ``Connection`` reports messages to it. Confined to the event loop.
final class ConnectionGuard: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    /// Bytes behind a request that offers an upgrade: so many are kept until the channel is handed over.
    private static let unparsedLimit = 64 * 1024

    private let times: IdleTimes
    private let connection: Connection
    /// The connection's place among all connections; released when it is closed.
    private let place: ServerCapacity.Place
    private var watch: IdleWatch
    private var timer: Scheduled<Void>?
    private var timerAt = NIODeadline.distantFuture
    private var context: ChannelHandlerContext?
    /// Bytes of answers that were given to the socket.
    private var written = 0
    /// The messages in the bytes; `nil` after a fault: nothing more is parsed.
    private var framing: MessageFraming? = .requests
    /// The bytes that are being parsed, to explain an error in them.
    private var present: ByteBuffer?
    /// The bytes that arrived since the parser stopped; `nil` while it parses.
    private var unparsed: Int?
    /// Bytes pass through unseen: the channel belongs to a handler.
    private var isHandedOver = false

    init(times: IdleTimes, connection: Connection, place: ServerCapacity.Place) {
        self.times = times
        self.connection = connection
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
        if isHandedOver { return context.fireChannelRead(data) }
        let bytes = unwrapInboundIn(data)
        if let count = unparsed {
            unparsed = count + bytes.readableBytes
            if count + bytes.readableBytes <= Self.unparsedLimit { context.fireChannelRead(data) }
            return
        }
        if watch.mayBeginRequest, let fault = RequestHeadCheck.fault(inRequestLineOf: bytes) {
            return refuse(fault)
        }
        guard let broken = bytes.withUnsafeReadableBytes({ framing?.fault(in: $0) }) else {
            if framing != nil { parse(bytes, data, context) }
            return
        }
        framing = nil
        // The requests before it are served.
        if broken.offset > 0, let before = bytes.getSlice(at: bytes.readerIndex, length: broken.offset) {
            parse(before, wrapInboundOut(before), context)
        }
        refuse(broken.fault.answer)
    }

    private func parse(_ bytes: ByteBuffer, _ data: NIOAny, _ context: ChannelHandlerContext) {
        present = bytes
        context.fireChannelRead(data)
        present = nil
    }

    /// Writes bytes of an exchange's response, which no other handler of the pipeline has to see.
    func write(_ bytes: ByteBuffer) {
        guard let context else { return }
        written &+= bytes.readableBytes
        context.write(wrapOutboundOut(.byteBuffer(bytes)), promise: nil)
    }

    func flush() { context?.flush() }

    /// Completes `sent` when the system has taken everything that was written, or the connection is closed; `false`:
    /// there is no connection any more.
    func writeMark(_ sent: EventLoopPromise<Void>) -> Bool {
        guard let context else { return false }
        context.writeAndFlush(wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: sent)
        return true
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        written &+= unwrapOutboundIn(data).readableBytes
        context.write(data, promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent where !isHandedOver:
            connection.caller.leave()
            if !watch.isBusy { return context.close(promise: nil) }
            let loop = context.eventLoop.assumeIsolated()
            loop.scheduleTask(in: times.shutdown) { self.endReceiving() }
            loop.scheduleTask(in: times.shutdown + times.linger) { self.endSending() }
        case ChannelEvent.inputClosed:
            connection.caller.finish()
            context.fireUserInboundEventTriggered(event)
        default:
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        timer = nil
        connection.caller.goAway()
        context.fireChannelInactive()
    }

    /// A shutdown began a while ago (contract U4): a request that is not complete is not waited for. An exchange has
    /// the grace period of its API.
    private func endReceiving() {
        guard context != nil, !isHandedOver, !connection.hasExchange, watch.isReceiving else { return }
        refuse(Self.shutdownFault)
    }

    /// Later: nor is a caller that has not read its response.
    private func endSending() {
        guard let context, !isHandedOver, !connection.hasExchange, unsent(context) > 0 else { return }
        context.close(promise: nil)
    }

    private static let shutdownFault = HTTPFault(
        PlatformError(.unavailable, "the platform is shutting down. Send the request again a little later"))

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
        guard let context, connection.caller.isLeaving, !watch.isBusy else { return }
        // The answer may have promised to keep the connection before the shutdown began.
        context.close(mode: .output, promise: nil)
        timer?.cancel()
        timerAt = .now()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: times.linger) { context.close(promise: nil) }
    }

    /// The socket takes no more of an answer for now.
    func answerWaits() { look(at: .now() + times.answer) }

    /// Returns when the system has all bytes of the answers, or the connection is closed. A caller that reads too
    /// slowly is cut off.
    ///
    /// The system discards them when the channel is closed, which closing the output also does once the caller has
    /// closed its sending side.
    nonisolated(nonsending) func sendAll() async {
        guard let context, unsent(context) > 0 else { return }
        let sent = context.eventLoop.makePromise(of: Void.self)
        sendAll(sent)
        // Fails where the connection is closed, which the reader of the connection sees.
        try? await sent.futureResult.get()
    }

    /// The same for code without a task.
    func sendAll(_ sent: EventLoopPromise<Void>) {
        answerWaits()
        if !writeMark(sent) { sent.succeed() }
    }

    /// The response of an exchange has begun: until its end neither side must keep a rate (contract R5).
    func responseBegan() { watch.responseBegan() }

    /// The parser has stopped behind a request that offers an upgrade.
    func parsingEnded() {
        if unparsed == nil { unparsed = 0 }
    }

    /// Whether all bytes since ``parsingEnded()`` were kept.
    var hasAllUnparsed: Bool { unparsed.map { $0 <= Self.unparsedLimit } ?? false }

    /// From now on no time limit applies and bytes pass through. The connection keeps its place.
    func handOver() {
        timer?.cancel()
        timer = nil
        isHandedOver = true
    }

    /// The reason to refuse bytes that could not be parsed.
    func fault(for error: HTTPParserError) -> HTTPFault {
        // Behind other requests of the same read it is not known where the broken one begins.
        let bytes = watch.hasHead && !watch.isInBody ? nil : present
        return RequestHeadCheck.fault(for: error, in: bytes, isInBody: watch.isInBody)
    }

    /// Answers `fault` to the present request, or to the part of one that has arrived, and takes nothing more.
    func refuse(_ fault: HTTPFault) {
        watch.refuse(now: .now())
        connection.refuse(fault)
        look(at: .now() + times.linger + .seconds(5))
    }

    // MARK: Time

    /// Checks the connection then, if not sooner.
    private func look(at deadline: NIODeadline) {
        guard deadline < timerAt, let context, timer != nil else { return }
        timer?.cancel()
        schedule(at: deadline, context: context)
    }

    /// Bytes of answers that wait for the socket.
    private func unsent(_ context: ChannelHandlerContext) -> Int {
        (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    private func schedule(at deadline: NIODeadline, context: ChannelHandlerContext) {
        timerAt = deadline
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.look(context) }
    }

    private func look(_ context: ChannelHandlerContext) {
        let unsent = unsent(context)
        switch watch.check(now: .now(), unsent: unsent, read: written &- unsent, isUntaken: connection.hasUntakenParts)
        {
        case .close:
            context.close(promise: nil)
        case .refuse(let refusal):
            // Checked once more: a caller that does not take the answer is cut off then.
            schedule(at: .now() + times.linger + .seconds(5), context: context)
            refuse(HTTPFault(refusal, times))
        case .look(let deadline):
            schedule(at: deadline, context: context)
        }
    }
}

@available(*, unavailable)
extension ConnectionGuard: Sendable {}

extension MessageFraming.Fault {
    fileprivate var answer: HTTPFault {
        switch self {
        case .bareLineEnd, .digits: HTTPFault(PlatformError(.badRequest, reason))
        case .size: HTTPFault(PlatformError(.payloadTooLarge, reason))
        }
    }
}

extension HTTPFault {
    /// 408, with the part that arrived too slowly.
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

/// The times within which a caller must act (contract N6), in the form that connections use. Shared by all connections
/// of a server.
final class IdleTimes: Sendable {
    let firstByte: TimeAmount
    let head: TimeAmount
    let idle: TimeAmount
    let bodyGrace: TimeAmount
    let bodyCredit: TimeAmount
    let answer: TimeAmount
    let linger: TimeAmount
    let shutdown: TimeAmount
    /// Bytes a second that a body must bring, and an answer must be read with.
    let rate: Int

    init(_ limits: HTTPServerLimits) {
        self.firstByte = TimeAmount(limits.firstByteTime)
        self.head = TimeAmount(limits.headTime)
        self.idle = TimeAmount(limits.idleTime)
        self.bodyGrace = TimeAmount(limits.bodyGrace)
        self.bodyCredit = TimeAmount(max(limits.bodyGrace, limits.bodyCredit))
        self.answer = TimeAmount(limits.answerTime)
        self.linger = TimeAmount(limits.lingerTime)
        self.shutdown = TimeAmount(limits.shutdownTime)
        self.rate = max(1, limits.bodyRate)
    }
}

/// Decides when a connection is closed because its caller is silent or too slow (contract N6). Pure; one value per
/// connection.
///
/// A new connection must send a byte, a head must be complete some time after its first byte, however slowly it
/// arrives, a body must keep its rate, and so must the caller's reading. While the server works on an answer, the
/// caller may be silent for as long as that takes.
struct IdleWatch {
    /// What the caller has sent of the next or present request.
    private enum Input {
        /// Nothing since the connection was opened.
        case nothing
        /// All of the last request, and nothing of another.
        case between
        /// A part of a head.
        case head
        /// A head with `Expect: 100-continue`; it is the server's turn to ask for the body.
        case expecting
        /// A head, and not yet all of the body.
        case body
        /// The request is refused; nothing more is taken.
        case refused
    }

    enum Refusal: Equatable {
        case head
        case body
    }

    enum Verdict: Equatable {
        case close
        case refuse(Refusal)
        case look(at: NIODeadline)
    }

    private let times: IdleTimes
    private var input = Input.nothing
    /// Requests whose answer is not yet written.
    private var open = 0
    /// Until when the caller must have acted, where it is its turn.
    private var deadline: NIODeadline
    /// Of the present read from the socket: whether it brought a part of a message, whether a body began in it, and
    /// bytes of bodies.
    private var hasPart = false
    private var isNewBody = false
    private var bodyBytes = 0
    /// The bytes of answers that had been read by the caller when `slowSince` was set.
    private var readThen = 0
    private var slowSince: NIODeadline?
    /// A response is being sent that may take as long as its caller and its container like.
    private var isStreaming = false

    init(_ times: IdleTimes, now: NIODeadline) {
        self.times = times
        self.deadline = now + times.firstByte
    }

    var isBusy: Bool { open > 0 }
    /// Whether the next byte begins a request, as far as can be known: the last read may have brought the beginning of
    /// it.
    var mayBeginRequest: Bool { open == 0 && (input == .nothing || input == .between) }
    /// Whether the present read brought a whole head.
    var hasHead: Bool { hasPart }
    /// Whether a body has begun in the present read, of which no byte has come yet.
    var hasBodyAhead: Bool { isNewBody && bodyBytes == 0 && input == .body }
    var isInBody: Bool { input == .body || input == .expecting }
    /// Whether a request has begun and is not complete.
    var isReceiving: Bool { isInBody || input == .head }

    mutating func receivedHead() {
        open += 1
        hasPart = true
        guard input != .refused else { return }
        input = .body
        isNewBody = true
    }

    /// The head that has just arrived has `Expect: 100-continue`.
    mutating func expectsContinue() {
        if input == .body { input = .expecting }
    }

    mutating func receivedBody(_ count: Int) {
        hasPart = true
        guard input != .refused else { return }
        if input == .expecting { isNewBody = true }
        input = .body
        bodyBytes += count
    }

    mutating func receivedEnd() {
        hasPart = true
        if input != .refused { input = .between }
    }

    /// The present read from the socket is over.
    ///
    /// - Returns: when to check the connection at the latest, if that may be sooner than known before.
    mutating func readEnded(now: @autoclosure () -> NIODeadline) -> NIODeadline? {
        defer {
            hasPart = false
            isNewBody = false
            bodyBytes = 0
        }
        switch input {
        case .body:
            let now = now()
            if isNewBody { deadline = now + times.bodyGrace }
            // A caller that is faster than it must be may pause a little longer.
            let earned = min(Int64(bodyBytes) * 1_000_000_000 / Int64(times.rate), times.bodyCredit.nanoseconds)
            deadline = min(deadline + .nanoseconds(earned), now + times.bodyCredit)
            return isNewBody ? deadline : nil
        case .nothing, .between:
            guard !hasPart else {
                // The body of a request that was answered before it is over.
                if open == 0 { deadline = now() + times.idle }
                return nil
            }
            input = .head
            deadline = now() + times.head
            return open == 0 ? deadline : nil
        case .head, .expecting, .refused:
            return nil
        }
    }

    /// The caller was asked for the body.
    ///
    /// - Returns: as `readEnded`.
    mutating func sentContinue(now: NIODeadline) -> NIODeadline? {
        guard input == .expecting else { return nil }
        input = .body
        deadline = now + times.bodyGrace
        return deadline
    }

    /// An answer is written.
    ///
    /// - Returns: as `readEnded`.
    mutating func sentEnd(now: NIODeadline) -> NIODeadline? {
        isStreaming = false
        open = max(0, open - 1)
        guard open == 0 else { return nil }
        switch input {
        case .nothing, .between:
            deadline = now + times.idle
            return nil
        case .head:
            deadline = now + times.head
            return deadline
        case .expecting, .body, .refused:
            // The body is not needed any more: the connection is closed after a time in which the caller can read the
            // answer.
            deadline = now + times.linger + times.linger
            return deadline
        }
    }

    /// Until the next ``sentEnd(now:)`` neither side must keep a rate.
    mutating func responseBegan() { isStreaming = true }

    /// No more of the present request is taken.
    mutating func refuse(now: NIODeadline) {
        input = .refused
        deadline = now + times.linger + .seconds(5)
    }

    /// What to do now.
    ///
    /// - Parameters:
    ///   - unsent: bytes of answers that wait for the caller to read.
    ///   - read: bytes of answers that it has read since the connection was opened.
    ///   - isUntaken: whether parts of a request wait for the server.
    mutating func check(now: NIODeadline, unsent: Int, read: Int, isUntaken: Bool) -> Verdict {
        if isStreaming {
            slowSince = nil
            return .look(at: now + times.idle)
        }
        if unsent > 0 {
            if let since = slowSince {
                if now - since >= times.answer {
                    let needed = Int64(times.rate) * (now - since).nanoseconds / 1_000_000_000
                    if Int64(read - readThen) < max(1, needed) { return .close }
                    slowSince = now
                    readThen = read
                }
            } else {
                slowSince = now
                readThen = read
            }
        } else {
            slowSince = nil
        }
        let next = verdict(now: now, isUntaken: isUntaken)
        guard let slowSince, case .look(let deadline) = next else { return next }
        return .look(at: min(deadline, slowSince + times.answer))
    }

    private mutating func verdict(now: NIODeadline, isUntaken: Bool) -> Verdict {
        switch input {
        case .expecting:
            return .look(at: now + times.idle)
        case .nothing, .between, .head:
            guard open == 0 else { return .look(at: now + times.idle) }
            if now < deadline { return .look(at: deadline) }
            return input == .head ? .refuse(.head) : .close
        case .body:
            // No rate is required while the server has not taken the bytes that arrived, as with all but the first of
            // pipelined requests.
            if isUntaken { deadline = max(deadline, now + times.bodyGrace) }
            return now < deadline ? .look(at: deadline) : .refuse(.body)
        case .refused:
            // A request inside is answered first.
            guard open == 0 else { return .look(at: now + times.idle) }
            return now < deadline ? .look(at: deadline) : .close
        }
    }
}
