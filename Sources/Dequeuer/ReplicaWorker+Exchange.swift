import Core
import NIOCore
import NIOHTTP1

/// How the talk with the container ended.
enum ExchangeEnd {
    case completed(Body, writer: (any BodyWriter)?)
    /// The container answered, but not with a result.
    case answeredWrongly(RequestFailure)
    /// No connection, or not even the request's head got out; with the reason as a sentence.
    case unreachable(String)
    /// The connection is gone, after the request was sent.
    case lost
    /// The answer was good, but could not be kept.
    case storeTrouble(any Error)
}

extension ReplicaWorker {
    func exchange(_ delivery: Delivery, payload: (any BodyReader)?) async -> ExchangeEnd {
        while true {
            let connection: ContainerConnection
            let isReused: Bool
            if let kept = keptConnection() {
                connection = kept
                isReused = true
            } else {
                do {
                    connection = try await connect(delivery)
                } catch let error as PlatformError {
                    return .unreachable(error.message)
                } catch {
                    return .unreachable("it was closed at once.")
                }
                isReused = false
            }
            delivery.connection = connection
            // The replica may have become unready while it was connected to.
            if !mayBegin(delivery) { delivery.interrupt(.brokenOff) }
            guard delivery.interruption == nil else {
                connection.close()
                return .lost
            }
            let end = await exchange(delivery, on: connection, payload: payload)
            // A kept connection that was closed before the request's head got out: nothing has happened yet, so a new one may be used.
            if case .lost = end, !connection.isHeadWritten, delivery.interruption == nil, delivery.payloadError == nil {
                connection.close()
                if isReused, payload == nil { continue }
                return .unreachable("it was closed at once.")
            }
            return end
        }
    }

    private func connect(_ delivery: Delivery) async throws -> ContainerConnection {
        let connecting = Connecting()
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
        _ delivery: Delivery, on connection: ContainerConnection, payload: (any BodyReader)?
    ) async -> ExchangeEnd {
        let port = delivery.replica.api.specification.pod.port
        let head = ContainerRequest.head(for: delivery.request, port: port)
        guard let payload else {
            if case .inline(let bytes) = delivery.request.payload { connection.send(head, body: bytes) }
            delivery.isSent = true
            tell(.reached)
            return await answer(delivery, on: connection)
        }
        if delivery.request.payload.size <= Int64(Limits.bodyPiece) {
            do {
                connection.send(head, body: try await Self.whole(payload, size: delivery.request.payload.size))
            } catch {
                delivery.payloadError = error
                connection.close()
                return .lost
            }
            delivery.isSent = true
            tell(.reached)
            return await answer(delivery, on: connection)
        }
        connection.send(head, body: nil)
        tell(.reached)
        let lease = delivery.lease
        async let sending: Void = sendPayload(lease, from: payload)
        let end = await answer(delivery, on: connection)
        // An answer before the end of the request: what is left of the request is not wanted any more.
        if !delivery.isSent { connection.close() }
        await sending
        return end
    }

    /// All of a payload that is not too large to be sent at once.
    private static func whole(
        _ reader: any BodyReader, size: Int64, isolation: isolated (any Actor)? = #isolation
    ) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < Int(size), let piece = try await reader.read(upTo: Int(size) - bytes.count), !piece.isEmpty
        {
            if bytes.isEmpty { bytes = piece } else { bytes += piece }
        }
        guard bytes.count == Int(size) else {
            throw PlatformError(.notFound, "The payload is shorter than it was.")
        }
        return bytes
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
                    // The connection is gone; whoever reads the answer knows.
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
        case .lost(let loss): return end(of: loss)
        case .body, .end:
            connection.close()
            return .lost
        case .head(let head):
            let isKept = head.isKeepAlive
            switch Verdict.of(AnswerHead(head), maxResult: requests.maxResult) {
            case .failed(let failure):
                connection.close()
                return .answeredWrongly(failure)
            case .readText(let status):
                let (text, isWhole) = await firstBytes(of: connection)
                if isWhole, isKept, delivery.isSent { keep(connection) } else { connection.close() }
                if delivery.interruption != nil, !isWhole { return .lost }
                return .answeredWrongly(Verdict.wrongStatus(status, body: text))
            case .readResult:
                var result = ResultReader(store: shared.store, maxResult: requests.maxResult)
                let end = await result.read(connection)
                if case .completed = end, isKept, delivery.isSent { keep(connection) } else { connection.close() }
                return end
            }
        }
    }

    private func end(of loss: ContainerConnection.Loss) -> ExchangeEnd {
        switch loss {
        case .closed: .lost
        case .malformed(let reason):
            .answeredWrongly(
                RequestFailure(.containerInvalidJSON, "The container's answer could not be read: \(reason)."))
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
