import ContainerHTTP
import Core
import NIOCore
import NIOHTTP1
import Support

/// What the container did with a request.
enum ExchangeEnd {
    /// It answered with a result. `writer` is set when the result was stored outside its row, and discards it again.
    case completed(Body, writer: (any BodyWriter)?)
    /// It answered a batch with status 200.
    case replied(BatchReply)
    /// It answered the call after the last batch of a job with status 200.
    case acknowledged
    /// It answered, but not with a result.
    case invalidAnswer(RequestFailure)
    /// No connection was made, or it was closed before the head of the request was sent. The text is a sentence.
    case unreachable(String)
    /// The connection was lost after the request was sent. The text is a sentence that says what had arrived.
    case lost(String)
    /// The answer was a result, but the store did not take it.
    case notStored(any Error)
    /// The payload could not be read from the store.
    case payloadUnreadable(any Error)
    /// The platform stopped the exchange before an answer was complete.
    case interrupted(Delivery.Interruption)
    /// Nothing was sent, because the replica or the platform stopped after the request was claimed.
    case notBegun

    static let lostBeforeAnswer = ExchangeEnd.lost(
        "The connection to the container was lost before any byte of its answer.")

    /// What must be discarded when the answer is not recorded.
    var writers: [any BodyWriter] {
        switch self {
        case .completed(_, let writer?): [writer]
        case .replied(let reply): reply.writers
        default: []
        }
    }
}

/// One delivery: a claimed request and its exchange with a container. It belongs to one worker and runs on the worker's
/// event loop.
///
/// It stays until the store has recorded how it ended.
final class Delivery {
    enum Interruption {
        /// The attempt took longer than `timeout`.
        case timedOut
        /// The platform stops the exchange: it shuts down, or the replica is drained. No attempt is counted.
        case cutOff
        /// The request has ended or was claimed again: nothing of this delivery is recorded.
        case leaseLost
    }

    let request: ClaimedRequest
    let replica: ReadyReplica
    let rule: DeliveryRule
    let startedAt: Instant
    let deadline: Instant
    /// Whether the container may still be working on the request.
    private(set) var isInside = true
    /// The first reason to stop the exchange.
    private(set) var interruption: Interruption?
    /// The connection that the request was sent over, or is about to be.
    private var connection: ContainerConnection?
    private var attempt: ConnectionAttempt?
    private var pause: Task<Void, Never>?
    /// Whether the whole request was handed to the connection. Only then can the connection be kept.
    private var isSent = false
    /// Why the payload could not be read while it was being sent.
    private var payloadError: (any Error)?

    init(_ request: ClaimedRequest, replica: ReadyReplica, rule: DeliveryRule, now: Instant) {
        self.request = rule.prepared(request)
        self.replica = replica
        self.rule = rule
        self.startedAt = now
        self.deadline = now + replica.requests.timeout
    }

    var lease: Lease { request.lease }

    /// Whether the container may have seen something of the request.
    var hasConnection: Bool { connection != nil }

    /// Stops the exchange: closes the connection, and ends every wait.
    func interrupt(_ reason: Interruption) {
        if interruption == nil { interruption = reason }
        attempt?.cancel()
        connection?.close()
        pause?.cancel()
    }

    /// The request has left the container. The connection may serve others from now on.
    func leave() {
        isInside = false
        connection = nil
    }

    /// Returns after `duration`, or as soon as the delivery is interrupted.
    func pause(
        for duration: Duration, clock: any PlatformClock, isolation: isolated (any Actor)? = #isolation
    ) async {
        let pause = Task { _ = try? await clock.sleep(for: duration) }
        self.pause = pause
        await pause.value
        self.pause = nil
    }

    // MARK: The payload

    private enum Payload {
        /// Sent at once, and again if needed.
        case whole([UInt8])
        /// Sent piece by piece as it is read, once.
        case streamed(any BodyReader)
    }

    /// Sends the request and reads the answer.
    func exchange(by worker: isolated ReplicaWorker) async -> ExchangeEnd {
        guard worker.mayBegin(self), interruption != .cutOff else { return .notBegun }
        switch request.payload {
        case .inline(let bytes):
            return await exchange(.whole(bytes), by: worker)
        case .stored(_, let size):
            let reader: any BodyReader
            do {
                reader = try await worker.shared.store.reader(of: request.payload)
            } catch {
                return .payloadUnreadable(error)
            }
            guard size <= Int64(Limits.bodyPiece) else {
                let end = await exchange(.streamed(reader), by: worker)
                await reader.close()
                return end
            }
            let bytes: [UInt8]
            do {
                bytes = try await Self.readAll(reader, size: size)
                await reader.close()
            } catch {
                await reader.close()
                return .payloadUnreadable(error)
            }
            return await exchange(.whole(bytes), by: worker)
        }
    }

