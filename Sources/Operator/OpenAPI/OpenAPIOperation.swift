import Core

/// What the OpenAPI document says of one route. It stands beside the route's handler, so that neither changes without
/// the other.
struct OpenAPIOperation: Sendable {
    struct Parameter: Sendable {
        var name: String
        var description: String
        var schema: JSONValue
        var isRequired = false
    }

    /// Unique, in lower camel case: what generated clients call it.
    var id: String
    var summary: String
    var description: String?
    var query: [Parameter] = []
    /// Schemas of the body by media type; `nil` without a body.
    var body: JSONValue?
    var success: String = "Done."
    /// Media type and schema of an answer with 200.
    var answer: (type: String, schema: JSONValue)
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

    /// The parameters that stand in paths.
    static func path(_ name: String) -> Self {
        switch name {
        case "apiID":
            Self(
                name: name, description: "A version's id, as `api_versions` lists them.",
                schema: ["type": "string", "minLength": 1], isRequired: true)
        case "id":
            Self(name: name, description: "A request's id.", schema: OpenAPISchemas.requestID, isRequired: true)
        default:
            Self(name: name, description: "An API's name.", schema: OpenAPISchemas.apiName, isRequired: true)
        }
    }
}
