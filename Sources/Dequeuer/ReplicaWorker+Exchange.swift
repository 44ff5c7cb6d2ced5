import ContainerHTTP
import Core
import NIOCore
import NIOHTTP1
import Support

/// How the exchange with the container ended.
enum ExchangeEnd {
    case completed(Body, writer: (any BodyWriter)?)
    /// The container answered, but not with a result.
    case invalidAnswer(RequestFailure)
    /// No connection, or not even the request's head got out; with the reason as a sentence.
    case unreachable(String)
    /// The connection is gone, after the request was sent; with what had arrived until then, as a sentence.
    case lost(String)
    /// The answer was good, but could not be kept.
    case storeTrouble(any Error)

    static let lostBeforeAnswer = ExchangeEnd.lost(
        "The connection to the container was lost before any byte of its answer.")
}

/// A payload on its way to a container.
enum OutgoingPayload {
    /// Small enough to be sent at once, and again.
    case whole([UInt8])
    case streamed(any BodyReader, size: Int64)

    var size: Int64 {
        switch self {
        case .whole(let bytes): Int64(bytes.count)
        case .streamed(_, let size): size
        }
    }
}

extension ReplicaWorker {
    /// Delivers a request over a connection of its own or a kept one.
    ///
    /// A delivery that the container provably did not see is repeated here and counts as nothing (contract A11): over a
    /// new connection when a kept one was closed, and after a short wait, up to ``Limits/refusedConnections`` times,
    /// when none could be made.
    func exchange(_ delivery: Delivery, _ payload: OutgoingPayload) async -> ExchangeEnd {
        var refusals = 0
        // The container may answer a payload that is still being sent; on a new connection that cannot be an answer to
        // an earlier request.
        var isNewNeeded = delivery.request.attempts > 0
        if case .streamed = payload { isNewNeeded = true }
        while true {
            let connection: ContainerConnection
            if !isNewNeeded, let kept = keptConnection() {
                connection = kept
            } else {
                let began = shared.clock.instant()
                do {
                    connection = try await connect(delivery)
                } catch let error as PlatformError {
                    let isQuick = shared.clock.instant() - began < .seconds(1)
                    guard error.code == .connectionFailed, isQuick, refusals < Limits.refusedConnections else {
                        return .unreachable(error.message)
                    }
                    refusals += 1
                    guard delivery.interruption == nil else { return .lostBeforeAnswer }
                    await pause(delivery, Backoff.refusal.delay(failures: refusals, chance: shared.chance.next()))
                    if !mayBegin(delivery) { delivery.interrupt(.brokenOff) }
                    guard delivery.interruption == nil else { return .lostBeforeAnswer }
                    continue
                } catch {
                    return .unreachable("it was closed at once.")
                }
            }
            delivery.connection = connection
            // The replica may have become unready while it was connected to.
            if !mayBegin(delivery) { delivery.interrupt(.brokenOff) }
            guard delivery.interruption == nil else {
                connection.close()
                // Nothing was sent: the container cannot be the reason for anything.
                delivery.connection = nil
                return .lostBeforeAnswer
            }
            let end = await exchange(delivery, on: connection, payload)
            guard case .lost = end, delivery.interruption == nil, delivery.payloadError == nil else { return end }
            if connection.isRequestUnseen {
                connection.close()
                delivery.connection = nil
                isNewNeeded = true
                continue
            }
            guard connection.isHeadWritten else {
                connection.close()
                return .unreachable("it was closed at once.")
            }
            return end
        }
    }

    /// Waits until the delivery is interrupted at the longest.
    func pause(_ delivery: Delivery, _ duration: Duration) async {
        let pause = Task { [clock = shared.clock] in _ = try? await clock.sleep(for: duration) }
        delivery.wait = pause
        await pause.value
        delivery.wait = nil
    }

    private func connect(_ delivery: Delivery) async throws -> ContainerConnection {
        let connecting = ConnectionAttempt()
        delivery.connecting = connecting
        defer { delivery.connecting = nil }
        guard delivery.interruption == nil else { throw CancellationError() }
        let port = delivery.replica.api.specification.pod.port
        let descriptor = try await connecting.descriptor(delivery.replica.connector, port: port)
        return try await ContainerConnection.adopt(descriptor, loop: executor.loop, transport: shared.transport)
    }