    private static func readAll(
        _ reader: any BodyReader, size: Int64, isolation: isolated (any Actor)? = #isolation
    ) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < Int(size), let piece = try await reader.read(upTo: Int(size) - bytes.count), !piece.isEmpty
        {
            if bytes.isEmpty { bytes = piece } else { bytes += piece }
        }
        guard bytes.count == Int(size) else { throw Self.shortPayload }
        return bytes
    }

    private static var shortPayload: PlatformError {
        PlatformError(.notFound, "The payload in the store is shorter than it was when it was submitted.")
    }

    // MARK: The connection

    /// Sends the request over a kept connection or a new one.
    ///
    /// An exchange that the container provably did not see is repeated here and does not count (contract A11): over a
    /// new connection when a kept one was closed, and up to ``Limits/refusedConnections`` times after a short pause
    /// when the port refuses.
    private func exchange(_ payload: Payload, by worker: isolated ReplicaWorker) async -> ExchangeEnd {
        let shared = worker.shared
        var refusals = 0
        // A container may answer while the payload is still being sent. Only on a new connection it is certain that
        // this is not the answer to an earlier request.
        var needsNewConnection = request.attempts > 0
        if case .streamed = payload { needsNewConnection = true }
        while true {
            let connection: ContainerConnection
            if !needsNewConnection, let kept = worker.takeIdleConnection() {
                connection = kept
            } else {
                let began = shared.clock.instant()
                do {
                    connection = try await connect(by: worker)
                } catch let error as PlatformError {
                    if let interruption { return .interrupted(interruption) }
                    let isQuick = shared.clock.instant() - began < .seconds(1)
                    guard error.code == .connectionFailed, isQuick, refusals < Limits.refusedConnections else {
                        return .unreachable(error.message)
                    }
                    refusals += 1
                    await pause(
                        for: Backoff.refusal.delay(failures: refusals, chance: shared.chance.next()),
                        clock: shared.clock)
                    if !worker.mayBegin(self) { interrupt(.cutOff) }
                    if let interruption { return .interrupted(interruption) }
                    continue
                } catch {
                    if let interruption { return .interrupted(interruption) }
                    return .unreachable("it was closed at once.")
                }
            }
            self.connection = connection
            // The replica may have become unready while the connection was made.
            if !worker.mayBegin(self) { interrupt(.cutOff) }
            if let interruption {
                connection.close()
                // Nothing was sent, so the container cannot be the cause of anything.
                self.connection = nil
                return .interrupted(interruption)
            }
            let end = await exchange(payload, over: connection, by: worker)
            guard case .lost = end else { return end }
            if let payloadError { return .payloadUnreadable(payloadError) }
            if let interruption { return .interrupted(interruption) }
            if connection.isRequestUnseen {
                connection.close()
                self.connection = nil
                needsNewConnection = true
                continue
            }
            guard connection.isHeadWritten else {
                connection.close()
                return .unreachable("it was closed at once.")
            }
            return end
        }
    }

    private func connect(by worker: isolated ReplicaWorker) async throws -> ContainerConnection {
        let attempt = ConnectionAttempt()
        self.attempt = attempt
        defer { self.attempt = nil }
        guard interruption == nil else { throw CancellationError() }
        let port = replica.port
        let descriptor = try await attempt.descriptor(replica.connector, port: port)
        return try await ContainerConnection.adopt(
            descriptor, loop: worker.executor.loop, transport: worker.shared.transport)
    }

    // MARK: Sending

    private func exchange(
        _ payload: Payload, over connection: ContainerConnection, by worker: isolated ReplicaWorker
    ) async -> ExchangeEnd {
        let head = rule.head(of: request, port: replica.port)
        switch payload {
        case .whole(let bytes):
            connection.send(head, body: bytes)
            isSent = true
            worker.noteReached()
            return await answer(over: connection, by: worker)
        case .streamed(let reader):
            connection.send(head, body: nil)
            worker.noteReached()
            let lease = lease
            async let sending: Void = worker.sendPayload(of: lease, from: reader)
            let end = await answer(over: connection, by: worker)
            // The answer came before the end of the request: the container does not want the rest.
            if !isSent { connection.close() }
            await sending
            return end
        }
    }

    /// Sends a payload file piece by piece, each after the socket has taken the one before.
    fileprivate func sendPayload(
        from reader: any BodyReader, isolation: isolated (any Actor)? = #isolation
    ) async {
        guard let connection else { return }
        var rest = request.payload.size
        do {
            while rest > 0 {
                let limit = Int(min(rest, Int64(Limits.bodyPiece)))
                guard let piece = try await reader.read(upTo: limit), !piece.isEmpty, piece.count <= limit else {
                    throw Self.shortPayload
                }
                rest -= Int64(piece.count)
                do {
                    try await connection.sendBody(piece)
                } catch {
                    // The connection is gone; the reader of the answer notices that.
                    return
                }
            }
        } catch {
            payloadError = error
            connection.close()
            return
        }
        connection.endBody()
        isSent = true
    }

    // MARK: The answer

    private func answer(over connection: ContainerConnection, by worker: isolated ReplicaWorker) async -> ExchangeEnd {
        let maxResult = replica.requests.maxResult
        switch await connection.next() {
        case .lost(.closed) where connection.hasReceived:
            return .lost("The connection to the container was lost within the head of its answer.")
        case .lost(.closed): return .lostBeforeAnswer
        case .lost(.malformed(let reason)), .lost(.headTooLarge(let reason)):
            return .invalidAnswer(rule.unreadable(reason))
        case .body, .end:
            connection.close()
            return .lostBeforeAnswer
        case .head(let head):
            let isKept = head.isKeepAlive
            let answer = AnswerHead(head)
            switch rule.verdict(of: answer, head, to: request, maxResult: maxResult) {
            case .failed(let failure):
                connection.close()
                return .invalidAnswer(failure)
            case .readText(let status):
                let (text, isWhole) = await Self.firstBytes(of: connection)
                if isWhole, isKept, isSent { worker.keep(connection) } else { connection.close() }
                if interruption != nil, !isWhole { return .lostBeforeAnswer }
                return .invalidAnswer(Verdict.wrongStatus(status, body: text))
            case .readResult:
                var result = ResultReader(
                    store: worker.shared.store, maxResult: maxResult, announced: answer.contentLength)
                let end = await result.read(connection)
                if case .completed = end, isKept, isSent { worker.keep(connection) } else { connection.close() }
                return end
            case .readReply(let failed, let isWhole):
                var reply = BatchReplyReader(
                    request: request, items: request.batch?.items.count ?? 0, failed: failed, isWhole: isWhole,
                    store: worker.shared.store, maxResult: maxResult, announced: answer.contentLength)
                let end = await reply.read(connection)
                if case .replied = end, isKept, isSent { worker.keep(connection) } else { connection.close() }
                return end
            case .acknowledge:
                let (_, isWhole) = await Self.firstBytes(of: connection)
                if isWhole, isKept, isSent { worker.keep(connection) } else { connection.close() }
                return .acknowledged
            }
        }
    }

    /// The beginning of an answer that is not a result, and whether the answer ended with it.
    private static func firstBytes(
        of connection: ContainerConnection, isolation: isolated (any Actor)? = #isolation
    ) async -> (bytes: [UInt8], isWhole: Bool) {
        var bytes: [UInt8] = []
        while bytes.count < Limits.failureBody {
            switch await connection.next() {
            case .body(let buffer): bytes += buffer.readableBytesView.prefix(Limits.failureBody - bytes.count)
            case .end: return (bytes, true)
            case .head, .lost: return (bytes, false)
            }
        }
        return (bytes, false)
    }
}

extension ReplicaWorker {
    /// Runs beside the reader of the answer, on the same event loop.
    fileprivate func sendPayload(of lease: Lease, from reader: any BodyReader) async {
        await deliveries[lease]?.sendPayload(from: reader)
    }
}

extension AnswerHead {
    fileprivate init(_ head: HTTPResponseHead) {
        self.init(
            status: Int(head.status.code), contentTypes: head.headers["Content-Type"],
            contentEncoding: head.headers.first(name: "Content-Encoding"),
            contentLength: head.headers.first(name: "Content-Length").flatMap { Int64($0) })
    }
}
