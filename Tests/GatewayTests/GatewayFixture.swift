import AsyncHTTPClient
import Core
import Gateway
import HTTPServing
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import StoreMemory
import Support
import TestSupport

/// A gateway that listens, its store, and the hands of callers and replicas.
struct GatewayFixture: Sendable {
    let store: any Store
    let clock: any PlatformClock
    let port: Int
    let services: ServiceGroup

    /// Runs `body` against a gateway with the APIs deployed, then shuts it down gracefully.
    static func with(
        apis: [APISpecification] = [.test()], store: any Store = MemoryStore(),
        clock: any PlatformClock = SystemClock(), limits: HTTPServerLimits = HTTPServerLimits(),
        spareDisk: @escaping @Sendable () -> Int64 = { .max },
        _ body: @Sendable (GatewayFixture) async throws -> Void
    ) async throws {
        let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        for api in apis { try await store.deploy(.test(api), now: clock.now()) }
        let gateway = Gateway(
            store: store, listeners: [.tcp(host: "127.0.0.1", port: 0)], limits: limits, clock: clock, logger: logger,
            spareDisk: spareDisk)
        let services = ServiceGroup(configuration: .init(services: [gateway], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await services.run() }
            do {
                var port = 0
                for case .tcp(_, let bound) in try await gateway.addresses() { port = bound }
                try await body(GatewayFixture(store: store, clock: clock, port: port, services: services))
            } catch {
                await services.triggerGracefulShutdown()
                throw error
            }
            await services.triggerGracefulShutdown()
            try await group.waitForAll()
        }
    }

    struct Answer {
        let status: Int
        let headers: HTTPHeaders
        let bytes: [UInt8]
        var text: String { String(decoding: bytes, as: UTF8.self) }
        /// The id in `{"id":"…"`.
        var id: String { text.split(separator: "\"").dropFirst(3).first.map(String.init) ?? "" }
    }

    func send(
        _ method: HTTPMethod, _ path: String, headers: HTTPHeaders = [:], body: [UInt8]? = nil
    ) async throws -> Answer {
        try await send(method, path, headers: headers, body.map { .bytes($0) })
    }

    func send(
        _ method: HTTPMethod, _ path: String, headers: HTTPHeaders = [:], _ body: HTTPClientRequest.Body?
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = method
        request.headers = headers
        request.body = body
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(60))
        let bytes = try await response.body.collect(upTo: 256 << 20)
        return Answer(
            status: Int(response.status.code), headers: response.headers, bytes: Array(bytes.readableBytesView))
    }

    /// Submits and returns the id.
    func submit(_ body: String = "x", path: String = "/hello", headers: HTTPHeaders = [:]) async throws -> String {
        try await send(.POST, path, headers: headers, body: Array(body.utf8)).id
    }

    /// What a replica would take from the queue.
    func claim(_ api: String = "hello", limit: Int = 10) async throws -> [ClaimedRequest] {
        try await store.claim(
            api: api, limit: limit, visibility: .seconds(60), holder: "replica", now: clock.now())
    }

    /// Takes one request and finishes it.
    func run(_ outcome: Outcome, api: String = "hello") async throws {
        for claimed in try await claim(api, limit: 1) {
            _ = try await store.finish(claimed.lease, outcome: outcome, now: clock.now())
        }
    }

    func bytes(of body: Body) async throws -> [UInt8] {
        let reader = try await store.reader(of: body)
        var bytes: [UInt8] = []
        while let piece = try await reader.read(upTo: 1 << 20) { bytes += piece }
        await reader.close()
        return bytes
    }
}

extension APISpecification {
    static func test(
        name: String = "hello", endpoint: String? = nil, allowOrigins: [String] = ["*"],
        requests: RequestPolicy = RequestPolicy()
    ) -> APISpecification {
        APISpecification.async(
            name: name, networking: Networking(endpoint: endpoint ?? "/\(name)", allowOrigins: allowOrigins),
            pod: PodSpecification(containers: [ContainerSpecification(name: "c")]), requests: requests)
    }
}

extension DeployedAPI {
    static func test(_ specification: APISpecification) -> DeployedAPI {
        DeployedAPI(
            specification: specification, id: "0000000000000001-a-b", specID: "b", podID: "c", deploymentID: "a",
            initialDeployment: Timestamp(seconds: 1), lastUpdated: Timestamp(seconds: 1))
    }
}
