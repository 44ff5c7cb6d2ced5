package import NIOHTTP1

/// Lets pages of other origins call an API from a browser (contract A8; Fetch standard, CORS protocol).
package struct CORS: Sendable {
    /// Origins that may call; `*` is any.
    package var allowedOrigins: [String]
    package var methods: [HTTPMethod]

    /// For answers that are made before the API of the request is known. They reveal nothing about any API.
    package static let anyOrigin: HTTPHeaders = [
        "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": exposed,
    ]

    /// The headers of an answer that a page may read.
    private static let exposed = "Content-Length, Location, Preference-Applied, Retry-After"
    /// How long a browser may remember a preflight, in seconds.
    private static let maxAge = "600"

    package init(allowedOrigins: [String] = ["*"], methods: [HTTPMethod]) {
        self.allowedOrigins = allowedOrigins
        self.methods = methods
    }

    /// Whether the request comes from a page whose origin may not call (contract N5). So do `Origin: null` and several
    /// `Origin` headers, unless every origin may call.
    package func forbids(_ request: IncomingRequest) -> Bool {
        guard request.headers.contains(name: "origin") else { return false }
        return allowed(request) == nil && !allowedOrigins.contains("*")
    }

    /// The answer to `OPTIONS`: to a preflight the permissions that it asks for, with all request headers; otherwise
    /// only `Allow`.
    package func preflight(_ request: IncomingRequest) -> OutgoingResponse {
        let allow = (methods + [.OPTIONS]).map(\.rawValue).joined(separator: ", ")
        var response = OutgoingResponse(status: .noContent, headers: ["Allow": allow])
        guard Self.isPreflight(request) else { return response }
        guard let origin = allowed(request) else { return response }
        response.headers.add(name: "Access-Control-Allow-Origin", value: origin)
        response.headers.add(name: "Access-Control-Allow-Methods", value: allow)
        // `*` does not cover Authorization, so the names are returned.
        let wanted = request.values("access-control-request-headers").joined(separator: ", ")
        if !wanted.isEmpty { response.headers.add(name: "Access-Control-Allow-Headers", value: wanted) }
        response.headers.add(name: "Access-Control-Max-Age", value: Self.maxAge)
        response.headers.add(name: "Vary", value: "Origin, Access-Control-Request-Headers")
        return response
    }

    /// Whether the request is a preflight: a browser asks whether it may send another request.
    package static func isPreflight(_ request: IncomingRequest) -> Bool {
        request.method == .OPTIONS && request.headers.contains(name: "access-control-request-method")
    }

    /// The headers that a browser requires before it gives an answer, also an error, to the page. None for a
    /// caller that is no browser.
    package func headers(for request: IncomingRequest) -> HTTPHeaders {
        var headers = HTTPHeaders()
        guard request.headers.contains(name: "origin") else { return headers }
        if !allowedOrigins.contains("*") { headers.add(name: "Vary", value: "Origin") }
        guard let origin = allowed(request) else { return headers }
        headers.add(name: "Access-Control-Allow-Origin", value: origin)
        headers.add(name: "Access-Control-Expose-Headers", value: Self.exposed)
        return headers
    }

    private func allowed(_ request: IncomingRequest) -> String? {
        guard let origin = request.header("origin") else { return nil }
        if allowedOrigins.contains("*") { return "*" }
        return allowedOrigins.contains { $0.lowercased() == origin.lowercased() } ? origin : nil
    }
}
