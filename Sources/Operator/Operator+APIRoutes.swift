import Access
import Core
import HTTPServing
import NIOHTTP1
import Wire

extension Operator {
    /// Deployed APIs: the original's paths and shapes (reference: cortex.md §8).
    static let apiRoutes: [OperatorRoute] = [
        OperatorRoute(
            .POST, "/deploy", .deploy,
            OpenAPIOperation(
                id: "deploy", summary: "Deploys or updates every API of a file.",
                description:
                    "All problems of a file are reported at once, and then nothing is deployed. What goes wrong with one API later stands in its result.",
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
                    .flag("force", "Go on although an API of the file is updating."),
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
                errors: [409: "The API is updating."])
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
                answer: OpenAPIOperation.json("Message"))
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
                    "A line is `{replica, container, text}`, `{notice}` or `{error}`; an empty one keeps the connection alive.",
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
                ], answer: ("application/x-ndjson", ["type": "string"]),
                errors: [503: "The store or the engine does not answer."])
        ) { this, call, _ in try await this.logs(of: call.api, call.request) },
    ]
}
