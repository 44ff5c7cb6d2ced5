import Core
package import NIOHTTP1

// Hand-written: Hummingbird's router compares undecoded paths, answers 404 for a wrong method, and serves requests of
// another type; the adapter would be longer than this file, and its product brings six more.

/// A fixed set of routes: `/get/{apiName}` and the like. An unknown path is 404, a wrong method 405 with `Allow`; `GET`
/// serves `HEAD` too.
package struct RouteTable: Sendable {
    /// The decoded values of a path's `{names}`.
    package typealias Parameters = [String: String]
    /// Answers a request to a route.
    package typealias Handler =
        @Sendable (_ request: IncomingRequest, _ body: inout IncomingBody, _ parameters: Parameters) async throws ->
        OutgoingResponse

    private struct Route: Sendable {
        let segments: [Substring]
        var methods: [(method: HTTPMethod, handler: Handler)]
    }

    private var routes: [Route] = []

    /// Every method and pattern there is, in the order in which they were added.
    package var entries: [(method: HTTPMethod, pattern: String)] {
        routes.flatMap { route in
            route.methods.map { ($0.method, "/" + route.segments.joined(separator: "/")) }
        }
    }

    package init() {}

    /// Adds a route. Where several match, one with fewer `{names}` wins.
    package mutating func on(_ method: HTTPMethod, _ pattern: String, _ handler: @escaping Handler) {
        let segments = pattern.split(separator: "/")
        if let index = routes.firstIndex(where: { $0.segments == segments }) {
            routes[index].methods.append((method, handler))
        } else {
            routes.append(Route(segments: segments, methods: [(method, handler)]))
        }
    }

    /// - Throws: ``PlatformError`` `not_found`, ``HTTPFault`` 405, and what the route's handler throws.
    package func respond(to request: IncomingRequest, body: inout IncomingBody) async throws -> OutgoingResponse {
        guard let (route, parameters) = find(request.path) else {
            throw PlatformError(.notFound, "there is nothing at \(request.path)")
        }
        let wanted = request.method == .HEAD && !route.methods.contains { $0.method == .HEAD } ? .GET : request.method
        if let entry = route.methods.first(where: { $0.method == wanted }) {
            return try await entry.handler(request, &body, parameters)
        }
        var allowed = route.methods.map(\.method)
        if allowed.contains(.GET), !allowed.contains(.HEAD) { allowed.append(.HEAD) }
        throw HTTPFault.methodNotAllowed(request.method, allowed: allowed)
    }

    private func find(_ path: String) -> (Route, Parameters)? {
        // Decoded before they are compared, so that a character and its percent-encoding are the same everywhere in a
        // path.
        var segments: [String] = []
        for segment in path.split(separator: "/") {
            guard let decoded = PercentCoding.decode(segment) else { return nil }
            segments.append(decoded)
        }
        var best: (Route, Parameters)?
        for route in routes {
            guard let parameters = Self.match(segments, route.segments) else { continue }
            if best == nil || parameters.count < best?.1.count ?? 0 { best = (route, parameters) }
        }
        return best
    }

    private static func match(_ segments: [String], _ pattern: [Substring]) -> Parameters? {
        guard segments.count == pattern.count else { return nil }
        var parameters: Parameters = [:]
        for (segment, expected) in zip(segments, pattern) {
            if expected.hasPrefix("{"), expected.hasSuffix("}") {
                parameters[String(expected.dropFirst().dropLast())] = segment
            } else if segment != expected {
                return nil
            }
        }
        return parameters
    }
}
