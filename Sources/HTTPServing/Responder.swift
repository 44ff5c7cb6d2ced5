import Core
import NIOCore
import NIOHTTP1

/// Answers the requests of connections, in order: reads a head, checks it, calls the handler, and sends the answer or
/// parks the connection. Shared by all connections of a server; its functions run on the connection's event loop.
final class Responder: Sendable {
    /// Bodies up to this size that a handler did not read are read all the same, so that the connection can be kept.
    static let drainedBody = 64 * 1024

    let limits: HTTPServerLimits
    private let handler: HTTPReplyHandler
    private let exchanges: ExchangeLookup?
    private let errors: ErrorResponses
    let date: HTTPDate
    private let isHandlerOnLoop: Bool
    private let errorHeaders: HTTPHeaders

    /// - Parameters:
    ///   - isHandlerOnLoop: whether the handler runs on the connection's event loop: for one that never blocks and
    ///     computes little.
    ///   - errorHeaders: added to every error answer that is made before the handler sees the request.
    ///   - exchanges: finds the handler of a request that an exchange answers, without waiting.
    init(
        limits: HTTPServerLimits, errors: ErrorResponses, date: HTTPDate, isHandlerOnLoop: Bool,
        errorHeaders: HTTPHeaders, exchanges: ExchangeLookup?, handler: @escaping HTTPReplyHandler
    ) {
        self.limits = limits
        self.exchanges = exchanges
        self.handler = handler
        self.errors = errors
        self.date = date
        self.isHandlerOnLoop = isHandlerOnLoop
        self.errorHeaders = errorHeaders
    }

    /// What follows after an answer.
    private enum Next {
        /// Another request may follow on this connection.
        case request
        case park(ParkedReply)
        case exchange(IncomingRequest, HTTPRequestHead, ExchangeMatch)
        case close
        /// The channel belongs to a handler's ``ConnectionTaker``.
        case handedOver
    }

    /// Answers requests, first the one of a parked reply, until the connection is to be closed, is handed over, or an
    /// answer is not ready.
    ///
    /// - Returns: what the connection goes on with, without a task.
    nonisolated(nonsending) func serve(_ connection: Connection) async -> Rest {
        do {
            var next = Next.request
            if let parked = connection.takeParked() { next = try await resume(parked, on: connection) }
            while case .request = next { next = try await answerNext(on: connection) }
            switch next {
            case .request, .close: try await connection.closeOutput(lingering: TimeAmount(limits.lingerTime))
            case .park(let parked): return .park(parked)
            case .exchange(let request, let head, let match): return .exchange(request, head, match)
            case .handedOver: break
            }
        } catch {
            // The connection broke, or its caller left. The handler of a request has seen it; no one else needs to.
        }
        return .nothing
    }

    /// What is left when a task ends.
    enum Rest {
        case nothing
        case park(ParkedReply)
        case exchange(IncomingRequest, HTTPRequestHead, ExchangeMatch)
    }

    /// Begins the exchange of a request, if an exchange answers it and its API is known already; otherwise a task
    /// answers it.
    func exchange(
        for head: HTTPRequestHead, on connection: Connection, _ caller: @autoclosure () -> ExchangeCaller?
    ) -> (any ServerExchange)? {
        guard let exchanges, RequestHeadCheck.fault(in: head, limits: limits) == nil, head.uri != "*" else {
            return nil
        }
        let request = IncomingRequest(head: head, caller: connection.caller)
        guard let match = exchanges(request.path), let caller = caller() else { return nil }
        if Self.endsParsing(head, hasUpgrade: head.headers.contains(name: "upgrade")) { connection.stopParsing() }
        return match.handler.exchange(for: request, head, at: match.rest, caller: caller)
    }

    /// The parser takes nothing behind a request that offers an upgrade or asks for a tunnel: no other can follow.
    private static func endsParsing(_ head: HTTPRequestHead, hasUpgrade: Bool) -> Bool {
        head.method == .CONNECT || (hasUpgrade && head.hasUpgradeConnection)
    }

