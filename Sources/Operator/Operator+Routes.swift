import Core
import HTTPServing
import NIOHTTP1

extension Operator {
    /// Who may call a route.
    private enum Access {
        /// Anyone.
        case open
        /// Who has a token. A client of any version: this is how it learns the server's.
        case anyVersion
        /// Who has a token and a client of the server's version.
        case matchingVersion
    }

    private typealias Answer =
        @Sendable (Operator, IncomingRequest, inout IncomingBody, RouteTable.Parameters) async throws ->
        OutgoingResponse

    func makeRoutes() -> RouteTable {
        var table = RouteTable()
        // `routes` of this copy is empty; it is never used by an answer.
        let this = self
        func on(
            _ method: HTTPMethod, _ pattern: String, _ access: Access = .matchingVersion, _ answer: @escaping Answer
        ) {
            table.on(method, pattern) { request, body, parameters in
                if access == .matchingVersion { try VersionCheck.check(client: request.header("CortexAPIVersion")) }
                if access != .open { try this.authenticate(request) }
                return try await answer(this, request, &body, parameters)
            }
        }
        on(.GET, "/healthz", .open) { _, _, _, _ in try Self.json(["status": "ok"]) }
        on(.GET, "/readyz", .open) { this, _, _, _ in try await this.readiness() }
        on(.GET, "/verifycortex", .open) { _, _, _, _ in try Self.json([String: String]()) }
        on(.GET, "/info", .anyVersion) { this, request, _, _ in
            try Self.json(try await this.info(this.addresses(for: request)))
        }
        on(.POST, "/deploy") { this, request, body, _ in try await this.deploy(request, &body) }
        on(.POST, "/refresh/{api}") { this, request, _, parameters in
            let force = try QueryParameters(request).bool("force")
            let version = try await this.deployments.refresh(api: parameters["api"] ?? "", force: force)
            return try Self.json(MessageDocument(message: "updating \(version.specification.title)"))
        }
        on(.POST, "/rollback/{api}") { this, request, _, parameters in
            try await this.rollback(parameters["api"] ?? "", request)
        }
        on(.DELETE, "/delete/{api}") { this, request, _, parameters in
            let name = parameters["api"] ?? ""
            let keep = try QueryParameters(request).bool("keepCache")
            try await this.deployments.delete(api: name, keepRequests: keep)
            return try Self.json(MessageDocument(message: "deleting \(name)"))
        }
        on(.GET, "/get") { this, request, _, _ in try Self.json(try await this.list(this.addresses(for: request))) }
        on(.GET, "/get/{api}") { this, request, _, parameters in
            try Self.json([try await this.document(of: parameters["api"] ?? "", this.addresses(for: request))])
        }
        on(.GET, "/get/{api}/{id}") { this, request, _, parameters in
            try Self.json([
                try await this.document(
                    of: parameters["api"] ?? "", version: parameters["id"] ?? "", this.addresses(for: request))
            ])
        }
        on(.GET, "/describe/{api}") { this, request, _, parameters in
            try Self.json([try await this.description(of: parameters["api"] ?? "", this.addresses(for: request))])
        }
        on(.GET, "/logs/{api}") { this, request, _, parameters in
            try await this.logs(of: parameters["api"] ?? "", request)
        }
        on(.GET, "/requests/{api}") { this, request, _, parameters in
            try Self.json(try await this.requests(of: parameters["api"] ?? "", try QueryParameters(request)))
        }
        on(.POST, "/retry/{api}/{id}") { this, _, _, parameters in
            try Self.json(try await this.retry(parameters["id"] ?? "", of: parameters["api"] ?? ""))
        }
        return table
    }

    private func addresses(for request: IncomingRequest) -> PlatformAddresses {
        configuration.addresses().reachable(from: request.header("host"))
    }

    // MARK: Access

    private func authenticate(_ request: IncomingRequest) throws {
        let fields = [request.header("authorization"), request.header("x-cortex-authorization")]
        for field in fields.compactMap({ $0 }) where tokens.accepts(Self.token(of: field)) { return }
        throw HTTPFault(
            PlatformError(
                .unauthorized,
                "the operator needs its token: run cortex env configure, or send it as Authorization: Bearer <token>"),
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

    // MARK: Answers

    static func json(_ document: some Encodable, status: HTTPResponseStatus = .ok) throws -> OutgoingResponse {
        OutgoingResponse.json(
            try JSONCoding.encode(document) + [UInt8(ascii: "\n")], status: status,
            headers: ["Cache-Control": "no-store"])
    }
}
