import Core
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1

/// HTTP/1.1 on accepted connections: one task at a time reads a connection's requests and writes their answers, in
/// order (``ConnectionTurns``).
struct HTTPConnection: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let channel: any Channel
        /// Succeeds when the connection is closed and nothing of its work goes on.
        let whenOver: EventLoopFuture<Void>
    }

    let limits: HTTPServerLimits
    let handler: HTTPReplyHandler
    let errors: ErrorResponses
    let date: HTTPDate
    /// Whether the handler runs on the connection's event loop: for one that never blocks and computes little.
    let isOnLoop: Bool
    /// Where connections ask for a task.
    let turns: AsyncStream<ConnectionTurns.Turn>.Continuation
    let capacity: ServerCapacity
    /// What every error answer carries that is made before a handler sees the request.
    let errorHeaders: HTTPHeaders
    let times: IdleTimes
    /// The listener of these connections.
    var door = ServerCapacity.Door(index: 0)

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            guard let place = capacity.enter(door, channel: channel) else {
                try channel.pipeline.syncOperations.addHandler(ConnectionRefusal(capacity: capacity))
                return Value(channel: channel, whenOver: channel.closeFuture)
            }
            var decoding = NIOHTTPDecoderLimitConfiguration()
            decoding.maxHeaderFieldSize = limits.headerBytes
            decoding.maxHeaderListSize = limits.headerBytes
            decoding.maxHeaderFieldCount = limits.headerFields
            // Framing headers are set here, as only here it is known whether a HEAD request is being answered.
            var encoding = HTTPResponseEncoder.Configuration()
            encoding.automaticallySetFramingHeaders = false
            // Most requests are small, and a connection keeps what it read its last request into; a stream soon gets
            // larger pieces.
            try channel.syncOptions?.setOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 512, maximum: 65_536))
            let parts = ConnectionParts(capacity: capacity)
            let guardian = ConnectionGuard(times: times, parts: parts, place: place)
            parts.guardian = guardian
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(guardian)
            try pipeline.addHandler(HTTPResponseEncoder(configuration: encoding))
            try pipeline.addHandler(
                ByteToMessageHandler(
                    HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: decoding)))
            try pipeline.addHandler(parts)
            let turns = ConnectionTurns(parts, channel: channel, caller: guardian.caller, queue: turns) {
                await answer($0, $1, $2)
            }
            return Value(channel: channel, whenOver: turns.whenOver)
        }
    }

    func handle(value: Value, logger: Logger) async {
        let channel = value.channel
        await withTaskCancellationHandler {
            // Only after this does the connection not count any more. It never fails.
            try? await value.whenOver.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }

    /// Answers requests, first the waiting one, until the connection is to be closed or an answer has to wait.
    ///
    /// - Returns: the answer that has to wait.
    private nonisolated(nonsending) func answer(
        _ stream: ConnectionStream, _ caller: CallerPresence, _ waiting: WaitingAnswer?
    ) async -> WaitingAnswer? {
        do {
            var turn = try await turn(stream, caller, waiting)
            while case .next = turn { turn = try await answerNext(stream, caller) }
            if case .wait(let waiting) = turn { return waiting }
            try await linger(stream)
        } catch {
            // The connection broke, or its caller left. Whoever was answering a request has seen it; nobody else is
            // concerned.
        }
        stream.channel.close(promise: nil)
        return nil
    }

    /// The answer to `OPTIONS *`, which asks about the server as a whole (RFC 9110 §9.3.7).
    private static let serverOptions = OutgoingResponse(
        status: .noContent, headers: ["Allow": "GET, HEAD, POST, DELETE, OPTIONS"])

    /// An answer that is made before a handler sees the request.
    private func refusal(_ fault: HTTPFault) -> OutgoingResponse {
        var response = OutgoingResponse(fault)
        response.headers.add(contentsOf: errorHeaders)
        return response
    }

    /// How it goes on after a request.
    enum Next {
        /// Another may follow on this connection.
        case next
        case close
        case wait(WaitingAnswer)
    }

    private nonisolated(nonsending) func turn(
        _ stream: ConnectionStream, _ caller: CallerPresence, _ waiting: WaitingAnswer?
    ) async throws -> Next {
        guard let waiting else { return try await answerNext(stream, caller) }
        let reply: HTTPReply
        do {
            if isOnLoop {
                reply = try await waiting.answer.reply()
            } else {
                reply = try await withTaskExecutorPreference(globalConcurrentExecutor) {
                    try await waiting.answer.reply()
                }
            }
        } catch {
            reply = .response(try errors.response(to: error))
        }
        return try await send(reply, waiting.framing, caller, stream)
    }

    /// Reads and answers one request.
    private nonisolated(nonsending) func answerNext(_ stream: ConnectionStream, _ caller: CallerPresence) async throws
        -> Next
    {
        let head: HTTPRequestHead
        do {
            guard case .head(let next) = try await stream.next() else { return .close }
            head = next
        } catch let fault as HTTPFault {
            try await send(refusal(fault), AnswerFraming(), stream)
            return .close
        }
        var framing = AnswerFraming(isHead: head.method == .HEAD, isOld: head.version.isBefore11)
        if let fault = RequestHeadCheck.fault(in: head, limits: limits) {
            try await send(refusal(fault), framing, stream)
            return .close
        }
        var body = IncomingBody(head: head, stream: stream)
        let reply: HTTPReply
        do {
            let request = IncomingRequest(head: head, caller: caller)
            if head.uri == "*" {
                reply = .response(Self.serverOptions)
            } else if isOnLoop {
                reply = try await handler(request, &body)
            } else {
                reply = try await withTaskExecutorPreference(globalConcurrentExecutor) {
                    try await handler(request, &body)
                }
            }
        } catch {
            reply = .response(try errors.response(to: error))
        }
        // What the request's body took in memory is over with the handler.
        defer { stream.release(.max) }
        // After an upgrade offer the parser stops, so nothing more can be read.
        framing.mayKeepAlive =
            mayFinishReading(body) && head.isKeepAlive && !head.headers.contains(name: "upgrade")
            && head.method != .CONNECT
        // An answer that has to wait can do so until the body is over; one that is there does not wait for it (contract
        // N5).
        if case .pending = reply {
            let isOver = try await finishReading(&body)
            framing.mayKeepAlive = framing.mayKeepAlive && isOver
        }
        let next = try await send(reply, framing, caller, stream)
        guard case .next = next else { return next }
        return try await finishReading(&body) ? .next : .close
    }
}
