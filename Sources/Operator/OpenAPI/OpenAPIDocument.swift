import Core
import NIOHTTP1
import Wire

/// The OpenAPI 3.1 document of the operator, built from the route table, so that it describes exactly what is served,
/// and from the list of the operations on jobs.
enum OpenAPIDocument {
    static let path = "/openapi.json"

    static func build(_ routes: [OperatorRoute], _ jobRoutes: [OpenAPIJobRoute]) -> JSONValue {
        var paths: [String: JSONValue] = [:]
        func add(_ method: HTTPMethod, _ path: String, _ operation: JSONValue) {
            var item: [String: JSONValue] = [:]
            if case .object(let present) = paths[path] { item = present }
            item[method.rawValue.lowercased()] = operation
            paths[path] = .object(item)
        }
        for route in routes { add(route.method, route.path, operation(route)) }
        for route in jobRoutes {
            // The operator needs a token for these unless it listens on loopback addresses only.
            add(
                route.method, route.path,
                operation(route.operation, route.path, hasVersion: true, security: [[:], ["token": []]]))
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Cortex operator", "version": .string(CortexVersion.current),
                "summary": "Deploys APIs, shows their state, lists their requests, and runs jobs.",
                "description": .string(overview),
                "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
            ],
            "servers": [["url": "/", "description": "This operator"]],
            "paths": .object(paths),
            "components": [
                "schemas": .object(OpenAPISchemas.all),
                "securitySchemes": [
                    "token": [
                        "type": "http", "scheme": "bearer",
                        "description":
                            "The operator's token, as `cli.yaml` holds it; inside a container the token of its pod, with the rights of `pod.operator_access`.",
                    ]
                ],
                "parameters": [
                    "version": [
                        "name": .string(VersionHandshake.header), "in": "header", "required": false,
                        "description":
                            "The client's version. One of another major.minor is refused; a call without it is served.",
                        "schema": ["type": "string", "const": .string(CortexVersion.current)],
                    ]
                ],
            ],
        ]
    }

    private static let overview = """
        Requests are submitted to the gateway, which listens on a port of its own; see `/info`. The operations below `/batch/{api}` and `/tasks/{api}` are \
        also served by the gateway, below the endpoint of the API. Every error has the shape of `Error`, with a word in \
        `kind` and a message that says what to do. Answers carry the server's version in the header `\(VersionHandshake.header)`.
        """

    private static func operation(_ route: OperatorRoute) -> JSONValue {
        var operation = route.operation
        operation.errors.merge(errors(of: route)) { own, _ in own }
        return self.operation(
            operation, route.path, hasVersion: route.version == .matching,
            security: route.isOpen ? [] : [["token": []]])
    }

    private static func operation(
        _ operation: OpenAPIOperation, _ path: String, hasVersion: Bool, security: JSONValue
    ) -> JSONValue {
        var parameters = pathNames(path).map { parameter(.path($0), place: "path") }
        parameters += operation.query.map { parameter($0, place: "query") }
        parameters += operation.headers.map { parameter($0, place: "header") }
        if hasVersion { parameters.append(["$ref": "#/components/parameters/version"]) }
        var content: [String: JSONValue] = [operation.answer.type: ["schema": operation.answer.schema]]
        for (type, schema) in operation.otherTypes { content[type] = ["schema": schema] }
        var success: [String: JSONValue] = [
            "description": .string(operation.success), "content": .object(content),
        ]
        if !operation.answerHeaders.isEmpty { success["headers"] = headers(operation.answerHeaders) }
        var responses: [String: JSONValue] = ["200": .object(success)]
        for (status, answer) in operation.otherAnswers {
            var response: [String: JSONValue] = [
                "description": .string(answer.description), "headers": headers(answer.headers),
            ]
            if let type = answer.type { response["content"] = .object([type: ["schema": answer.schema]]) }
            responses["\(status)"] = .object(response)
        }
        for (status, description) in operation.errors {
            responses["\(status)"] = [
                "description": .string(description),
                "content": ["application/json": ["schema": OpenAPISchemas.reference("Error")]],
            ]
        }
        var members: [String: JSONValue] = [
            "operationId": .string(operation.id), "summary": .string(operation.summary),
            "responses": .object(responses), "security": security,
        ]
        if let description = operation.description { members["description"] = .string(description) }
        if !parameters.isEmpty { members["parameters"] = .array(parameters) }
        if let body = operation.body {
            members["requestBody"] = ["required": .bool(operation.isBodyRequired), "content": body]
        }
        return .object(members)
    }

    private static func headers(_ headers: [String: OpenAPIOperation.Header]) -> JSONValue {
        .object(
            headers.mapValues {
                [
                    "description": .string($0.description), "required": .bool($0.isRequired),
                    "schema": OpenAPISchemas.text,
                ]
            })
    }

    /// Errors that follow from a route's rights, its path and its query.
    private static func errors(of route: OperatorRoute) -> [Int: String] {
        var errors: [Int: String] = [:]
        if !route.isOpen {
            errors[401] = "No token, or one that is not known."
            errors[403] = "The token of a pod, whose `pod.operator_access` does not allow this."
            errors[503] = "The store does not answer. Nothing was changed; try again."
        }
        if route.version == .matching || !route.operation.query.isEmpty {
            errors[400] = "A parameter or the client's version is not understood."
        }
        if route.path.contains("{") { errors[404] = "No such API, or no such version or request of it." }
        return errors
    }

    private static func parameter(_ parameter: OpenAPIOperation.Parameter, place: String) -> JSONValue {
        [
            "name": .string(parameter.name), "in": .string(place), "required": .bool(parameter.isRequired),
            "description": .string(parameter.description), "schema": parameter.schema,
        ]
    }

    /// `api` and `id` of `/retry/{api}/{id}`.
    private static func pathNames(_ path: String) -> [String] {
        path.split(separator: "/").filter { $0.hasPrefix("{") }.map { String($0.dropFirst().dropLast()) }
    }
}