    /// Reads and answers one request.
    private nonisolated(nonsending) func answerNext(on connection: Connection) async throws -> Next {
        let head: HTTPRequestHead
        do {
            guard case .head(let next) = try await connection.next() else { return .close }
            head = next
        } catch let fault as HTTPFault {
            try await send(refusal(fault), AnswerFraming(), on: connection)
            return .close
        }
        var framing = AnswerFraming(head)
        if let fault = RequestHeadCheck.fault(in: head, limits: limits) {
            try await send(refusal(fault), framing, on: connection)
            return .close
        }
        let hasUpgrade = head.headers.contains(name: "upgrade")
        let endsParsing = Self.endsParsing(head, hasUpgrade: hasUpgrade)
        if endsParsing { connection.stopParsing() }
        var body = IncomingBody(head: head, connection: connection.handle)
        let reply = try await reply(to: head, &body, connection.caller)
        if case .exchange(let match) = reply {
            return .exchange(IncomingRequest(head: head, caller: connection.caller), head, match)
        }
        // The handler has returned: what the body took in memory is free.
        defer { connection.release(.max) }
        framing.mayKeepAlive =
            mayFinishReading(body) && head.isKeepAlive && !hasUpgrade && head.method != .CONNECT
        // Only an answer that is ready does not wait for the rest of the body (contract N5).
        if !reply.isResponse {
            let isOver = try await finishReading(&body)
            framing.mayKeepAlive = framing.mayKeepAlive && isOver
            framing.mayHandOver = endsParsing && isOver && head.method != .CONNECT && !framing.isOld
        }
        let next = try await send(reply, framing, on: connection)
        guard case .request = next else { return next }
        return try await finishReading(&body) ? .request : .close
    }

    /// The answer to `OPTIONS *`, which asks about the server as a whole (RFC 9110 §9.3.7).
    private static let serverOptions = OutgoingResponse(
        status: .noContent, headers: ["Allow": "GET, HEAD, POST, DELETE, OPTIONS"])

    /// The handler's reply, or an error as the answer.
    private nonisolated(nonsending) func reply(
        to head: HTTPRequestHead, _ body: inout IncomingBody, _ caller: CallerPresence
    ) async throws -> HTTPReply {
        do {
            let request = IncomingRequest(head: head, caller: caller)
            if head.uri == "*" { return .response(Self.serverOptions) }
            if isHandlerOnLoop { return try await handler(request, &body) }
            return try await withTaskExecutorPreference(globalConcurrentExecutor) {
                try await handler(request, &body)
            }
        } catch {
            return .response(try errors.response(to: error))
        }
    }

    /// Asks a parked reply for the answer, and sends it or parks again.
    private nonisolated(nonsending) func resume(_ parked: ParkedReply, on connection: Connection) async throws -> Next {
        var reply: HTTPReply
        do {
            if isHandlerOnLoop {
                reply = try await parked.reply.reply()
            } else {
                reply = try await withTaskExecutorPreference(globalConcurrentExecutor) {
                    try await parked.reply.reply()
                }
            }
        } catch {
            reply = .response(try errors.response(to: error))
        }
        reply.add(parked.headers)
        return try await send(reply, parked.framing, on: connection)
    }

    /// An answer that is made before a handler sees the request.
    private func refusal(_ fault: HTTPFault) -> OutgoingResponse {
        var response = OutgoingResponse(fault)
        response.headers.add(contentsOf: errorHeaders)
        return response
    }

    // MARK: Bodies of requests

    /// Whether the unread rest of a body is so small that it is read all the same.
    private func mayFinishReading(_ body: IncomingBody) -> Bool {
        if body.isComplete { return true }
        if body.isBroken { return false }
        // A caller that waits for 100-continue may or may not send its body.
        guard let length = body.declaredLength, length <= Int64(Self.drainedBody) else { return false }
        return length == 0 || !body.awaitsContinue
    }

