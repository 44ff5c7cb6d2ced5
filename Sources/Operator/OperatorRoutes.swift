package import Access
import Core
package import HTTPServing
import NIOHTTP1
import Support
import Wire

/// One route of the operator: the action that a caller needs the right to, the answer, and its text in the OpenAPI
/// document.
struct OperatorRoute: Sendable {
    /// Which clients are answered.
    enum Version: Sendable {
        /// Of any version: this is how a client learns the server's.
        case any
        /// Of the server's version.
        case matching
    }

    typealias Answer =
        @Sendable (Operator, OperatorCall, inout IncomingBody) async throws -> OutgoingResponse

    let method: HTTPMethod
    let path: String
    /// Decides who may call it: see ``Access/Rights``.
    let action: OperatorAction
    let version: Version
    let operation: OpenAPIOperation
    let answer: Answer

    /// Whether it is answered without a token.
    var isOpen: Bool { action == .seeThatItServes }

    init(
        _ method: HTTPMethod, _ path: String, _ action: OperatorAction, version: Version = .matching,
        _ operation: OpenAPIOperation, _ answer: @escaping Answer
    ) {
        self.method = method
        self.path = path
        self.action = action
        self.version = version
        self.operation = operation
        self.answer = answer
    }
}

/// A permitted call of a route.
struct OperatorCall: Sendable {
    let request: IncomingRequest
    let parameters: RouteTable.Parameters
    /// `nil` on an open route that was called without a token.
    let principal: Principal?
    /// How much of the answer the caller may see.
    let view: Rights.View

    /// The API that the path names; empty where it names none.
    var api: String { parameters["api"] ?? "" }
}

