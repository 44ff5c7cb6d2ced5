import Core
import HTTPServing
import NIOCore
import NIOHTTP1

extension GatewayRoutes {
    /// `POST /<endpoint>` (contract A1, A5, A6).
    nonisolated(nonsending) func submit(
        to api: Endpoint, _ request: IncomingRequest, _ body: inout IncomingBody
    ) async throws -> Outcome {
        // Everything that can be refused is refused before the body is asked for.
        try Payload.check(body.declaredLength, limit: api.requests.maxPayload, spareDisk: spareDisk())
        let headers = try HeaderFilter.endToEnd(request.headers)
        let wait = try WaitPreference.read(request)
        let key = try IdempotencyKey.read(request)
        var fingerprint = key.map { _ in
            Fingerprint(
                contentTypes: request.values("content-type"), query: WaitPreference.removed(from: request.query))
        }
        let payload = try await Payload.read(
            &body, limit: api.requests.maxPayload, into: store, spareDisk: spareDisk, fingerprint: &fingerprint)

        let now = clock.now()
        let id = makeID(now)
        let submission = Submission(
            id: id, api: api.name, payload: payload.body, headers: headers, query: request.query,
            idempotency: key.flatMap { key in
                fingerprint.map { Submission.Idempotency(key: key, fingerprint: $0.finish()) }
            },
            queueDeadline: api.requests.maxQueueTime.map { now + $0 })
        // Before the request is there: its end cannot be missed.
        let poll = wait.map { waiting.enter(id, api: api.name, within: $0.duration, caller: request.caller) }
        let result: SubmitResult
        do {
            result = try await store.submit(submission, maxQueueLength: api.requests.maxQueueLength, now: now)
        } catch {
            await payload.discard()
            throw error
        }
        if result != .accepted { await payload.discard() }
        switch result {
        case .accepted:
            guard let wait, let poll else { return .response(accepted(id, api)) }
            return .pending(poll, .init(location: location(id, api), applied: wait.applied))
        case .duplicate(let first):
            guard let wait else { return .response(accepted(first, api)) }
            return try await outcome(
                of: waiting.enter(first, api: api.name, within: wait.duration, caller: request.caller),
                .init(location: location(first, api), applied: wait.applied))
        case .idempotencyMismatch:
            throw PlatformError(
                .idempotencyMismatch,
                "this Idempotency-Key was used for another body, content type or query. Use a new key for a new request"
            )
        case .queueFull:
            throw PlatformError(
                .queueFull, "the queue holds max_queue_length requests. Submit again when some are done")
        case .unknownAPI:
            throw PlatformError(.notFound, "the API at this path has just been deleted")
        }
    }

    private func accepted(_ id: RequestID, _ api: Endpoint) -> OutgoingResponse {
        let text = id.description
        var document = ByteBuffer()
        document.reserveCapacity(48)
        document.writeStaticString("{\"id\":\"")
        document.writeString(text)
        document.writeStaticString("\"}\n")
        return .json(document, headers: ["Location": location(text, api)])
    }

    private func location(_ id: RequestID, _ api: Endpoint) -> String { location(id.description, api) }

    private func location(_ id: String, _ api: Endpoint) -> String {
        api.path == "/" ? "/\(id)" : "\(api.path)/\(id)"
    }
}
