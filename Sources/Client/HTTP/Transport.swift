package import AsyncHTTPClient
import Core
import Foundation
package import NIOCore
package import NIOHTTP1

/// The HTTP client of one command, with limits on time and size and messages for users.
///
/// Redirects are not followed: no address of ours redirects, and a token must not travel to another host.
package struct Transport: Sendable {
    private let http: HTTPClient

    /// Runs `body` with a transport and closes its connections afterwards.
    package static func with<Result: Sendable>(
        _ body: @Sendable (Transport) async throws -> Result
    ) async throws -> Result {
        var configuration = plain
        configuration.timeout.read = .seconds(600)
        return try await with(configuration, body)
    }

    /// Runs `body` with a transport for a response of any length and any pauses, and closes its connections afterwards.
    ///
    /// A server that disappears without a packet is noticed after a minute.
    ///
    /// - Parameter target: the request target of every request, byte for byte. It replaces the one of the URL, which
    ///   Foundation may write in another form.
    package static func streaming<Result: Sendable>(
        target: String, _ body: @Sendable (Transport) async throws -> Result
    ) async throws -> Result {
        var configuration = plain
        configuration.httpVersion = .http1Only
        configuration.http1_1ConnectionDebugInitializer = { channel in
            channel.eventLoop.submit {
                let pipeline = channel.pipeline.syncOperations
                let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPResponseDecoder>.self)
                try pipeline.addHandler(RequestTarget(target), position: .after(decoder))
                let options = channel.syncOptions
                try options?.setOption(ChannelOptions.socketOption(.so_keepalive), value: 1)
                try options?.setOption(ChannelOptions.tcpOption(.init(rawValue: TCP_KEEPIDLE)), value: 30)
                try options?.setOption(ChannelOptions.tcpOption(.init(rawValue: TCP_KEEPINTVL)), value: 10)
                try options?.setOption(ChannelOptions.tcpOption(.init(rawValue: TCP_KEEPCNT)), value: 3)
            }
        }
        return try await with(configuration, body)
    }

    private static var plain: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout = .init(connect: .seconds(10))
        // A refused connection is an answer: say so at once instead of trying until the timeout.
        configuration.connectionPool.retryConnectionEstablishment = false
        return configuration
    }

    private static func with<Result: Sendable>(
        _ configuration: HTTPClient.Configuration, _ body: @Sendable (Transport) async throws -> Result
    ) async throws -> Result {
        let http = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
        do {
            let result = try await body(Transport(http: http))
            try await http.shutdown()
            return result
        } catch {
            // The first error is what matters to the caller.
            try? await http.shutdown()
            throw error
        }
    }

    /// Sends a request and hands out the response as soon as its head is there; `timeout` is for that.
    ///
    /// - Throws: ``PlatformError`` `connection_failed` or `timed_out`, naming `peer`.
    package func open(_ request: HTTPClientRequest, timeout: Duration, peer: Peer) async throws -> HTTPClientResponse {
        do {
            return try await http.execute(request, timeout: .nanoseconds(timeout.wholeNanoseconds))
        } catch {
            throw peer.error(for: error)
        }
    }

    /// Sends a request and gathers its answer.
    ///
    /// - Throws: as `open`; also `payload_too_large` when the answer is longer than `limit` bytes.
    package func send(
        _ request: HTTPClientRequest, timeout: Duration, limit: Int, peer: Peer
    ) async throws -> Reply {
        let response = try await open(request, timeout: timeout, peer: peer)
        return try await Reply(response, limit: limit, peer: peer)
    }
}

/// Writes a request target of its own into every request head.
private final class RequestTarget: ChannelOutboundHandler {
    typealias OutboundIn = HTTPClientRequestPart
    typealias OutboundOut = HTTPClientRequestPart

    private let target: String

    init(_ target: String) {
        self.target = target
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .head(var head) = unwrapOutboundIn(data) else { return context.write(data, promise: promise) }
        head.uri = target
        context.write(wrapOutboundOut(.head(head)), promise: promise)
    }
}

/// A whole answer.
package struct Reply: Sendable {
    package var status: HTTPResponseStatus
    package var headers: HTTPHeaders
    package var body: ByteBuffer

    package init(status: HTTPResponseStatus, headers: HTTPHeaders, body: ByteBuffer) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package init(_ response: HTTPClientResponse, limit: Int, peer: Peer) async throws {
        self.status = response.status
        self.headers = response.headers
        do {
            self.body = try await response.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw PlatformError(
                .payloadTooLarge, "the answer of \(peer.address) is longer than \(limit) bytes; read it with curl")
        } catch {
            throw peer.error(for: error)
        }
    }
}
