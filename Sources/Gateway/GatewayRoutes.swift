import Core
import HTTPServing
import NIOHTTP1

/// Finds the API that a request is for, lets the handler of its kind answer, and turns errors into answers.
struct GatewayRoutes: Sendable {
    let endpoints: Endpoints
    let errors: ErrorResponses

    nonisolated(nonsending) func respond(to request: IncomingRequest, body: inout IncomingBody) async throws
        -> HTTPReply
    {
        var cors = Self.unknownCORS
        var isKnown = false
        // The answer to a preflight has headers of its own.
        var needsCORS = request.method != .OPTIONS
        var reply: HTTPReply
        do {
            let match = try await endpoints.find(request.path)
            isKnown = true
            switch match.endpoint {
            case .exchanges(let handler):
                return .exchange(ExchangeMatch(handler: handler, rest: match.rest))
            case .replies(let handler):
                cors = handler.cors(match.rest)
                if cors.forbids(request) { throw Self.foreignOrigin }
                reply = try await handler.respond(to: request, at: match.rest, body: &body)
            }
        } catch {
            // A browser shows the error of the request itself only where its preflight succeeds (contract A8).
            let isAsking = !isKnown && CORS.isPreflight(request)
            needsCORS = !isAsking
            reply = .response(try isAsking ? cors.preflight(request) : errors.response(to: error))
        }
        // A status may change at any time, so no cache may keep it.
        var headers: HTTPHeaders = ["Cache-Control": "no-store"]
        if !isKnown { headers.add(contentsOf: Self.fromGateway) }
        if needsCORS { headers.add(contentsOf: isKnown ? cors.headers(for: request) : CORS.anyOrigin) }
        reply.add(headers)
        return reply
    }

    static let unknownPath = HTTPFault(
        PlatformError(
            .notFound, "there is no API at this path. `cortex get` lists the deployed ones with their endpoints"),
        headers: ["Proxy-Status": "cortex; error=destination_not_found"])

    /// What tells that no container has answered (contract R4, R16).
    static let fromGateway: HTTPHeaders = ["X-Cortex-Origin": "gateway"]

    /// For paths at which no API is known.
    private static let unknownCORS = CORS(methods: [.GET, .HEAD, .POST, .DELETE])

    private static let foreignOrigin = PlatformError(
        .forbidden,
        "pages of this origin may not call this API. Add the origin to networking.cors.allow_origins in cortex.yaml")
}
