import Core
import HTTPServing
import NIOHTTP1

/// The endpoint of a BatchAPI or a TaskAPI at the gateway (contract J1).
final class JobEndpoint: EndpointHandler {
    private let api: DeployedAPI
    private let routes: JobRoutes

    init(_ api: DeployedAPI, routes: JobRoutes) {
        self.api = api
        self.routes = routes
    }

    func serves(_ rest: Substring) -> Bool { JobRoutes.serves(rest) }

    func cors(_ rest: Substring) -> CORS {
        CORS(
            allowedOrigins: api.specification.networking.allowOrigins,
            methods: JobPath(rest).map(JobRoutes.methods) ?? [])
    }

    nonisolated(nonsending) func respond(
        to request: IncomingRequest, at rest: Substring, body: inout IncomingBody
    ) async throws -> HTTPReply {
        if request.method == .OPTIONS { return .response(cors(rest).preflight(request)) }
        // A submission may be large, and its parsing must not hold up the other connections of the event loop.
        var response = try await withTaskExecutorPreference(globalConcurrentExecutor) {
            try await routes.respond(
                to: request, for: api, base: api.specification.networking.endpoint, rest: rest, body: &body)
        }
        if case .stream(let length, let write) = response.body {
            response.body = .stream(
                length: length,
                write: { body in
                    try await withTaskExecutorPreference(globalConcurrentExecutor) { try await write(body) }
                })
        }
        return .response(response)
    }
}
