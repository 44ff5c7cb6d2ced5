import Core
import HTTPServing
import NIOHTTP1

extension GatewayRoutes {
    /// `POST /<endpoint>` (contract A1, A5, A6).
    nonisolated(nonsending) func submit(
        to api: Endpoint, _ request: IncomingRequest, _ body: inout IncomingBody
    ) async throws -> OutgoingResponse {
        // Everything that can be refused is refused before the body is asked for.
        let headers = try HeaderFilter.endToEnd(request.headers)
        let wait = try WaitPreference.read(request)
        let key = try IdempotencyKey.read(request)
        var fingerprint = key.map { _ in
            Fingerprint(contentTypes: request.values("content-type"), query: request.query)
        }
        let payload = try await Payload.read(
            &body, limit: api.requests.maxPayload, into: store, fingerprint: &fingerprint)

        let now = clock.now()
        let id = makeID(now)
        let submission = Submission(
            id: id, api: api.name, payload: payload.body, headers: headers, query: request.query,
            idempotency: key.flatMap { key in
                fingerprint.map { Submission.Idempotency(key: key, fingerprint: $0.finish()) }
            },
            queueDeadline: api.requests.maxQueueTime.map { now + $0 })
        let waiter = wait.map { _ in hub.register(id) }
        defer { if let waiter { hub.remove(waiter) } }
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
            guard let wait, let waiter else { return accepted(id, api) }
            let record = RequestRecord(id: id, api: api.name, status: .inQueue, attempts: 0, submittedAt: now)
            let end = try await LongPoll(store: store, clock: clock, hub: hub).end(
                of: record, waiter: waiter, within: wait.duration, caller: request.caller)
            return try await answer(end, wait, api)
        case .duplicate(let first):
            guard let wait else { return accepted(first, api) }
            return try await answer(waitForEnd(of: first, api: api.name, wait, request.caller), wait, api)
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
        .json(Array("{\"id\":\"\(id)\"}\n".utf8), headers: ["Location": location(id, api)])
    }

    private func answer(
        _ record: RequestRecord?, _ wait: WaitPreference, _ api: Endpoint
    ) async throws -> OutgoingResponse {
        guard let record else { throw Self.unknownRequest }
        var response = try await RequestDocument(record).response(from: store, headersOnly: false)
        response.headers.add(name: "Location", value: location(record.id, api))
        if let applied = wait.applied { response.headers.add(name: "Preference-Applied", value: applied) }
        return response
    }

    private func location(_ id: RequestID, _ api: Endpoint) -> String {
        api.path == "/" ? "/\(id)" : "\(api.path)/\(id)"
    }
}