    /// The connection used last, if it is still good.
    private func keptConnection() -> ContainerConnection? {
        let oldest = shared.clock.instant() - shared.configuration.idleConnection
        while let connection = idle.popLast() {
            if connection.idleSince > oldest, connection.isUsable { return connection }
            connection.close()
        }
        return nil
    }

    private func keep(_ connection: ContainerConnection) {
        guard isReady, !isStopping, idle.count < replica.api.specification.pod.maxConcurrency else {
            connection.close()
            return
        }
        let now = shared.clock.instant()
        connection.rest(since: now)
        idle.append(connection)
        wake(at: now + shared.configuration.idleConnection)
    }

    private func exchange(
        _ delivery: Delivery, on connection: ContainerConnection, _ payload: OutgoingPayload
    ) async -> ExchangeEnd {
        let port = delivery.replica.api.specification.pod.port
        let head = ContainerRequest.head(for: delivery.request, port: port)
        switch payload {
        case .whole(let bytes):
            connection.send(head, body: bytes)
            delivery.isSent = true
            noteReached()
            return await answer(delivery, on: connection)
        case .streamed(let reader, _):
            connection.send(head, body: nil)
            noteReached()
            let lease = delivery.lease
            async let sending: Void = sendPayload(lease, from: reader)
            let end = await answer(delivery, on: connection)
            // An answer before the end of the request: what is left of the request is not wanted any more.
            if !delivery.isSent { connection.close() }
            await sending
            return end
        }
    }

    /// Sends a payload file piece by piece, each when the socket took the one before.
    private func sendPayload(_ lease: Lease, from reader: any BodyReader) async {
        guard let delivery = deliveries[lease], let connection = delivery.connection else { return }
        var rest = delivery.request.payload.size
        do {
            while rest > 0 {
                let limit = Int(min(rest, Int64(Limits.bodyPiece)))
                guard let piece = try await reader.read(upTo: limit), !piece.isEmpty, piece.count <= limit else {
                    throw PlatformError(.notFound, "The payload is shorter than it was.")
                }
                rest -= Int64(piece.count)
                do {
                    try await connection.sendBody(piece)
                } catch {
                    // The connection is gone; the reader of the answer sees that.
                    return
                }
            }
        } catch {
            delivery.payloadError = error
            connection.close()
            return
        }
        connection.endBody()
        delivery.isSent = true
    }

    // MARK: The answer

    private func answer(_ delivery: Delivery, on connection: ContainerConnection) async -> ExchangeEnd {
        let requests = delivery.replica.api.specification.requests
        switch await connection.next() {
        case .lost(.closed) where connection.hasReceived:
            return .lost("The connection to the container was lost within the head of its answer.")
        case .lost(.closed): return .lostBeforeAnswer
        case .lost(.malformed(let reason)): return .invalidAnswer(Verdict.unreadable(reason))
        case .body, .end:
            connection.close()
            return .lostBeforeAnswer
        case .head(let head):
            let isKept = head.isKeepAlive
            switch Verdict.of(AnswerHead(head), maxResult: requests.maxResult) {
            case .failed(let failure):
                connection.close()
                return .invalidAnswer(failure)
            case .readText(let status):
                let (text, isWhole) = await firstBytes(of: connection)
                if isWhole, isKept, delivery.isSent { keep(connection) } else { connection.close() }
                if delivery.interruption != nil, !isWhole { return .lostBeforeAnswer }
                return .invalidAnswer(Verdict.wrongStatus(status, body: text))
            case .readResult:
                var result = ResultReader(
                    store: shared.store, maxResult: requests.maxResult, announced: AnswerHead(head).contentLength)
                let end = await result.read(connection)
                if case .completed = end, isKept, delivery.isSent { keep(connection) } else { connection.close() }
                return end
            }
        }
    }

    /// The beginning of a wrong answer, and whether the answer ended with it.
    private func firstBytes(of connection: ContainerConnection) async -> (bytes: [UInt8], isWhole: Bool) {
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

extension AnswerHead {
    init(_ head: HTTPResponseHead) {
        self.init(
            status: Int(head.status.code), contentTypes: head.headers["Content-Type"],
            contentEncoding: head.headers.first(name: "Content-Encoding"),
            contentLength: head.headers.first(name: "Content-Length").flatMap { Int64($0) })
    }
}
