import Core
import HTTPServing
import NIOHTTP1
import Support

extension Operator {
    /// Every route there is, and the document that describes them.
    func makeRoutes() -> RouteTable {
        let routes = Self.platformRoutes + Self.apiRoutes + Self.requestRoutes
        var table = RouteTable()
        // `routes` of this copy is empty; it is never used by an answer.
        let this = self
        for route in routes {
            table.on(route.method, route.path) { request, body, parameters in
                if route.access == .matchingVersion, let version = request.header(VersionHandshake.header) {
                    try VersionHandshake.check(client: version, server: CortexVersion.current)
                }
                if route.access != .open { try this.authenticate(request) }
                let number = OperationRegistry.shared.begin("\(route.method) \(route.path)", request.path)
                defer { OperationRegistry.shared.end(number) }
                var response = try await route.answer(this, request, &body, parameters)
                response.headers.add(name: VersionHandshake.header, value: CortexVersion.current)
                return response
            }
        }
        return table
    }

    /// Anyone's: is it there, is it ready, what does it serve.
    private static let platformRoutes: [OperatorRoute] = [
        OperatorRoute(
            .GET, "/healthz", access: .open,
            OpenAPIOperation(
                id: "isAlive", summary: "Whether the process answers.", answer: OpenAPIOperation.json("Liveness"))
        ) { _, _, _, _ in try json(["status": "ok"]) },
        OperatorRoute(
            .GET, "/readyz", access: .open,
            OpenAPIOperation(
                id: "isReady", summary: "Whether requests are accepted.", answer: OpenAPIOperation.json("Liveness"),
                errors: [503: "Not yet, or not now; the message says why."])
        ) { this, _, _, _ in try await this.readiness() },
        OperatorRoute(
            .GET, "/verifycortex", access: .open,
            OpenAPIOperation(
                id: "verify", summary: "Tells a Cortex operator from something else.",
                answer: OpenAPIOperation.json("Nothing"))
        ) { _, _, _, _ in try json([String: String]()) },
        OperatorRoute(
            .GET, OpenAPIDocument.path, access: .open,
            OpenAPIOperation(
                id: "describeInterface", summary: "This document.", answer: OpenAPIOperation.json("OpenAPI"))
        ) { _, _, _, _ in try json(document) },
        OperatorRoute(
            .GET, "/info", access: .anyVersion,
            OpenAPIOperation(
                id: "info", summary: "Version, engine, store, addresses, and how much there is of what.",
                answer: OpenAPIOperation.json("Info"))
        ) { this, request, _, _ in try json(try await this.info(this.addresses(for: request))) },
        OperatorRoute(
            .GET, "/health", access: .anyVersion,
            OpenAPIOperation(
                id: "health", summary: "Each part of the platform, and whether it does its work.",
                description: "200 either way: `status` tells. A load balancer asks `/readyz`.",
                answer: OpenAPIOperation.json("Health"))
        ) { this, _, _, _ in
            try json(
                HealthDocument(
                    apiVersion: CortexVersion.current, components: await this.configuration.components()))
        },
        OperatorRoute(
            .GET, "/debug/state", access: .anyVersion,
            OpenAPIOperation(
                id: "debugState", summary: "What the platform does at this moment: operations, replicas, queues.",
                description:
                    "The same as `kill -QUIT` writes to standard error, for finding out why something does not go on.",
                answer: OpenAPIOperation.json("State"))
        ) { this, _, _, _ in try json(await this.configuration.state()) },
    ]

    /// Built once: it depends on nothing but the routes.
    static let document = OpenAPIDocument.build(platformRoutes + apiRoutes + requestRoutes)

    // MARK: Access

    private func authenticate(_ request: IncomingRequest) throws {
        let fields = [request.header("authorization"), request.header("x-cortex-authorization")]
        let sent = fields.compactMap { $0 }
        for field in sent where tokens.accepts(Self.token(of: field)) { return }
        throw HTTPFault(
            PlatformError(
                .unauthorized,
                sent.isEmpty
                    ? "the operator needs its token, sent as Authorization: Bearer TOKEN"
                    : "this is not the operator's token, which stands in tokens.json in the platform's data directory"),
            headers: ["WWW-Authenticate": "Bearer realm=\"cortex\""])
    }

    private static func token(of field: String) -> String {
        let words = field.split(separator: " ")
        return words.count == 2 && words[0].lowercased() == "bearer" ? String(words[1]) : field
    }

    private func readiness() async throws -> OutgoingResponse {
        let missing = await configuration.notReady()
        guard missing.isEmpty else {
            throw HTTPFault(PlatformError(.unavailable, "not ready yet: \(missing.joined(separator: "; "))"))
        }
        return try Self.json(["status": "ready"])
    }

    func addresses(for request: IncomingRequest) -> PlatformAddresses {
        configuration.addresses().reachable(from: request.header("host"))
    }

    // MARK: Answers

    static func json(_ document: some Encodable, status: HTTPResponseStatus = .ok) throws -> OutgoingResponse {
        OutgoingResponse.json(
            try JSONCoding.encode(document) + [UInt8(ascii: "\n")], status: status,
            headers: ["Cache-Control": "no-store"])
    }
}
