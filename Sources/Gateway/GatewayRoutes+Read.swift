import Core
import HTTPServing
import NIOHTTP1

extension GatewayRoutes {
    /// `GET /<endpoint>/<id>` (contract A2, A3, A5).
    nonisolated(nonsending) func read(_ id: RequestID, of api: Endpoint, _ request: IncomingRequest) async throws
        -> OutgoingResponse
    {
        let wait = try WaitPreference.read(request)
        let verbose = try isVerbose(request)
        let record =
            if let wait {
                try await waitForEnd(of: id, api: api.name, wait, request.caller)
            } else {
                try await store.read(id, api: api.name, now: clock.now())
            }
        guard let record else { throw Self.unknownRequest }
        var response = try await RequestDocument(record, verbose: verbose).response(
            from: store, headersOnly: request.method == .HEAD)
        if let applied = wait?.applied { response.headers.add(name: "Preference-Applied", value: applied) }
        return response
    }

    func waitForEnd(
        of id: RequestID, api: String, _ wait: WaitPreference, _ caller: CallerPresence
    ) async throws -> RequestRecord? {
        let waiter = hub.register(id)
        defer { hub.remove(waiter) }
        guard let record = try await store.read(id, api: api, now: clock.now()) else { return nil }
        return try await LongPoll(store: store, clock: clock, hub: hub).end(
            of: record, waiter: waiter, within: wait.duration, caller: caller)
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
        return try await RequestDocument(record).response(from: store, headersOnly: false)
    }
}
