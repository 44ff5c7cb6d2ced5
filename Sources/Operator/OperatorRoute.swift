import Core
import HTTPServing
import NIOHTTP1

/// One route of the operator: who may call it, what it does, and what the OpenAPI document says of it.
struct OperatorRoute: Sendable {
    /// Who may call a route.
    enum Access: Sendable {
        /// Anyone.
        case open
        /// Who has a token. A client of any version: this is how it learns the server's.
        case anyVersion
        /// Who has a token and a client of the server's version.
        case matchingVersion
    }

    typealias Answer =
        @Sendable (Operator, IncomingRequest, inout IncomingBody, RouteTable.Parameters) async throws ->
        OutgoingResponse

    let method: HTTPMethod
    let path: String
    let access: Access
    let operation: OpenAPIOperation
    let answer: Answer

    init(
        _ method: HTTPMethod, _ path: String, access: Access = .matchingVersion, _ operation: OpenAPIOperation,
        _ answer: @escaping Answer
    ) {
        self.method = method
        self.path = path
        self.access = access
        self.operation = operation
        self.answer = answer
    }
}
