import Access
import Core
import HTTPServing
import NIOHTTP1
import Support
import Wire

extension Operator {
    /// Every route there is, and the document that describes them.
    func makeRoutes() -> RouteTable {
        let routes = Self.platformRoutes + Self.apiRoutes + Self.requestRoutes
        var table = RouteTable()
        // `routes` of this copy is empty; it is never used by an answer.
        let this = self
        for route in routes {
            table.on(route.method, route.path) { request, body, parameters in
                if route.version == .matching, let version = request.header(VersionHandshake.header) {
                    try VersionHandshake.check(client: version, server: CortexVersion.current)
                }
                let principal = route.isOpen ? nil : try await this.authenticate(request)
                let view = try principal.map { try Rights.check($0, route.action, api: parameters["api"]) } ?? .whole
                let call = OperatorCall(request: request, parameters: parameters, principal: principal, view: view)
                let number = OperationRegistry.shared.begin("\(route.method) \(route.path)", request.path)
                defer { OperationRegistry.shared.end(number) }
                var response = try await route.answer(this, call, &body)
                response.headers.add(name: VersionHandshake.header, value: CortexVersion.current)
                return response
            }
        }
        return table
    }

    /// Anyone's: is it there, is it ready, what does it serve.
    private static let platformRoutes: [OperatorRoute] = [
        OperatorRoute(
            .GET, "/healthz", .seeThatItServes, version: .any,
            OpenAPIOperation(
                id: "isAlive", summary: "Whether the process answers.", answer: OpenAPIOperation.json("Liveness"))
        ) { _, _, _ in try json(["status": "ok"]) },
        OperatorRoute(
            .GET, "/readyz", .seeThatItServes, version: .any,
            OpenAPIOperation(
                id: "isReady", summary: "Whether requests are accepted.", answer: OpenAPIOperation.json("Liveness"),
                errors: [503: "Not yet, or not now; the message says why."])
        ) { this, _, _ in try await this.readiness() },
        OperatorRoute(
            .GET, "/verifycortex", .seeThatItServes, version: .any,
            OpenAPIOperation(
                id: "verify", summary: "Tells a Cortex operator from something else.",
                answer: OpenAPIOperation.json("Nothing"))
        ) { _, _, _ in try json([String: String]()) },
        OperatorRoute(
            .GET, OpenAPIDocument.path, .seeThatItServes, version: .any,
            OpenAPIOperation(
                id: "describeInterface", summary: "This document.", answer: OpenAPIOperation.json("OpenAPI"))
        ) { _, _, _ in try json(document) },
        OperatorRoute(
            .GET, "/info", .readPlatform, version: .any,
            OpenAPIOperation(
                id: "info", summary: "Version, engine, store, addresses, and how much there is of what.",
                answer: OpenAPIOperation.json("Info"))
        ) { this, call, _ in try json(try await this.info(this.addresses(for: call.request))) },
        OperatorRoute(
            .GET, "/health", .readHealth, version: .any,
            OpenAPIOperation(
                id: "health", summary: "Each part of the platform, and whether it does its work.",
                description: "200 either way: `status` tells. A load balancer asks `/readyz`.",
                answer: OpenAPIOperation.json("Health"))
        ) { this, _, _ in
            try json(
                HealthDocument(
                    apiVersion: CortexVersion.current, components: await this.configuration.components()))
        },
        OperatorRoute(
            .GET, "/debug/state", .readDebugState, version: .any,
            OpenAPIOperation(
                id: "debugState", summary: "What the platform does at this moment: operations, replicas, queues.",
                description:
                    "The same as `kill -QUIT` writes to standard error, for finding out why something does not go on.",
                answer: OpenAPIOperation.json("State"))
        ) { this, _, _ in try json(await this.configuration.state()) },
    ]

    /// Built once: it depends on nothing but the routes.
    static let document = OpenAPIDocument.build(platformRoutes + apiRoutes + requestRoutes)

    // MARK: Access

    /// Finds out who calls.
    ///
    /// A pod's token is worth something only while its API is deployed and its replica is there. Its access is the
    /// lowest of what its own version declared, what the present version declares, and what the platform allows.
    ///
    /// - Throws: 401, which says nothing about the platform; `store_unavailable`.
    func authenticate(_ request: IncomingRequest) async throws -> Principal {
        let fields = [request.header("authorization"), request.header("x-cortex-authorization")].compactMap { $0 }
        for field in fields {
            switch tokens.verify(Self.token(of: field)) {
            case .admin: return .admin
            case .pod(let claim):
                guard let api = try await store.deployedAPIs().first(where: { $0.name == claim.api }),
                    let status = await orchestrator.status(api: claim.api),
                    status.replicas.contains(where: { $0.id == claim.replica })
                else { continue }
                let access = min(
                    claim.access, api.specification.pod.operatorAccess, configuration.podAccessLimit)
                return .pod(api: claim.api, replica: claim.replica, access: access)
            case nil: continue
            }
        }
        throw HTTPFault(
            PlatformError(
                .unauthorized,
                fields.isEmpty
                    ? "the operator needs a token, sent as Authorization: Bearer TOKEN"
                    : "this is not a token that the operator accepts"),
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