    /// Reads the rest of a body, if it is small. The caller must keep the rate that every body must keep.
    ///
    /// - Returns: whether the body is complete and the connection can be kept.
    private nonisolated(nonsending) func finishReading(_ body: inout IncomingBody) async throws -> Bool {
        guard mayFinishReading(body) else { return false }
        do {
            while try await body.next() != nil {}
            return true
        } catch is HTTPFault {
            return false
        }
    }

    // MARK: Answers

    /// Sends a reply that is ready.
    private nonisolated(nonsending) func send(
        _ reply: HTTPReply, _ framing: AnswerFraming, on connection: Connection
    ) async throws -> Next {
        switch reply {
        case .pending(let reply, headers: let headers):
            return .park(ParkedReply(reply: reply, headers: headers, framing: framing))
        case .response(let response):
            var framing = framing
            if connection.caller.isLeaving { framing.mayKeepAlive = false }
            try await send(response, framing, on: connection)
            return framing.mayKeepAlive ? .request : .close
        case .handOver(let response, to: let taker):
            guard framing.mayHandOver, !connection.caller.isLeaving else {
                let error =
                    framing.mayHandOver
                    ? PlatformError(.unavailable, "the platform is shutting down. Connect again a little later")
                    : PlatformError(.internal, "a handler upgrades a connection whose caller did not offer it")
                try await send(errors.response(to: error), AnswerFraming(), on: connection)
                return .close
            }
            guard connection.canHandOver else { throw CallerGone() }
            let head = HTTPResponseHead(version: .http1_1, status: response.status, headers: response.headers)
            try await connection.write([.head(head), .end(nil)])
            try connection.handOver(to: taker)
            return .handedOver
        case .exchange:
            throw PlatformError(.internal, "an answer that was not ready became an exchange")
        }
    }

    /// Sends an answer. Framing headers are set here and not by NIO's encoder, which does not know of `HEAD`.
    private nonisolated(nonsending) func send(
        _ response: OutgoingResponse, _ framing: AnswerFraming, on connection: Connection
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
            try await connection.write([part, .body(.byteBuffer(bytes)), .end(nil)])
        case .stream(let length, let write) where !isHead:
            try await connection.write([part])
            let body = OutgoingBody(connection: connection.handle)
            do {
                if isHandlerOnLoop {
                    try await write(body)
                } else {
                    // A handler's work on a long answer must not delay the other connections of this event loop.
                    try await withTaskExecutorPreference(globalConcurrentExecutor) { try await write(body) }
                }
            } catch {
                // Too late for an answer: the connection is cut off, so the caller sees that bytes are missing.
                _ = try errors.response(to: error)
                throw error
            }
            try await connection.write([.end(length == nil && !isOld ? body.trailerFields : nil)])
        default:
            try await connection.write([part, .end(nil)])
        }
        if !keepAlive, isOld, case .stream(nil, _) = response.body { throw CallerGone() }
    }
}

/// A reply that is not ready, with what is needed to send it.
struct ParkedReply: Sendable {
    let reply: any PendingReply
    let headers: HTTPHeaders
    let framing: AnswerFraming
}

/// The properties of a request that decide how its answer is framed and whether another may follow.
struct AnswerFraming: Sendable {
    /// The method is `HEAD`: no body.
    var isHead = false
    /// The caller speaks HTTP/1.0.
    var isOld = false
    /// Another request may follow on this connection.
    var mayKeepAlive = false
    /// The caller offered an upgrade, and all of its request was read.
    var mayHandOver = false

    init() {}

    init(_ head: HTTPRequestHead) {
        self.isHead = head.method == .HEAD
        self.isOld = head.version.isBefore11
    }
}

extension HTTPRequestHead {
    /// Whether `Connection` names `upgrade`, which makes the `Upgrade` header an offer (RFC 9110 §7.8).
    fileprivate var hasUpgradeConnection: Bool {
        headers[canonicalForm: "connection"].contains { $0.lowercased() == "upgrade" }
    }
}
