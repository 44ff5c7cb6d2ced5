import Core
import Logging
import Support

extension ReplicaWorker {
    /// What the store records.
    enum Settlement {
        /// `writer` is there to forget a result that the store did not take.
        case finish(Outcome, writer: (any BodyWriter)?)
        case release
        /// Nothing: someone else has the request, or it ended.
        case drop
    }

    /// Delivers one claimed request, whose slot is counted in, and settles it.
    func deliver(_ request: ClaimedRequest) async {
        guard let delivery = deliveries[request.lease] else { return }
        shared.hub.entered(request.id, self)
        let settlement = await attempt(delivery)
        shared.hub.left(request.id)
        delivery.isInside = false
        delivery.connection = nil
        place.group.left(place.id)
        delivery.replica.activity.end(startedAt: delivery.startedAt)
        signal.fire(.state)
        await settle(delivery, settlement)
        deliveries[request.lease] = nil
        signal.fire(.state)
    }

    private func attempt(_ delivery: Delivery) async -> Settlement {
        guard mayBegin(delivery), delivery.interruption != .brokenOff else { return .release }
        switch delivery.request.payload {
        case .inline(let bytes):
            return await settlement(of: delivery, exchange(delivery, .whole(bytes)))
        case .file(_, let size):
            let reader: any BodyReader
            do {
                reader = try await shared.store.reader(of: delivery.request.payload)
            } catch {
                return unreadable(delivery, error)
            }
            guard size <= Int64(Limits.bodyPiece) else {
                let end = await exchange(delivery, .streamed(reader, size: size))
                await reader.close()
                return await settlement(of: delivery, end)
            }
            let bytes: [UInt8]
            do {
                bytes = try await Self.whole(reader, size: size)
                await reader.close()
            } catch {
                await reader.close()
                return unreadable(delivery, error)
            }
            return await settlement(of: delivery, exchange(delivery, .whole(bytes)))
        }
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

    /// Since the claim the replica may have become unready (contract C7), or the platform may be stopping (C13): then
    /// nothing more is sent.
    func mayBegin(_ delivery: Delivery) -> Bool {
        isReady && !isStopping && !delivery.replica.activity.isCut
    }

    private func settlement(of delivery: Delivery, _ end: ExchangeEnd) async -> Settlement {
        switch end {
        case .completed(let body, let writer):
            return .finish(.completed(body), writer: writer)
        case .invalidAnswer(let failure):
            return failed(delivery, failure)
        case .storeTrouble(let error):
            shared.logger.warning(
                "the container's answer could not be kept; the request goes back to the queue",
                metadata: metadata(delivery.lease).merging(["error": "\(error)"]) { $1 })
            noteTrouble()
            return .release
        case .unreachable, .lost:
            if let error = delivery.payloadError { return unreadable(delivery, error) }
            switch delivery.interruption {
            case .brokenOff: return cutOff(delivery)
            case .leaseLost: return .drop
            case .timedOut: return failed(delivery, timeout(delivery))
            case nil: break
            }
            if delivery.replica.activity.isCut { return cutOff(delivery) }
            if let cause = await cause(of: end, delivery) { return ended(delivery, because: cause) }
            if case .lost(let what) = end { return failed(delivery, lost(what)) }
            noteTrouble()
            if case .unreachable(let reason) = end { return failed(delivery, unreachable(delivery, reason)) }
            return .release
        }
    }

    /// Why the platform knows that the connection broke, if it does.
    ///
    /// The kernel may kill a container before the platform hears of it: where the request is about to fail for good,
    /// that is waited for.
    private func cause(of end: ExchangeEnd, _ delivery: Delivery) async -> CutReason? {
        let activity = delivery.replica.activity
        guard case .lost = end else { return activity.cutReason.flatMap { $0.cost == .attempt ? nil : $0 } }
        let retries = delivery.replica.api.specification.requests.retries
        let isLast = delivery.request.attempts + 1 >= retries.maxAttempts || !retries.on.contains(.unreachable)
        for _ in 0..<10 where isLast && activity.cutReason == nil && delivery.interruption == nil {
            await pause(delivery, .milliseconds(100))
        }
        return activity.cutReason
    }

    /// A delivery that the platform itself ended counts as no attempt (contract C13).
    private func cutOff(_ delivery: Delivery) -> Settlement {
        // Where only this worker stops, what may be known of the replica is not the reason.
        guard delivery.replica.activity.isCut, let cause = delivery.replica.activity.cutReason else { return .release }
        return ended(delivery, because: cause)
    }

    /// What becomes of a request whose delivery ended for a reason that the platform knows: where that may be the
    /// request's own doing, it is delivered only a few times more (contract C13).
    private func ended(_ delivery: Delivery, because cause: CutReason) -> Settlement {
        // Without a connection the container saw nothing, and nothing of it can be the reason.
        guard delivery.connection != nil else { return .release }
        switch cause.cost {
        case .nothing: return .release
        case .attempt: return failed(delivery, lost("The connection was lost: \(cause.explanation)."))
        case .interruption:
            let earlier = delivery.request.interruptions
            guard earlier >= Limits.interruptions else { return .finish(.interrupted, writer: nil) }
            let message = "In \(earlier + 1) deliveries \(cause.explanation)."
            return .finish(
                .failed(RequestFailure(.replicaLost, cause.remedy.map { "\(message) \($0)" } ?? message)), writer: nil)
        }
    }

    private func failed(_ delivery: Delivery, _ failure: RequestFailure) -> Settlement {
        let now = shared.clock.now()
        let outcome = delivery.replica.api.specification.requests.retries.outcome(
            of: failure, earlier: delivery.request.attempts, now: now, chance: shared.chance.next())
        if case .retry(_, let moment) = outcome {
            place.group.retry(after: moment - now, now: shared.clock.instant())
        }
        shared.logger.debug(
            "a delivery failed", metadata: metadata(delivery.lease).merging(["kind": "\(failure.kind.rawValue)"]) { $1 }
        )
        return .finish(outcome, writer: nil)
    }

    /// A payload that is gone for good ends the request; one that cannot be read just now waits.
    private func unreadable(_ delivery: Delivery, _ error: any Error) -> Settlement {
        if let error = error as? PlatformError, error.code == .notFound {
            shared.logger.error("a payload is missing in the store", metadata: metadata(delivery.lease))
            return .finish(
                .failed(
                    .init(
                        .containerUnreachable,
                        "No container could be given this request: its payload is missing on the server. Submit it again."
                    )),
                writer: nil)
        }
        shared.outage.failed("read payload", error)
        noteTrouble()
        return .release
    }

    // MARK: Failures, with what to do

    private func unreachable(_ delivery: Delivery, _ reason: String) -> RequestFailure {
        RequestFailure(
            .containerUnreachable,
            "No connection to port \(delivery.replica.api.specification.pod.port) of a ready pod: \(reason) Check that the container keeps listening there (cortex logs \(api))."
        )
    }

    private func lost(_ what: String) -> RequestFailure {
        RequestFailure(
            .replicaLost,
            "\(what) Check whether the container crashed or closed the connection (cortex logs \(api)).")
    }

    private func timeout(_ delivery: Delivery) -> RequestFailure {
        let seconds = delivery.replica.api.specification.requests.timeout.inSeconds
        return RequestFailure(
            .timeout,
            "The container gave no complete answer within timeout (\(seconds.formatted) s); raise timeout or answer sooner."
        )
    }

    // MARK: Telling the store

    /// Tells the store until it has heard: a result is never dropped silently.
    private func settle(_ delivery: Delivery, _ settlement: Settlement) async {
        var failures = 0
        while true {
            do {
                switch settlement {
                case .drop: return
                case .release:
                    try await withoutCancellation { [shared, lease = delivery.lease] in
                        try await shared.store.release([lease], now: shared.clock.now())
                    }
                case .finish(let outcome, let writer):
                    let result = try await finish(Ending(lease: delivery.lease, outcome: outcome))
                    if result == .stale, let writer, await !isRecorded(outcome, of: delivery, failures: failures) {
                        await writer.discard()
                    }
                }
                shared.outage.succeeded()
                return
            } catch {
                failures += 1
                shared.outage.failed("finish", error)
                guard !isBrokenOff else {
                    shared.logger.error(
                        "shut down before the store took an outcome; the request will be delivered again",
                        metadata: metadata(delivery.lease).merging(["error": "\(error)"]) { $1 })
                    return
                }
                await pause(delivery, Backoff.store.delay(failures: failures, chance: shared.chance.next()))
            }
        }
    }
}

extension ReplicaWorker {
    /// Whether an outcome that is stale now was taken by an earlier try, which only seemed to have failed: then its
    /// body is the record's.
    private func isRecorded(_ outcome: Outcome, of delivery: Delivery, failures: Int) async -> Bool {
        guard failures > 0, case .completed(let body) = outcome else { return false }
        do {
            let record = try await shared.store.read(delivery.lease.id, api: api, now: shared.clock.now())
            return record?.result == body
        } catch {
            // Not known: a file too many is swept at the next start, one too few would be a result lost.
            return true
        }
    }
}

extension Double {
    /// `1`, `0.5`: without a needless fraction.
    fileprivate var formatted: String {
        self == rounded() && abs(self) < 1e15 ? "\(Int64(self))" : "\(self)"
    }
}

/// Runs a last write to the end even when the task is cancelled: stores may heed cancellation, and an outcome must not
/// be lost to it.
private func withoutCancellation<Result: Sendable>(
    isolation: isolated (any Actor)? = #isolation, _ operation: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    guard Task.isCancelled else { return try await operation() }
    return try await Task { try await operation() }.value
}
