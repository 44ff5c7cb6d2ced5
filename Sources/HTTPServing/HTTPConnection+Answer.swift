import Core
import NIOCore
import NIOHTTP1

extension HTTPConnection {
    /// Bodies up to this size that a handler did not want are read all the same, so that the connection can be kept.
    private static let drained: Int64 = 64 * 1024

    /// Whether what a handler left of a body is so little that it is read all the same.
    func mayFinishReading(_ body: IncomingBody) -> Bool {
        if body.isComplete { return true }
        if body.isBroken { return false }
        // It is not known whether a caller that was not asked to go on sends its body.
        guard let length = body.declaredLength, length <= Self.drained else { return false }
        return length == 0 || !body.awaitsContinue
    }

    /// Reads what a handler left of a body, if that is little. The caller must keep the rate that every body must keep.
    ///
    /// - Returns: whether the body is over and the connection can be kept.
    nonisolated(nonsending) func finishReading(_ body: inout IncomingBody) async throws -> Bool {
        guard mayFinishReading(body) else { return false }
        do {
            while try await body.next() != nil {}
            return true
        } catch is HTTPFault {
            return false
        }
    }

    /// Sends an answer that is there.
    ///
    /// - Returns: how it goes on.
    nonisolated(nonsending) func send(
        _ reply: HTTPReply, _ framing: AnswerFraming, _ caller: CallerPresence, _ stream: ConnectionStream
    ) async throws -> Next {
        switch reply {
        case .pending(let answer):
            return .wait(WaitingAnswer(answer: answer, framing: framing))
        case .response(let response):
            var framing = framing
            if caller.isLeaving { framing.mayKeepAlive = false }
            try await send(response, framing, stream)
            return framing.mayKeepAlive ? .next : .close
        }
    }

    nonisolated(nonsending) func send(
        _ response: OutgoingResponse, _ framing: AnswerFraming, _ stream: ConnectionStream
    ) async throws {
        var headers = response.headers
        let isHead = framing.isHead
        let isOld = framing.isOld
        headers.add(name: "Date", value: date.now)
        var keepAlive = framing.mayKeepAlive
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
                let body = OutgoingBody(stream: stream)
                if isOnLoop {
                    try await write(body)
                } else {
                    // What a handler does for a long answer must not keep the other connections of this event loop
                    // waiting.
                    try await withTaskExecutorPreference(globalConcurrentExecutor) { try await write(body) }
                }
            } catch {
                // Too late for an answer: the connection is cut, so the caller sees that something is missing.
                _ = try errors.response(to: error)
                throw error
            }
            try await stream.write(.end(nil))
        default:
            try await stream.write([part, .end(nil)])
        }
        if !keepAlive, isOld, case .stream(nil, _) = response.body { throw CallerGone() }
    }

    /// Closes so that the caller gets to read the answer: closing with its bytes unread would make the system throw the
    /// answer away.
    func linger(_ stream: ConnectionStream) async throws {
        await stream.finish()
        // Set on the event loop behind the answer: on a busy machine the time could be over before the answer was
        // written.
        let lingerTime = TimeAmount(limits.lingerTime)
        let channel = stream.channel
        let deadline = try await channel.eventLoop.submit {
            channel.eventLoop.scheduleTask(in: lingerTime) { channel.close(promise: nil) }
        }.get()
        defer { deadline.cancel() }
        while try await stream.next() != nil {}
    }
}
