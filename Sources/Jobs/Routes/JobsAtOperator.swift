import Core
package import HTTPServing
import NIOHTTP1
import Wire

/// The same routes at the operator, below `/batch/<api>` and `/tasks/<api>` (contract J1).
package struct JobsAtOperator: Sendable {
    let routes: JobRoutes
    /// Whom a token belongs to; `nil` for a token that is not known, or for none.
    let authenticate: @Sendable (IncomingRequest) async throws -> JobAccess.Credential

    /// The kind and the name of the API that a path is about, and the rest of the path behind it; `nil` for a path of
    /// another route.
    static func split(_ path: String) -> (kind: APIKind, name: String, base: String, rest: Substring)? {
        let segments = path.dropFirst().split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
        guard path.hasPrefix("/"), segments.count >= 2, !segments[1].isEmpty,
            let kind: APIKind = segments[0] == "batch" ? .batch : segments[0] == "tasks" ? .task : nil,
            let name = PercentCoding.decode(segments[1]), !name.contains("/")
        else { return nil }
        let rest = segments.count == 3 ? path[path.index(before: segments[2].startIndex)...] : ""
        return (kind, name, "/\(segments[0])/\(segments[1])", rest)
    }

    /// - Returns: `nil` for a path of another route.
    package func respond(
        to request: IncomingRequest, via arrival: JobAccess.Arrival, body: inout IncomingBody
    ) async throws -> OutgoingResponse? {
        guard let call = Self.split(request.path) else { return nil }
        let credential = try await authenticate(request)
        guard JobAccess.isAllowed(arrival, credential, hasOrigin: request.headers.contains(name: "origin")) else {
            throw HTTPFault(
                PlatformError(
                    .unauthorized,
                    credential == .wrong
                        ? "this is not a token that the operator accepts"
                        : "the operator needs a token here, sent as Authorization: Bearer TOKEN"),
                headers: ["WWW-Authenticate": "Bearer realm=\"cortex\""])
        }
        if let version = request.header(VersionHandshake.header) {
            try VersionHandshake.check(client: version, server: CortexVersion.current)
        }
        guard let path = JobPath(call.rest) else { throw JobRoutes.unknownPath }
        let methods = JobRoutes.methods(path)
        guard methods.contains(request.method) else {
            throw HTTPFault.methodNotAllowed(request.method, allowed: methods)
        }
        let deployed = try await routes.services.store.deployedAPIs()
        guard let api = deployed.first(where: { $0.name == call.name }) else {
            throw PlatformError(.notFound, "\(call.name) is not deployed")
        }
        let kind = api.specification.kind.name
        guard kind == call.kind else {
            throw PlatformError(
                .onlySupportedForKind,
                "this is only supported for a \(call.kind.rawValue); \(call.name) has the kind \(kind.rawValue)")
        }
        var response = try await routes.respond(
            to: request, for: api, base: call.base, rest: call.rest, body: &body)
        response.headers.add(name: VersionHandshake.header, value: CortexVersion.current)
        response.headers.add(name: "Cache-Control", value: "no-store")
        return response
    }
}
