import Core
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1

/// Answers requests. An error it throws becomes the answer (``ErrorResponses``).
package typealias HTTPHandler =
    nonisolated(nonsending) @Sendable (_ request: IncomingRequest, _ body: inout IncomingBody) async throws ->
    OutgoingResponse

/// HTTP/1.1 on accepted connections: one task reads a connection's requests and writes their answers, in order.
struct HTTPConnection: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let stream: ConnectionStream
        let caller: CallerPresence

        var channel: any Channel { stream.channel }
    }

    let limits: HTTPServerLimits
    let handler: HTTPHandler
    let errors: ErrorResponses
    let date: HTTPDate
    /// Whether the handler runs on the connection's event loop: for one that never blocks and computes little.
    let isOnLoop: Bool

    /// Bodies up to this size that a handler did not want are read all the same, so that the connection can be kept.
    private static let drained: Int64 = 64 * 1024

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            var decoding = NIOHTTPDecoderLimitConfiguration()
            decoding.maxHeaderFieldSize = limits.headerBytes
            decoding.maxHeaderListSize = limits.headerBytes
            decoding.maxHeaderFieldCount = limits.headerFields
            // Framing headers are set here, as only here it is known whether a HEAD request is being answered.
            var encoding = HTTPResponseEncoder.Configuration()
            encoding.automaticallySetFramingHeaders = false
            // Most requests are small, and a connection keeps what it read its last request into; a stream soon gets larger pieces.
            try channel.syncOptions?.setOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 512, maximum: 65_536))
            let guardian = ConnectionGuard(limits: limits)
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(HTTPResponseEncoder(configuration: encoding))
            try pipeline.addHandler(
                ByteToMessageHandler(
                    HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: decoding)))
            try pipeline.addHandler(guardian)
            let parts = ConnectionParts()
            try pipeline.addHandler(parts)
            return Value(stream: ConnectionStream(parts, channel: channel), caller: guardian.caller)
        }
    }

    func handle(value: Value, logger: Logger) async {
        let channel = value.channel
        let stream = value.stream
        await withTaskCancellationHandler {
            do {
                try await stream.onLoop {
                    while try await answerNext(stream, value.caller) {}
                    try await linger(stream)
                }
            } catch {
                // The connection broke. Whoever was answering a request has seen it; nobody else is concerned.
                logger.trace("connection ended", metadata: ["error": "\(error)"])
            }
            channel.close(promise: nil)
            // Only after this does the connection not count any more.
            try? await channel.closeFuture.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }

    /// Reads and answers one request.
    ///
    /// - Returns: whether another may follow on this connection.
    private nonisolated(nonsending) func answerNext(_ stream: ConnectionStream, _ caller: CallerPresence) async throws
        -> Bool
    {
        let head: HTTPRequestHead
        do {
            guard case .head(let next) = try await stream.next() else { return false }
            head = next
        } catch let error as HTTPParserError {
            guard error != .invalidEOFState else { return false }
            let response = OutgoingResponse(RequestHeadCheck.fault(for: error))
            try await send(response, to: nil, keepAlive: false, stream)
            return false
        }
        if let fault = RequestHeadCheck.fault(in: head, limits: limits) {
            try await send(OutgoingResponse(fault), to: head, keepAlive: false, stream)
            return false
        }
        var body = IncomingBody(head: head, stream: stream)
        let response: OutgoingResponse
        do {
            let request = IncomingRequest(head: head, caller: caller)
            if isOnLoop {
                response = try await handler(request, &body)
            } else {
                response = try await withTaskExecutorPreference(globalConcurrentExecutor) {
                    try await handler(request, &body)
                }
            }
        } catch {
            response = try errors.response(to: error)
        }
        let isRead = try await finishReading(&body)
        // After an upgrade offer the parser stops, so nothing more can be read.
        let keepAlive =
            isRead && head.isKeepAlive && !head.headers.contains(name: "upgrade")
            && head.method != .CONNECT && !caller.isLeaving
        try await send(response, to: head, keepAlive: keepAlive, stream)
        return keepAlive
    }

    /// Reads what a handler left of a body, if that is little.
    ///
    /// - Returns: whether the body is over and the connection can be kept.
    private nonisolated(nonsending) func finishReading(_ body: inout IncomingBody) async throws -> Bool {
        if body.isComplete { return true }
        // Nobody knows whether a caller that was not told to go on sends its body or not.
        guard let length = body.declaredLength, length <= Self.drained, length == 0 || !body.awaitsContinue else {
            return false
        }
        do {
            while try await body.next() != nil {}
            return true
        } catch is HTTPFault {
            return false
        }
    }

    private nonisolated(nonsending) func send(
        _ response: OutgoingResponse, to head: HTTPRequestHead?, keepAlive: Bool, _ stream: ConnectionStream
    ) async throws {
        var headers = response.headers
        let isHead = head?.method == .HEAD
        let isOld = head.map { $0.version.isBefore11 } ?? false
        headers.add(name: "Date", value: date.now)
        var keepAlive = keepAlive
        switch response.body {
        case .empty:
            if response.status.mayHaveResponseBody { headers.replaceOrAdd(name: "Content-Length", value: "0") }
        case .bytes(let bytes):
            headers.replaceOrAdd(name: "Content-Length", value: String(bytes.readableBytes))
        case .stream(let length?, _):
            headers.replaceOrAdd(name: "Content-Length", value: String(length))
        case .stream(nil, _):
            if isOld { keepAlive = false } else if !isHead { headers.add(name: "Transfer-Encoding", value: "chunked") }
        }
        if !keepAlive {
            headers.replaceOrAdd(name: "Connection", value: "close")
        } else if isOld {
            headers.replaceOrAdd(name: "Connection", value: "keep-alive")
        }
        let part = HTTPServerResponsePart.head(
            HTTPResponseHead(version: .http1_1, status: response.status, headers: headers))
        switch response.body {
        case .bytes(let bytes) where !isHead:
            try await stream.write([part, .body(.byteBuffer(bytes)), .end(nil)])
        case .stream(_, let write) where !isHead:
            try await stream.write(part)
            do {
                try await write(OutgoingBody(stream: stream))
            } catch {
                // Too late for an answer: the connection is cut, which tells the caller that something is missing.
                _ = try errors.response(to: error)
                throw error
            }
            try await stream.write(.end(nil))
        default:
            try await stream.write([part, .end(nil)])
        }
        if !keepAlive, isOld, case .stream(nil, _) = response.body { throw CallerGone() }
    }

    /// Closes so that the caller gets to read the answer: closing with its bytes unread would make the system throw the answer away.
    private func linger(_ stream: ConnectionStream) async throws {
        await stream.finish()
        // Set on the event loop behind the answer: on a busy machine the time could be over before the answer was written.
        let lingerTime = TimeAmount(limits.lingerTime)
        let channel = stream.channel
        let deadline = try await channel.eventLoop.submit {
            channel.eventLoop.scheduleTask(in: lingerTime) { channel.close(promise: nil) }
        }.get()
        defer { deadline.cancel() }
        while try await stream.next() != nil {}
    }
}
