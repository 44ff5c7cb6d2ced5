import Access
import Core
import HTTPServing
import NIOHTTP1

/// One route of the operator: what a call of it wants to do, how it is answered, and what the OpenAPI document says of
/// it.
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
