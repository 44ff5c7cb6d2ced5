package import NIOHTTP1

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

/// Begins the exchanges of one deployed API whose kind streams: it needs no task for a request.
package protocol ExchangeHandler: AnyObject, Sendable {
    /// Takes a request over. Called on the connection's event loop; the parts behind the head follow.
    ///
    /// - Parameter rest: the part of the path after the endpoint, byte for byte as the caller sent it: empty, or it
    ///   begins with `/`.
    func exchange(
        for request: IncomingRequest, _ head: HTTPRequestHead, at rest: Substring, caller: ExchangeCaller
    ) -> any ServerExchange
}

/// The handler of a request's path, and the part of the path after its endpoint.
package struct ExchangeMatch: Sendable {
    package let handler: any ExchangeHandler
    package let rest: Substring

    package init(handler: any ExchangeHandler, rest: Substring) {
        self.handler = handler
        self.rest = rest
    }
}

/// Finds the handler of a path without waiting; `nil` where no exchange answers it, or where its API is not known yet.
package typealias ExchangeLookup = @Sendable (_ path: String) -> ExchangeMatch?
