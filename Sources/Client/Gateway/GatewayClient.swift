import AsyncHTTPClient
package import Core
import Foundation
package import NIOCore
import NIOHTTP1
package import Wire

/// An API's endpoint at the gateway (contract A1–A7). Safe from any task.
///
/// Every call throws ``PlatformError``: the gateway's error, or `connection_failed` with the address and what to do.
/// It sends no header of its own, for the gateway forwards those to the container.
package struct GatewayClient: Sendable {
    /// Changes only while a request is waited for.
    package private(set) var endpoint: EndpointURL
    private let api: String
    private let transport: Transport
    private let environment: Environment
    private let clock: any PlatformClock
    private let locate: (@Sendable () async throws -> EndpointURL)?

    /// Longest document that is read, in bytes: a result of 1 GiB and its envelope.
    private static let documentLimit = (1 << 30) + (1 << 20)

    /// - Parameter locate: asks the operator where the endpoint is now; used while a request is waited for and the
    ///   gateway does not answer, because a platform that was started again may listen on another port (contract O3).
    package init(
        api: APIDocument, name: String, environment: Environment, transport: Transport, clock: any PlatformClock,
        locate: (@Sendable () async throws -> EndpointURL)? = nil
    ) throws {
        self.endpoint = try EndpointURL.gateway(of: api, in: environment)
        self.api = name
        self.transport = transport
        self.environment = environment
        self.clock = clock
        self.locate = locate
    }

    private var peer: Peer { Peer(address: endpoint.text, environment: environment.name) }

    /// Submits a request, streaming its payload; returns once it is durable.
    ///
    /// - Returns: its id, and the gateway's answer unchanged.
    package func submit(
        _ payload: PayloadSource?, contentType: String?, headers: [(name: String, value: String)] = []
    ) async throws -> (id: RequestID, document: ByteBuffer) {
        var request = HTTPClientRequest(url: endpoint.text)
        request.method = .POST
        for header in headers { request.headers.add(name: header.name, value: header.value) }
        if let contentType { request.headers.replaceOrAdd(name: "Content-Type", value: contentType) }
        request.body = payload?.body ?? .bytes(ByteBuffer())
        // The limit is on silence after the payload was sent, not on sending it.
        let reply = try await transport.send(request, timeout: .seconds(24 * 3600), limit: 1 << 20, peer: peer)
        guard reply.status == .ok else { throw peer.error(for: reply) }
        guard let members = TopLevelMembers(reply.body), let text = members["id"],
            let id = try? JSONDecoder().decode(RequestID.self, from: Data(buffer: text))
        else {
            throw PlatformError(
                .connectionFailed, "what answers at \(endpoint) is not a Cortex gateway; check with: cortex get \(api)")
        }
        return (id, reply.body)
    }

    /// The request as it stands; with `wait`, the gateway answers only when it ends or the time (whole seconds, at most
    /// 60) is over.
    package func read(_ id: RequestID, wait: Duration = .zero) async throws -> RequestSnapshot {
        var request = HTTPClientRequest(url: "\(endpoint)/\(id)")
        let seconds = min(wait, Limits.longPoll).components.seconds
        if seconds > 0 { request.headers.add(name: "Prefer", value: "wait=\(seconds)") }
        let reply = try await transport.send(
            request, timeout: .seconds(30 + seconds), limit: Self.documentLimit, peer: peer)
        guard reply.status == .ok else { throw peer.error(for: reply) }
        return try RequestSnapshot(document: reply.body)
    }

    /// Takes a request back.
    ///
    /// - Throws: `conflict` when it has ended.
    package func cancel(_ id: RequestID) async throws -> RequestSnapshot {
        var request = HTTPClientRequest(url: "\(endpoint)/\(id)")
        request.method = .DELETE
        let reply = try await transport.send(
            request, timeout: .seconds(60), limit: Self.documentLimit, peer: peer)
        guard reply.status == .ok else { throw peer.error(for: reply) }
        return try RequestSnapshot(document: reply.body)
    }

    /// Waits until the request has ended, at most for `limit` (`nil`: for ever).
    ///
    /// Uses long polls. The pauses grow when a gateway answers them at once. A gateway that is away, also in the words
    /// of a proxy, is asked again up to `ResultWait.failuresAllowed` times in a row, where the operator says it is by
    /// then.
    ///
    /// - Parameter isKnown: whether the platform has confirmed that the request exists.
    /// - Returns: the last known state of the request; check its status.
    package func wait(_ id: RequestID, limit: Duration?, isKnown: Bool = false) async throws -> RequestSnapshot {
        var machine = ResultWait(start: clock.instant(), limit: limit, isKnown: isKnown)
        var gateway = self
        var last: RequestSnapshot?
        while true {
            let event: ResultWait.Event
            let asked = machine.poll(at: clock.instant())
            do {
                let snapshot = try await gateway.read(id, wait: asked)
                last = snapshot
                event = .answer(isEnded: snapshot.status.isEnded)
            } catch let error as PlatformError where error.isPassing {
                event = .away(error)
                // The operator may be away as well: then it is asked after the next failure.
                if let locate, let place = try? await locate() { gateway.endpoint = place }
            }
            switch machine.next(event, at: clock.instant()) {
            case .finish: if let last { return last }
            case .fail(let error): throw error
            case .sleep(let duration): try await clock.sleep(for: duration)
            }
        }
    }
}

extension EndpointURL {
    /// Where an API's requests go to, seen from here.
    ///
    /// The operator shows the public URL. Inside a container only the cluster's own name of the gateway is sure to be
    /// reached (contract C10); and an address on loopback is the server's loopback, which from another machine means
    /// the server.
    ///
    /// - Throws: ``PlatformError`` `not_found` when the operator named no endpoint.
    package static func gateway(of api: APIDocument, in environment: Environment) throws -> EndpointURL {
        guard let text = api.endpoint, !text.isEmpty else {
            throw PlatformError(.notFound, "the operator names no endpoint for this API; deploy it again")
        }
        let endpoint = try EndpointURL(text)
        let operatorURL = try EndpointURL(environment.operatorEndpoint)
        if operatorURL.isInsideCluster {
            return try endpoint.replacing(scheme: "http", host: ClusterNames.gateway, port: nil)
        }
        if endpoint.isLoopback, !operatorURL.isLoopback {
            return try endpoint.replacing(scheme: endpoint.scheme, host: operatorURL.host, port: endpoint.port)
        }
        return endpoint
    }
}
