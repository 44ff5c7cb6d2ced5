import Autoscaler
import Client
import Core
import Dequeuer
import EngineDocker
import Foundation
import Gateway
import HTTPServing
import LocalOrchestrator
import Logging
import Operator
import ServiceLifecycle
import StoreSQLite
import Support

/// Puts the platform together: the only file that names the concrete store and orchestrator (the engine: `EngineSelection`).
struct Assembly: Sendable {
    let settings: UpSettings
    let environment: [String: String]
    let console: Console
    /// How it is said where the platform listens.
    let format: OutputFormat
    let logger: Logger
    private let clock = SystemClock()

    init(
        settings: UpSettings, environment: [String: String], console: Console, format: OutputFormat, logger: Logger
    ) {
        self.settings = settings
        self.environment = environment
        self.console = console
        self.format = format
        self.logger = logger
    }

    /// Runs until a signal; returns after a graceful shutdown.
    ///
    /// - Throws: ``PlatformError`` `setup` when it cannot start here: one line that says what to do.
    func run() async throws {
        DescriptorLimit.raise(logger: logger)
        let directory = try PlatformDirectory.prepare(settings.dataDirectory)
        let store = try await SQLiteStore.open(
            configuration: .init(
                directory: settings.storeDirectory ?? directory.path,
                durability: settings.durability == .full ? .full : .normal),
            now: clock.now(), logger: logger)
        do {
            try directory.removeStale()
            try await PortCheck.check(
                host: settings.host,
                ports: [(settings.gatewayPort, "--port"), (settings.operatorPort, "--operator-port")])
            try await run(directory, store)
        } catch {
            // The first error is the one that matters; closing releases the lock either way.
            try? await store.close()
            throw error
        }
        try await store.close()
    }

    private func run(_ directory: PlatformDirectory, _ store: SQLiteStore) async throws {
        let selection = EngineSelection(
            settings: settings, directory: directory, environment: environment, clock: clock, logger: logger)
        let engine = try await selection.select()
        try await engine.setUp()

        // This process is the only one on its store: whoever held a lease is gone.
        let returned = try await store.releaseLeases(heldBy: nil, now: clock.now())
        if returned > 0 {
            logger.info("requests of the last run went back to their queues", metadata: ["count": "\(returned)"])
        }

        let tokens = try await TokenStore.open(directory: directory.path, random: SystemRandomNumberGenerator())
        let orchestrator = LocalOrchestrator(
            engine: engine, clock: clock,
            configuration: .init(
                clientConfiguration: try Self.containerConfiguration(token: tokens.token(TokenStore.containers)),
                makePodSuffix: { RandomWord.make(length: 10) }),
            logger: logger)
        let book = AddressBook()
        let autoscaler = Autoscaler(store: store, orchestrator: orchestrator, clock: clock, logger: logger)
        let control = makeOperator(store, orchestrator, autoscaler, tokens, book, directory, engine)
        try await control.restore()

        let random = SystemRandom()
        let gateway = Gateway(
            store: store,
            listeners: [
                .tcp(host: settings.host, port: settings.gatewayPort), .unix(path: directory.gatewaySocket),
            ], clock: clock, logger: logger, makeID: { RequestID(now: $0, random: random.next()) })
        let controlServer = HTTPServer(
            listeners: [
                .tcp(host: settings.host, port: settings.operatorPort), .unix(path: directory.operatorSocket),
            ], clock: clock, logger: logger, errors: ErrorResponses(logger: logger)
        ) { try await control.respond(to: $0, body: &$1) }
        let announcement = Announcement(
            gateway: gateway.addresses, operator: controlServer.addresses, directory: directory,
            environments: EnvironmentStore(environment: environment), token: tokens.token(TokenStore.user) ?? "",
            engine: engine.name, book: book, console: console, format: format)

        // In the order of dependency: shutdown closes the gateway first and the orchestrator last.
        let services: [any Service] = [
            orchestrator,
            Rescuer(store: store, clock: clock, random: SystemRandomNumberGenerator(), logger: logger),
            Dequeuer(
                store: store, orchestrator: orchestrator, clock: clock, random: random,
                logger: logger),
            autoscaler, MemoryTrim(clock: clock), announcement, controlServer, gateway,
        ]
        let group = ServiceGroup(
            configuration: .init(
                services: services.map {
                    .init(
                        service: $0, successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup)
                }, logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await SignalWatch(group: group, console: console).run() }
            defer { tasks.cancelAll() }
            try await group.run()
        }
        if let docker = engine as? DockerEngine { await docker.shutDown() }
    }

    private func makeOperator(
        _ store: SQLiteStore, _ orchestrator: LocalOrchestrator, _ autoscaler: Autoscaler, _ tokens: TokenStore,
        _ book: AddressBook, _ directory: PlatformDirectory, _ engine: any Engine
    ) -> Operator {
        let health = PlatformHealth(
            store: store, engine: engine, book: book, directory: directory.path, clock: clock)
        return Operator(
            store: store, orchestrator: orchestrator, tokens: tokens, clock: clock,
            random: SystemRandomNumberGenerator(),
            configuration: OperatorConfiguration(
                engine: engine.name, store: "sqlite",
                addresses: { book.known ?? PlatformAddresses(gateway: "", operator: "") },
                notReady: {
                    guard book.known != nil else { return ["the gateway does not listen yet"] }
                    do {
                        _ = try await store.counts()
                        return []
                    } catch {
                        return ["the store does not answer"]
                    }
                },
                scaling: { await autoscaler.decisions(of: $0) }, components: { await health.components() }),
            logger: logger)
    }

    /// `/cortex/client/cli.yaml` of every container (contract C9).
    private static func containerConfiguration(token: String?) throws -> String {
        let file = EnvironmentFile(
            defaultEnvironment: "default",
            environments: [
                Client.Environment(
                    name: "default", operatorEndpoint: "http://\(ClusterNames.operatorService):8888", token: token)
            ])
        return try file.yaml()
    }
}
