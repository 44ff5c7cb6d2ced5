package import Core
package import HTTPServing
package import Logging
import NIOHTTP1
import ServiceLifecycle

/// The data plane's HTTP server: takes requests for the deployed APIs and answers with their status and result
/// (contract A1–A9).
package struct Gateway: Service {
    /// How often the deployed APIs are read without a hint.
    private static let refresh: Duration = .seconds(10)
    /// Delay before a stream of changes that ended is opened again.
    private static let reopening: Duration = .milliseconds(100)

    private let store: any Store
    private let clock: any PlatformClock
    private let server: HTTPServer
    private let endpoints: Endpoints
    private let waiting: WaitingCallers
    private let onShutdown: @Sendable () -> Void
    private let logger: Logger

    /// - Parameters:
    ///   - listeners: a TCP address for callers, a unix socket for the pods.
    ///   - capacity: the limits that this server shares with the others of the process.
    ///   - spareDisk: how many bytes of disk submissions may still take; called at every submission, so it must be
    ///     fast.
    ///   - exchanges: the handlers of APIs that are not AsyncAPIs, by name. Called whenever the deployed APIs may have
    ///     changed, with all of them.
    ///   - jobs: the handler of an API with jobs; `nil` for another kind.
    ///   - onShutdown: called when a graceful shutdown begins.
    ///   - makeID: a new request's id; as a rule one that cannot be guessed.
    package init(
        store: any Store, listeners: [HTTPListener], limits: HTTPServerLimits = HTTPServerLimits(),
        capacity: ServerCapacity = ServerCapacity(), clock: any PlatformClock, logger: Logger,
        spareDisk: @escaping @Sendable () -> Int64 = { .max },
        exchanges: @escaping @Sendable ([DeployedAPI]) async throws -> [String: any ExchangeHandler] = { _ in [:] },
        jobs: @escaping @Sendable (DeployedAPI) -> (any EndpointHandler)? = { _ in nil },
        onShutdown: @escaping @Sendable () -> Void = {},
        makeID: @escaping @Sendable (Timestamp) -> RequestID = { now in
            var generator = SystemRandomNumberGenerator()
            return RequestID(now: now, using: &generator)
        }
    ) {
        let waiting = WaitingCallers(store: store, clock: clock)
        let services = AsyncAPI.Services(
            store: store, clock: clock, makeID: makeID, waiting: waiting, spareDisk: spareDisk)
        let endpoints = Endpoints(store: store, clock: clock) { deployed in
            let exchanges = try await exchanges(deployed)
            return EndpointTable(deployed) { api in
                switch api.specification.kind {
                case .async(let part): .replies(AsyncAPI(api, part, services: services))
                case .realtime, .trafficSplitter: exchanges[api.name].map(Endpoint.exchanges)
                case .batch, .task: jobs(api).map(Endpoint.replies)
                }
            }
        }
        let errors = ErrorResponses(logger: logger)
        var errorHeaders = CORS.anyOrigin
        errorHeaders.add(contentsOf: GatewayRoutes.fromGateway)
        let routes = GatewayRoutes(endpoints: endpoints, errors: errors)
        self.store = store
        self.clock = clock
        self.endpoints = endpoints
        self.waiting = waiting
        self.logger = logger
        self.onShutdown = onShutdown
        self.server = HTTPServer(
            listeners: listeners, limits: limits, capacity: capacity, clock: clock, logger: logger, errors: errors,
            errorHeaders: errorHeaders, isHandlerOnLoop: true, exchanges: { endpoints.exchange($0) }
        ) { request, body in
            try await routes.respond(to: request, body: &body)
        }
    }

    /// The addresses in the order of the listeners, with the ports that the system chose. Returns when connections are
    /// accepted.
    package func addresses() async throws -> [HTTPListener] {
        try await server.addresses()
    }

    /// Serves until graceful shutdown: waiting callers get the present status, requests that have arrived are answered.
    ///
    /// - Throws: ``PlatformError`` `setup` where the gateway cannot listen.
    package func run() async throws {
        let (deployed, hint) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        // Subscribed before the first caller can connect.
        let changes = store.changes([.ended, .apis])
        await refresh()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await follow(changes) { hint.yield() } }
            group.addTask {
                for await _ in deployed { await refresh() }
            }
            group.addTask { await every(Self.refresh) { await refresh() } }
            group.addTask { await every(WaitingCallers.step) { waiting.tick(now: clock.instant()) } }
            try await withGracefulShutdownHandler {
                try await server.run()
            } onGracefulShutdown: {
                waiting.close()
                onShutdown()
            }
            hint.finish()
            group.cancelAll()
        }
    }

    /// Passes the store's hints on until cancelled. A stream that ends is opened again, and everything is read once, as
    /// hints may have been missed.
    private func follow(_ changes: AsyncStream<StoreChanges>, apisChanged: @Sendable () -> Void) async {
        var changes = changes
        while true {
            for await change in changes {
                if !change.ended.isEmpty { waiting.ended(change.ended) }
                if !change.apis.isEmpty { apisChanged() }
            }
            // Only cancellation makes the sleep throw.
            guard (try? await clock.sleep(for: Self.reopening)) != nil else { return }
            changes = store.changes([.ended, .apis])
            apisChanged()
            waiting.wakeAll()
        }
    }

    /// Runs `action` after every `period`, until cancelled.
    private func every(_ period: Duration, _ action: @Sendable () async -> Void) async {
        // Only cancellation makes the sleep throw, and ends the loop.
        while (try? await clock.sleep(for: period)) != nil { await action() }
    }

    /// Reads which APIs are deployed; returns when what was deployed before this call is served. Where the store cannot
    /// be read, that is logged, and what is known is served.
    package func refresh() async {
        do {
            try await endpoints.refresh()
        } catch is CancellationError {
            return
        } catch {
            logger.warning("deployed APIs could not be read; those known are served", metadata: ["error": "\(error)"])
        }
    }
}
