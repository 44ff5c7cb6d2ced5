import Core
import HTTPServing
import NIOHTTP1

/// What the gateway does with a request: finds the API, submits, reads or cancels.
struct GatewayRoutes: Sendable {
    let store: any Store
    let clock: any PlatformClock
    let makeID: @Sendable (Timestamp) -> RequestID
    let endpoints: Endpoints
    let hub: WaiterHub
    let errors: ErrorResponses

    nonisolated(nonsending) func respond(to request: IncomingRequest, body: inout IncomingBody) async throws
        -> OutgoingResponse
    {
        var cors = Self.unknownCORS
        var response: OutgoingResponse
        do {
            let match = try await endpoints.find(request.path)
            switch match {
            case .requests(let api):
                cors = api.submitCORS
                response = try await requests(of: api, request, &body)
            case .request(let api, let id):
                cors = api.requestCORS
                response = try await self.request(id, of: api, request)
            }
        } catch {
            response = try errors.response(to: error)
        }
        // A status is old news the moment it is sent; nothing between here and the caller may keep it.
        response.headers.add(name: "Cache-Control", value: "no-store")
        if request.method != .OPTIONS { cors.apply(to: &response, for: request) }
        return response
    }

    /// `/<endpoint>`
    private nonisolated(nonsending) func requests(
        of api: Endpoint, _ request: IncomingRequest, _ body: inout IncomingBody
    ) async throws -> OutgoingResponse {
        switch request.method {
        case .POST: return try await submit(to: api, request, &body)
        case .OPTIONS: return api.submitCORS.preflight(request)
        default: throw HTTPFault.methodNotAllowed(request.method, allowed: [.POST, .OPTIONS])
        }
    }

    /// `/<endpoint>/<id>`
    private nonisolated(nonsending) func request(
        _ text: String, of api: Endpoint, _ request: IncomingRequest
    ) async throws -> OutgoingResponse {
        switch request.method {
        case .GET, .HEAD: return try await read(id(text), of: api, request)
        case .DELETE: return try await cancel(id(text), of: api)
        case .OPTIONS: return api.requestCORS.preflight(request)
        default: throw HTTPFault.methodNotAllowed(request.method, allowed: [.GET, .HEAD, .DELETE, .OPTIONS])
        }
    }

    private func id(_ text: String) throws -> RequestID {
        guard let id = RequestID(text) else { throw Self.unknownRequest }
        return id
    }

    private static let unknownCORS = CORS(methods: [.POST])

    static let unknownRequest = PlatformError(
        .notFound, "this API has no such request: the id is wrong, or its result has expired")
}
