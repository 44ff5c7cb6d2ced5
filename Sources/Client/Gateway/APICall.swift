import AsyncHTTPClient
import Core
package import NIOCore
package import NIOHTTP1

/// One HTTP request to a RealtimeAPI or a TrafficSplitter, whose response is streamed (contract R24).
///
/// It sends no header field of its own except those that frame the message and `Host`.
package struct APICall: Sendable {
    package var method = "GET"
    package var headers: [(name: String, value: String)] = []
    package var payload: PayloadSource?
    private let endpoint: EndpointURL
    private let peer: Peer
    private let target: String

    /// Longest wait for the response head. The platform ends a call before: `timeout` of an API is at most 365 days.
    private static let limit: Duration = .seconds(366 * 24 * 3600)

    /// - Parameters:
    ///   - endpoint: the API's endpoint, as ``EndpointURL/gateway(of:in:)`` returns it.
    ///   - path: begins with `/` or `?`; it is appended to the endpoint byte for byte.
    /// - Throws: ``PlatformError`` `usage` when the path is not one that HTTP can carry.
    package init(endpoint: EndpointURL, path: String, environment: Environment) throws {
        self.endpoint = endpoint
        self.peer = Peer(address: endpoint.text, environment: environment.name)
        self.target = try Self.target(of: endpoint, path: path)
    }

    static func target(of endpoint: EndpointURL, path: String) throws -> String {
        guard path.hasPrefix("/") || path.hasPrefix("?") else {
            throw PlatformError(.usage, "the path must begin with / or ?; write it like /\(path)")
        }
        for scalar in path.unicodeScalars where !("!"..."~").contains(scalar) || scalar == "#" {
            let encoded = String(scalar).utf8.map { byte in
                let digits = String(byte, radix: 16, uppercase: true)
                return "%" + (digits.utf8.count == 1 ? "0" : "") + digits
            }
            throw PlatformError(
                .usage,
                "the path has a character that a URL cannot have there; write it as \(encoded.joined())"
                    + " (it is sent byte for byte)")
        }
        let target = endpoint.path + path
        return target.hasPrefix("/") ? target : "/" + target
    }

    /// Sends the request and runs `receive` with the response as soon as its head has arrived.
    ///
    /// The connection is closed when `receive` returns before the end of the body.
    ///
    /// - Throws: ``PlatformError`` `connection_failed` when there is no response; errors of the payload and of
    ///   `receive`.
    package func send<Result: Sendable>(
        _ receive: @Sendable (CallResponse) async throws -> Result
    ) async throws -> Result {
        try await Transport.streaming(target: target) { transport in
            var request = HTTPClientRequest(url: "\(endpoint.scheme)://\(endpoint.authority)/")
            request.method = HTTPMethod(rawValue: method)
            for header in headers { request.headers.add(name: header.name, value: header.value) }
            request.body = payload?.body
            let response = try await transport.open(request, timeout: Self.limit, peer: peer)
            return try await receive(CallResponse(response, peer: peer))
        }
    }
}

/// A response whose body arrives in parts.
package struct CallResponse: Sendable {
    package let status: HTTPResponseStatus
    package let version: HTTPVersion
    package let headers: HTTPHeaders
    private let body: HTTPClientResponse.Body
    private let peer: Peer

    init(_ response: HTTPClientResponse, peer: Peer) {
        self.status = response.status
        self.version = response.version
        self.headers = response.headers
        self.body = response.body
        self.peer = peer
    }

    /// Runs `receive` with each part of the body as it arrives. The next part is read when it returns.
    ///
    /// - Throws: ``PlatformError`` `connection_failed` when the connection is lost before the end of the body; errors
    ///   of `receive`.
    package func forEachPart(_ receive: (ByteBuffer) async throws -> Void) async throws {
        var parts = body.makeAsyncIterator()
        while true {
            let part: ByteBuffer?
            do {
                part = try await parts.next()
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                throw PlatformError(
                    .connectionFailed,
                    "the response of \(peer.address) is not complete: the connection was closed before its end",
                    cause: error)
            }
            guard let part else { return }
            try await receive(part)
        }
    }
}
