import Core

/// Answers the requests to one deployed API. Each kind of API has its own implementation.
///
/// `rest` is the part of the path after the endpoint, byte for byte as the caller sent it: empty, or it begins with
/// `/`.
package protocol EndpointHandler: AnyObject, Sendable {
    /// Whether the API has this path. If not, the answer is the one for a path of no API.
    func serves(_ rest: Substring) -> Bool

    /// What browsers may do at this path.
    func cors(_ rest: Substring) -> CORS

    /// Answers a request to a path that is served. An error becomes the answer.
    nonisolated(nonsending) func respond(
        to request: IncomingRequest, at rest: Substring, body: inout IncomingBody
    ) async throws -> HTTPReply
}

/// What answers at an endpoint.
package enum Endpoint: Sendable {
    /// A handler that replies to each request.
    case replies(any EndpointHandler)
    /// A handler that takes each request over, with every path below the endpoint.
    case exchanges(any ExchangeHandler)
}