/// The text of one route in the OpenAPI document. It is next to the route's handler, so that neither changes without
/// the other.
struct OpenAPIOperation: Sendable {
    struct Parameter: Sendable {
        var name: String
        var description: String
        var schema: JSONValue
        var isRequired = false
    }

    /// A header of an answer; its value is a text.
    struct Header: Sendable {
        var description: String
        var isRequired: Bool

        init(_ description: String, isRequired: Bool = true) {
            self.description = description
            self.isRequired = isRequired
        }
    }

    /// An answer that is neither 200 nor an error.
    struct OtherAnswer: Sendable {
        var description: String
        /// `nil` without a body.
        var type: String?
        var schema: JSONValue
        var headers: [String: Header]

        init(_ description: String, type: String? = nil, schema: JSONValue = [:], headers: [String: Header]) {
            self.description = description
            self.type = type
            self.schema = schema
            self.headers = headers
        }
    }

    /// Unique, in lower camel case: what generated clients call it.
    var id: String
    var summary: String
    var description: String?
    var query: [Parameter] = []
    var headers: [Parameter] = []
    /// Schemas of the body by media type; `nil` without a body.
    var body: JSONValue?
    var isBodyRequired = true
    var success: String = "Done."
    /// Media type and schema of an answer with 200.
    var answer: (type: String, schema: JSONValue)
    /// Schemas of an answer with 200 of another media type.
    var otherTypes: [String: JSONValue] = [:]
    var answerHeaders: [String: Header] = [:]
    var otherAnswers: [Int: OtherAnswer] = [:]
    /// What else can be answered, by status, beside what the kind of access brings along.
    var errors: [Int: String] = [:]

    static func json(_ schema: String) -> (type: String, schema: JSONValue) {
        ("application/json", OpenAPISchemas.reference(schema))
    }

    static func list(_ schema: String) -> (type: String, schema: JSONValue) {
        ("application/json", ["type": "array", "items": OpenAPISchemas.reference(schema)])
    }

    /// A list that has exactly one element, as the original answers for one API.
    static func one(_ schema: String) -> (type: String, schema: JSONValue) {
        (
            "application/json",
            ["type": "array", "items": OpenAPISchemas.reference(schema), "minItems": 1, "maxItems": 1]
        )
    }
}

extension OpenAPIOperation.Parameter {
    /// A flag: `true`, `false`, or the bare name.
    static func flag(_ name: String, _ description: String) -> Self {
        Self(name: name, description: description, schema: ["type": "boolean", "default": false])
    }

    /// The parameters of paths.
    static func path(_ name: String) -> Self {
        switch name {
        case "apiID":
            Self(
                name: name, description: "A version's id, as `api_versions` lists them.",
                schema: ["type": "string", "minLength": 1], isRequired: true)
        case "id":
            Self(
                name: name, description: "The id of a request or a job.", schema: OpenAPISchemas.requestID,
                isRequired: true)
        case "schedule":
            Self(name: name, description: "A schedule's name.", schema: OpenAPISchemas.apiName, isRequired: true)
        case "worker":
            Self(
                name: name, description: "A worker's index.", schema: ["type": "integer", "minimum": 0],
                isRequired: true)
        case "path":
            Self(
                name: name, description: "The path of an artifact, as the list has it.",
                schema: ["type": "string", "minLength": 1], isRequired: true)
        default:
            Self(name: name, description: "An API's name.", schema: OpenAPISchemas.apiName, isRequired: true)
        }
    }
}
