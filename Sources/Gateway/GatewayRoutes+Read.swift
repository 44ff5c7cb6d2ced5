import Core
import HTTPServing
import NIOHTTP1
import Wire

extension GatewayRoutes {
    /// `GET /<endpoint>/<id>` (contract A2, A3, A5).
    nonisolated(nonsending) func read(_ id: RequestID, of api: Endpoint, _ request: IncomingRequest) async throws
        -> Outcome
    {
        let wait = try WaitPreference.read(request)
        let form = PendingDocument.Form(
            verbose: try isVerbose(request), headersOnly: request.method == .HEAD, applied: wait?.applied)
        guard let wait else {
            let record = try await store.read(id, api: api.name, now: clock.now())
            return .response(try await document(record, form))
        }
        return try await outcome(
            of: waiting.enter(id, api: api.name, within: wait.duration, caller: request.caller), form)
    }

    /// The answer to a caller that waits, if it is there.
    nonisolated(nonsending) func outcome(of poll: LongPoll, _ form: PendingDocument.Form) async throws -> Outcome {
        try await document(poll, form).map(Outcome.response) ?? .pending(poll, form)
    }

    /// The answer to a caller that waits; `nil` while there is nothing but to wait on.
    nonisolated(nonsending) func document(_ poll: LongPoll, _ form: PendingDocument.Form) async throws
        -> OutgoingResponse?
    {
        switch try await poll.look() {
        case .record(let record): try await document(record, form)
        case .gone: throw Self.unknownRequest
        case .stillWaiting: nil
        }
    }

    private nonisolated(nonsending) func document(_ record: RequestRecord?, _ form: PendingDocument.Form) async throws
        -> OutgoingResponse
    {
        guard let record else { throw Self.unknownRequest }
        var response = try await RequestText(record, verbose: form.verbose).response(
            from: store, headersOnly: form.headersOnly)
        if let location = form.location { response.headers.add(name: "Location", value: location) }
        if let applied = form.applied { response.headers.add(name: "Preference-Applied", value: applied) }
        return response
    }

    private func isVerbose(_ request: IncomingRequest) throws -> Bool {
        switch request.parameter("verbose") {
        case nil, "false", "0": false
        case "", "true", "1": true
        default: throw PlatformError(.badRequest, "verbose must be true or false")
        }
    }

    /// `DELETE /<endpoint>/<id>` (contract A7).
    func cancel(_ id: RequestID, of api: Endpoint) async throws -> OutgoingResponse {
        guard let (record, wasCancelled) = try await store.cancel(id, api: api.name, now: clock.now()) else {
            throw Self.unknownRequest
        }
        guard wasCancelled else {
            throw PlatformError(.conflict, "the request has already ended as \(record.status.rawValue)")
        }
        return try await RequestText(record).response(from: store, headersOnly: false)
    }
}