extension Operator {
    /// All routes, each behind the checks of version, token and rights.
    func makeRoutes() -> RouteTable {
        var table = RouteTable()
        // `routes` of this copy is empty; it is never used by an answer.
        let this = self
        for route in Self.allRoutes {
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

    /// The state of the platform; some of them are answered without a token.
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
                id: "verify", summary: "Whether this is a Cortex operator.",
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
                id: "info", summary: "Version, engine, store, addresses, and numbers of APIs and requests.",
                answer: OpenAPIOperation.json("Info"))
        ) { this, call, _ in try json(try await this.info(this.addresses(for: call.request))) },
        OperatorRoute(
            .GET, "/health", .readHealth, version: .any,
            OpenAPIOperation(
                id: "health", summary: "Each part of the platform, and whether it is healthy.",
                description: "Always 200: `status` has the state. A load balancer asks `/readyz`.",
                answer: OpenAPIOperation.json("Health"))
        ) { this, _, _ in
            try json(
                HealthDocument(
                    apiVersion: CortexVersion.current, components: await this.configuration.components()))
        },
        OperatorRoute(
            .GET, "/debug/state", .readDebugState, version: .any,
            OpenAPIOperation(
                id: "debugState", summary: "What the platform does now: operations, replicas, queues.",
                description:
                    "The same as `kill -QUIT` writes to standard error, to find out why something does not continue.",
                answer: OpenAPIOperation.json("State"))
        ) { this, _, _ in try json(await this.configuration.state()) },
    ]

    /// Built once: it depends on nothing but the routes.
    static let document = OpenAPIDocument.build(allRoutes, OpenAPIJobRoute.all)

    private static let allRoutes = platformRoutes + apiRoutes + splitRoutes + scheduleRoutes + requestRoutes

    // MARK: Access

    /// Identifies the caller.
    ///
    /// A pod's token is valid only while its API is deployed and its pod exists: a replica or a worker of a job. Its
    /// access is the lowest of what its own version declared, what the present version declares, and what the platform
    /// allows.
    ///
    /// - Throws: 401 without details of the platform; `store_unavailable`.
    func authenticate(_ request: IncomingRequest) async throws -> Principal {
        let fields = [request.header("authorization"), request.header("x-cortex-authorization")].compactMap { $0 }
        for field in fields {
            switch tokens.verify(Self.token(of: field)) {
            case .admin: return .admin
            case .pod(let claim):
                guard let api = try await store.deployedAPIs().first(where: { $0.name == claim.api }),
                    await orchestrator.hasPod(claim.replica, of: claim.api)
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

    /// Whom the token of a request belongs to; `nil` where there is none.
    ///
    /// - Throws: 401 for a token that is not known; `store_unavailable`.
    package func principal(of request: IncomingRequest) async throws -> Principal? {
        let hasToken = ["authorization", "x-cortex-authorization"].contains { !request.values($0).isEmpty }
        return hasToken ? try await authenticate(request) : nil
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
            try DocumentCoding.encode(document) + [UInt8(ascii: "\n")], status: status,
            headers: ["Cache-Control": "no-store"])
    }
}

extension Operator {
    /// Deployed APIs: the original's paths and shapes (reference: cortex.md §8).
    static let apiRoutes: [OperatorRoute] = [
        OperatorRoute(
            .POST, "/deploy", .deploy,
            OpenAPIOperation(
                id: "deploy", summary: "Deploys or updates every API of a file.",
                description:
                    "All problems of a file are reported at once, and then nothing is deployed. A later error of one API is in its result.",
                query: [
                    OpenAPIOperation.Parameter(
                        name: "configFileName", description: "The file's name, for messages.",
                        schema: [
                            "type": "string", "minLength": 1, "maxLength": 255, "pattern": #"^[^\x00-\x1f\x7f]+$"#,
                        ]),
                    OpenAPIOperation.Parameter(
                        name: "configDir",
                        description: "The absolute folder that relative sources of volumes start from.",
                        schema: ["type": "string", "pattern": #"^/[^\x00]*$"#]),
                    .flag("force", "Deploy also while an API of the file is updating."),
                ],
                body: [
                    "application/yaml": ["schema": ["type": "string", "minLength": 1, "maxLength": 1_048_576]],
                    "application/json": ["schema": ["type": "array", "items": ["type": "object"], "minItems": 1]],
                    "multipart/form-data": [
                        "schema": [
                            "type": "object", "required": ["config"],
                            "properties": ["config": ["type": "string", "format": "binary"]],
                        ]
                    ],
                ], answer: OpenAPIOperation.list("DeployResult"),
                errors: [
                    400: "The file has problems, which are all listed; or a parameter or the body is not understood.",
                    413: "The file is larger than 1 MiB.",
                ])
        ) { this, call, body in try await this.deploy(call, &body) },
        OperatorRoute(
            .POST, "/refresh/{api}", .refresh,
            OpenAPIOperation(
                id: "refresh", summary: "Restarts all replicas, losing no request.",
                query: [.flag("force", "Go on although the API is updating.")],
                answer: OpenAPIOperation.json("Message"),
                errors: [
                    400: "The API is of a kind without replicas; or a parameter is not understood.",
                    409: "The API is updating.",
                ]
            )
        ) { this, call, _ in
            let force = try QueryParameters(call.request).bool("force")
            let version = try await this.deployments.refresh(api: call.api, force: force)
            return try json(MessageDocument(message: "updating \(version.specification.title)"))
        },
        OperatorRoute(
            .POST, "/rollback/{api}", .rollback,
            OpenAPIOperation(
                id: "rollback", summary: "Deploys an earlier version again, losing no request.",
                query: [
                    OpenAPIOperation.Parameter(
                        name: "version",
                        description: "Id of the version, or its beginning; without it, the version before.",
                        schema: ["type": "string", "minLength": 1]),
                    .flag("force", "Go on although the API is updating."),
                ], answer: OpenAPIOperation.json("Message"),
                errors: [
                    400: "A parameter or the client's version is not understood, or the version cannot run here now.",
                    409: "The API is updating, or there is no version before.",
                ])
        ) { this, call, _ in try await this.rollback(call) },
        OperatorRoute(
            .DELETE, "/delete/{api}", .delete,
            OpenAPIOperation(
                id: "delete", summary: "Removes an API, cancels what waits, and erases its requests.",
                query: [.flag("keepCache", "Keep the requests: they are readable once the API is deployed again.")],
                answer: OpenAPIOperation.json("Message"), errors: [409: "A TrafficSplitter names the API."])
        ) { this, call, _ in
            let keep = try QueryParameters(call.request).bool("keepCache")
            try await this.deployments.delete(api: call.api, keepRequests: keep)
            return try json(MessageDocument(message: "deleting \(call.api)"))
        },
        OperatorRoute(
            .GET, "/get", .listAPIs,
            OpenAPIOperation(id: "listAPIs", summary: "All APIs.", answer: OpenAPIOperation.list("API"))
        ) { this, call, _ in try json(try await this.list(this.addresses(for: call.request))) },
        OperatorRoute(
            .GET, "/get/{api}", .readAPI,
            OpenAPIOperation(
                id: "getAPI", summary: "One API with its last versions.",
                description:
                    "A pod whose `operator_access` is `read` gets it without environment variables, volumes and what was submitted.",
                answer: OpenAPIOperation.one("API"))
        ) { this, call, _ in
            var document = try await this.document(of: call.api, this.addresses(for: call.request))
            if call.view == .redacted { document.redact() }
            return try json([document])
        },
        OperatorRoute(
            .GET, "/get/{api}/{apiID}", .readVersion,
            OpenAPIOperation(
                id: "getVersion", summary: "One version of an API; of an older one only its specification.",
                answer: OpenAPIOperation.one("API"))
        ) { this, call, _ in
            try json([
                try await this.document(
                    of: call.api, version: call.parameters["apiID"] ?? "", this.addresses(for: call.request))
            ])
        },
        OperatorRoute(
            .GET, "/describe/{api}", .describeAPI,
            OpenAPIOperation(
                id: "describeAPI", summary: "One API with each of its replicas, and why it is not ready.",
                answer: OpenAPIOperation.one("API"))
        ) { this, call, _ in
            try json([try await this.description(of: call.api, this.addresses(for: call.request))])
        },
        OperatorRoute(
            .GET, "/logs/{api}", .readLogs,
            OpenAPIOperation(
                id: "logs", summary: "What the containers wrote, as a line of JSON each.",
                description:
                    "A line is `{replica, container, text}`, of a job also with `worker` and `attempt`, `{notice}` or `{error}`; an empty one keeps the connection alive.",
                query: [
                    .flag("follow", "Go on with new lines until the caller leaves."),
                    OpenAPIOperation.Parameter(
                        name: "tail", description: "Only the last lines of each container.",
                        schema: ["type": "integer", "minimum": 0, "maximum": 1_000_000]),
                    OpenAPIOperation.Parameter(
                        name: "replica", description: "Only this replica.",
                        schema: ["type": "string", "minLength": 1]),
                    OpenAPIOperation.Parameter(
                        name: "container", description: "Only this container.",
                        schema: ["type": "string", "minLength": 1]),
                    OpenAPIOperation.Parameter(
                        name: "jobID", description: "Only this job of a Batch or Task API; needed for these kinds.",
                        schema: OpenAPISchemas.requestID),
                    OpenAPIOperation.Parameter(
                        name: "worker", description: "Only this worker of the job.",
                        schema: ["type": "integer", "minimum": 0, "maximum": 1_000_000]),
                    OpenAPIOperation.Parameter(
                        name: "attempt", description: "Only this attempt of the job's workers.",
                        schema: ["type": "integer", "minimum": 1, "maximum": 1_000_000]),
                ], answer: ("application/x-ndjson", ["type": "string"]),
                errors: [503: "The store or the engine does not answer."])
        ) { this, call, _ in try await this.logs(of: call.api, call.request) },
    ]
}

extension Operator {
    /// An API's requests (contract O3).
    static let requestRoutes: [OperatorRoute] = [
        OperatorRoute(
            .GET, "/requests/{api}", .listRequests,
            OpenAPIOperation(
                id: "listRequests", summary: "An API's requests, newest first, a page at a time.",
                query: [
                    OpenAPIOperation.Parameter(
                        name: "status", description: "Only requests with this status.",
                        schema: OpenAPISchemas.words(RequestStatus.allCases.map(\.rawValue))),
                    OpenAPIOperation.Parameter(
                        name: "before", description: "Only requests older than this one: `next` of the page before.",
                        schema: OpenAPISchemas.requestID),
                    OpenAPIOperation.Parameter(
                        name: "limit", description: "At most this many.",
                        schema: [
                            "type": "integer", "minimum": 1, "maximum": .integer(Int64(Limits.listPage)),
                            "default": 100,
                        ]),
                ], answer: OpenAPIOperation.json("RequestList"))
        ) { this, call, _ in
            try json(try await this.requests(of: call.api, try QueryParameters(call.request)))
        },
        OperatorRoute(
            .POST, "/retry/{api}/{id}", .retryRequest,
            OpenAPIOperation(
                id: "retryRequest", summary: "Puts a failed request back into the queue.",
                answer: OpenAPIOperation.json("Request"),
                errors: [409: "It has not failed, or its payload is no longer kept."])
        ) { this, call, _ in
            try json(try await this.retry(call.parameters["id"] ?? "", of: call.api))
        },
    ]
}
