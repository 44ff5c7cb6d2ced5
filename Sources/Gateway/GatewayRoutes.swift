import Core
import HTTPServing
import NIOHTTP1

/// What the gateway does with a request: finds the API, submits, reads or cancels.
///
/// An object, because every waiting caller refers to it.
final class GatewayRoutes: Sendable {
    let store: any Store
    let clock: any PlatformClock
    let makeID: @Sendable (Timestamp) -> RequestID
    let endpoints: Endpoints
    let waiting: WaitingCallers
    let errors: ErrorResponses
    /// Bytes of disk that submissions may still take.
    let spareDisk: @Sendable () -> Int64

    init(
        store: any Store, clock: any PlatformClock, makeID: @escaping @Sendable (Timestamp) -> RequestID,
        endpoints: Endpoints, waiting: WaitingCallers, errors: ErrorResponses,
        spareDisk: @escaping @Sendable () -> Int64
    ) {
        self.store = store
        self.clock = clock
        self.makeID = makeID
        self.endpoints = endpoints
        self.waiting = waiting
        self.errors = errors
        self.spareDisk = spareDisk
    }

    /// What is to be sent, or waited for.
    enum Outcome: Sendable {
        case response(OutgoingResponse)
        case pending(LongPoll, PendingDocument.Form)
    }

    nonisolated(nonsending) func respond(to request: IncomingRequest, body: inout IncomingBody) async throws
        -> HTTPReply
    {
        var cors = Self.unknownCORS
        var isKnown = false
        // The answer to a preflight has its own.
        var needsCORS = request.method != .OPTIONS
        var outcome: Outcome
        do {
            let match = try await endpoints.find(request.path)
            isKnown = true
            switch match {
            case .requests(let api):
                cors = api.submitCORS
                if cors.forbids(request) { throw Self.foreignOrigin }
                outcome = try await requests(of: api, request, &body)
            case .request(let api, let id):
                cors = api.requestCORS
                if cors.forbids(request) { throw Self.foreignOrigin }
                outcome = try await self.request(id, of: api, request)
            }
        } catch {
            // A browser shows the error of the request itself only where its preflight succeeds (contract A8).
            let isAsking = !isKnown && CORS.isPreflight(request)
            needsCORS = !isAsking
            outcome = .response(try isAsking ? cors.preflight(request) : errors.response(to: error))
        }
        // A status is old news the moment it is sent; nothing between here and the caller may keep it.
        var headers: HTTPHeaders = ["Cache-Control": "no-store"]
        if needsCORS { headers.add(contentsOf: cors.headers(for: request)) }
        switch outcome {
        case .response(var response):
            response.headers.add(contentsOf: headers)
            return .response(response)
        case .pending(let poll, let form):
            return .pending(PendingDocument(poll, form, routes: self, headers: headers))
        }
    }

    /// `/<endpoint>`
    private nonisolated(nonsending) func requests(
        of api: Endpoint, _ request: IncomingRequest, _ body: inout IncomingBody
    ) async throws -> Outcome {
        switch request.method {
        case .POST: return try await submit(to: api, request, &body)
        case .OPTIONS: return .response(api.submitCORS.preflight(request))
        default: throw HTTPFault.methodNotAllowed(request.method, allowed: [.POST, .OPTIONS])
        }
    }

    /// `/<endpoint>/<id>`
    private nonisolated(nonsending) func request(
        _ text: String, of api: Endpoint, _ request: IncomingRequest
    ) async throws -> Outcome {
        switch request.method {
        case .GET, .HEAD: return try await read(id(text), of: api, request)
        case .DELETE: return .response(try await cancel(id(text), of: api))
        case .OPTIONS: return .response(api.requestCORS.preflight(request))
        default: throw HTTPFault.methodNotAllowed(request.method, allowed: [.GET, .HEAD, .DELETE, .OPTIONS])
        }
    }

    private func id(_ text: String) throws -> RequestID {
        guard let id = RequestID(text) else { throw Self.unknownRequest }
        return id
    }

    /// For paths at which no API is known.
    private static let unknownCORS = CORS(methods: [.GET, .HEAD, .POST, .DELETE])

    private static let foreignOrigin = PlatformError(
        .forbidden,
        "pages of this origin may not call this API. Add the origin to networking.cors.allow_origins in cortex.yaml")

    static let unknownRequest = PlatformError(
        .notFound, "this API has no such request: the id is wrong, or its result has expired")
}
