import APIConfiguration
import Access
import Autoscaler
import Core
import Dequeuer
import EngineDocker
import Foundation
import Gateway
import HTTPServing
import Jobs
import LocalOrchestrator
package import Logging
import NIOCore
import ObjectStorage
import Operator
import Proxy
import Reconciler
import ServiceLifecycle
import StoreSQLite
import Support
import Synchronization

/// Assembles the platform: the only file that names the concrete store and orchestrator. `EngineSelection` names the
/// engines.
package struct Assembly: Sendable {
    let settings: PlatformSettings
    let environment: [String: String]
    let announcer: any PlatformAnnouncer
    let logger: Logger
    private let clock = SystemClock()

    /// - Parameter environment: the process's variables; some of them name container engines.
    package init(
        settings: PlatformSettings, environment: [String: String], announcer: any PlatformAnnouncer, logger: Logger
    ) {
        self.settings = settings
        self.environment = environment
        self.announcer = announcer
        self.logger = logger
    }

    /// Runs until a signal; returns after a graceful shutdown.
    ///
    /// - Throws: ``PlatformError`` `setup` when the platform cannot start here: one line that says what to do.
    ///   `timed_out` when the shutdown exceeded its time limit.
    package func run(_ shutdown: ShutdownThread) async throws {
        let resources = Resources()
        let result: Result<Void, any Error>
        do {
            try await run(shutdown, resources)
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await resources.close(logger: logger)
        try result.get()
    }

    private func run(_ shutdown: ShutdownThread, _ resources: Resources) async throws {
        // Half of the open files is for callers; the other half is for the store, the pods and the engine (contract
        // N6).
        let capacity = ServerCapacity(
            connections: min(Limits.connections, DescriptorLimit.raise(logger: logger) / 2),
            trustedProxies: settings.trustedProxies)
        let directory = try await BlockingPool.checks.run { [settings] in
            if let store = settings.storeDirectory, FileManager.default.fileExists(atPath: store) {
                try PlatformDirectory.secure(store, option: "--store")
                try PlatformDirectory.checkContent(store, option: "--store")
            }
            return try PlatformDirectory.prepare(settings.dataDirectory)
        }
        let store = try await SQLiteStore.open(
            configuration: .init(
                directory: settings.storeDirectory ?? directory.path,
                durability: settings.durability == .full ? .full : .normal),
            now: clock.now(), logger: logger)
        resources.add("store") { try await store.close() }
        // Before any other check or log line: a damaged file is the only output of the start (contract U5).
        let tokens = try await blocking {
            try TokenStore.open(directory: directory.path, random: SystemRandomNumberGenerator())
        }
        try await blocking { try directory.removeStale() }
        try await PortCheck.check([
            .init(host: settings.host, port: settings.gatewayPort, hostFlag: "--host", portFlag: "--port"),
            .init(
                host: settings.operatorHost, port: settings.operatorPort, hostFlag: "--operator-host",
                portFlag: "--operator-port"),
        ])

        let selection = EngineSelection(
            settings: settings, directory: directory, environment: environment, clock: clock, logger: logger)
        let engine = try await selection.select()
        resources.add("engine") { await engine.shutDown() }
        try await withOperation("set up engine", engine.name) { try await engine.setUp() }

        let process = RandomWord.make(length: 10)
        let returned = try await store.beat(process: process, now: clock.now())
        if returned > 0 {
            logger.info("requests of the previous run returned to their queues", metadata: ["count": "\(returned)"])
        }

        let disk = DiskWatch(
            reserve: settings.diskReserve, folders: [directory.path, settings.storeDirectory ?? directory.path],
            clock: clock, logger: logger)
        await disk.measure()
        let orchestrator = LocalOrchestrator(
            engine: engine, clock: clock,
            configuration: .init(
                clientConfiguration: { Self.clientConfiguration(of: $1, for: $0, tokens) },
                shortGrace: Limits.shutdownGrace, makePodSuffix: { RandomWord.make(length: 10) },
                diskMargin: { disk.pods }, recorder: JobRecorder(store: store, clock: clock)),
            logger: logger)
        let state = PlatformState(
            store: store, orchestrator: orchestrator, isStopping: { shutdown.isStopRequested })
        shutdown.describe(grace: { orchestrator.longestGrace }, report: { state.report() })
        let book = AddressBook()
        let volumes = volumePolicy(directory)
        let reconciler = Reconciler(
            store: store, orchestrator: orchestrator, clock: clock, logger: logger,
            check: { try await volumes.obstacles(among: $0) })
        let random = SystemRandom()
        let makeID: @Sendable (Timestamp) -> RequestID = { RequestID(now: $0, random: random.next()) }
        let proxy = Proxy(
            store: store, orchestrator: orchestrator, clock: clock, logger: logger,
            makeSeed: { random.next() }, makeID: makeID)
        let jobs = Jobs(
            store: store, orchestrator: orchestrator, runner: orchestrator, sources: try inputs(), clock: clock,
            logger: logger, heldBack: { reconciler.reasonHeldBack($0) }, makeID: makeID,
            makeSuffix: { RandomWord.make(length: 10) }, spareDisk: { disk.spare },
            gateway: { book.known?.reachable(from: $0.header("host")).gateway ?? "" })
        let autoscaler = Autoscaler(
            store: store, sources: [QueueLoad(store), proxy], reconciler: reconciler, clock: clock, logger: logger)
        let gateway = Gateway(
            store: store,
            listeners: [
                .tcp(host: settings.host, port: settings.gatewayPort), .unix(path: directory.gatewaySocket),
            ], capacity: capacity, clock: clock, logger: logger, spareDisk: { disk.spare },
            exchanges: { try await proxy.update($0) }, jobs: { jobs.endpoint(of: $0) },
            onShutdown: {
                proxy.beginShutdown()
                jobs.beginShutdown()
            }, makeID: makeID)
        let control = makeOperator(
            store, orchestrator, PublishingReconciler(reconciler: reconciler, gateway: gateway), autoscaler, tokens,
            book, volumes, disk, engine, state, proxy, jobs)
        // Before the orchestrator runs, which removes pods that belong to no API and no job.
        try await withOperation("restore", "deployed APIs") { try await reconciler.restore() }
        try await withOperation("restore", "open jobs") { try await jobs.restore() }

        let jobsAtOperator = jobs.atOperator { request in
            do {
                return switch try await control.principal(of: request) {
                case nil: .none
                case .admin?: .admin
                case .pod?: .pod
                }
            } catch let fault as HTTPFault where fault.error.code == .unauthorized {
                return .wrong
            }
        }
        let errors = ErrorResponses(logger: logger)
        // Each way to the operator is a server of its own, because some routes are open on one and not on the other
        // (contract J1).
        func server(_ listener: HTTPListener, _ arrival: JobAccess.Arrival) -> HTTPServer {
            HTTPServer(
                listeners: [listener], capacity: capacity, isForCallers: false, clock: clock, logger: logger,
                errors: errors
            ) { request, body in
                if let response = try await jobsAtOperator.respond(to: request, via: arrival, body: &body) {
                    return response
                }
                return try await control.respond(to: request, body: &body)
            }
        }
        let controlServer = server(
            .tcp(host: settings.operatorHost, port: settings.operatorPort),
            Self.isLoopback(settings.operatorHost) ? .operatorOnLoopback : .operatorOnNetwork)
        let podServer = server(.unix(path: directory.operatorSocket), .podSocket)
        let announcement = Announcement(
            gateway: gateway.addresses,
            operator: {
                // Both listen before the addresses are published.
                _ = try await podServer.addresses()
                return try await controlServer.addresses()
            }, directory: directory,
            token: tokens.admin, engine: engine.name, book: book, announcer: announcer)

        let requests = ServicesTogether([
            NamedService(
                name: "dequeuer",
                service: Dequeuer(
                    store: store, orchestrator: orchestrator, clock: clock, random: random, logger: logger,
                    configuration: .init(grace: Limits.longestGrace, process: process))),
            NamedService(name: "operator", service: controlServer),
            NamedService(name: "operator for pods", service: podServer),
            NamedService(name: "gateway", service: gateway),
        ])
        // In the order of dependency: shutdown ends what brings requests first and the orchestrator last.
        try await run(
            [
                ("orchestrator", orchestrator), ("reconciler", reconciler),
                (
                    "rescuer",
                    Rescuer(
                        store: store, process: process, clock: clock, random: SystemRandomNumberGenerator(),
                        logger: logger)
                ),
                ("jobs", jobs), ("proxy", proxy), ("autoscaler", autoscaler), ("disk watch", disk),
                ("memory trim", MemoryTrim(clock: clock)), ("clock watch", ClockWatch(clock: clock, logger: logger)),
                ("requests", requests), ("announcement", announcement),
            ], shutdown)
    }

    /// Runs the services until a signal, or until one of them ends.
    private func run(_ services: [(name: String, service: any Service)], _ shutdown: ShutdownThread) async throws {
        let named = services.map { ($0.name, NamedService(name: $0.name, service: $0.service) as any Service) }
        var configuration = ServiceGroupConfiguration(
            services: (named + [("shutdown", ShutdownService(thread: shutdown))]).map { name, service in
                // The name is given, because the default is a reflection of the service with all its members.
                .init(
                    service: service, successTerminationBehavior: .gracefullyShutdownGroup,
                    failureTerminationBehavior: .gracefullyShutdownGroup, serviceName: name)
            }, logger: logger)
        // The last time limit of the group; normally `ShutdownThread` and the limit below end it before.
        configuration.maximumGracefulShutdownDuration = Limits.longestGrace + Limits.shutdownExit
        let group = ServiceGroup(configuration: configuration)
        let (clock, logger) = (clock, logger)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            tasks.addTask {
                await shutdown.waitUntilBegun()
                try await clock.sleep(for: shutdown.shutdownHasBegun() + Limits.shutdownCancel)
                logger.warning("the shutdown exceeds its time limit\(ShutdownThread.lines(of: .shared))")
                throw PlatformError(
                    .timedOut, "stopping exceeded its time limit; the next start removes what is left")
            }
            defer {
                // Also when the services ended without a signal: closing the remaining resources has the same time
                // limit.
                shutdown.shutdownHasBegun()
                tasks.cancelAll()
            }
            // The services, or the limit: the first one to end is the result.
            try await tasks.next()
        }
    }

    private func makeOperator(
        _ store: SQLiteStore, _ orchestrator: LocalOrchestrator, _ reconciler: any Reconciling,
        _ autoscaler: Autoscaler,
        _ tokens: TokenStore, _ book: AddressBook, _ volumes: VolumePolicy, _ disk: DiskWatch, _ engine: any Engine,
        _ state: PlatformState, _ proxy: Proxy, _ jobs: Jobs
    ) -> Operator {
        let health = PlatformHealth(
            store: store, engine: engine, book: book, disk: disk, clock: clock)
        return Operator(
            store: store, orchestrator: orchestrator, reconciler: reconciler, tokens: tokens, clock: clock,
            random: SystemRandomNumberGenerator(),
            configuration: OperatorConfiguration(
                engine: engine.name, podAccessLimit: settings.podAccessLimit,
                volumes: volumes,
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
                scaling: { await autoscaler.decisions(of: $0) }, traffic: proxy,
                jobStatuses: { try await jobs.shown(of: $0) },
                submissions: ScheduleCheck.problems, jobs: jobs,
                resumeSplit: { try await proxy.resume(split: $0) },
                components: { await health.components() },
                state: { await state.document() }),
            logger: logger)
    }

    /// Whether no other machine can reach a listener at this host.
    static func isLoopback(_ host: String) -> Bool {
        if host.lowercased() == "localhost" { return true }
        guard let address = try? SocketAddress(ipAddress: host, port: 0) else { return false }
        switch address {
        case .v4: return host.hasPrefix("127.")
        case .v6: return ["::1", "::ffff:127.0.0.1"].contains(host)
        case .unixDomainSocket: return true
        }
    }

    /// Where files are that jobs may be made from (contract B4).
    ///
    /// - Throws: `usage` for a wrong `--s3-endpoint`.
    private func inputs() throws -> [any ObjectSource] {
        [
            LocalFolders(folders: settings.batchFolders),
            try S3Source(environment: environment, endpoint: settings.s3Endpoint, clock: clock),
        ]
    }

    /// `/cortex/client/cli.yaml` in the containers of one replica (contract C9, N1). Tokens need no quotes in YAML.
    static func clientConfiguration(of replica: String, for api: DeployedAPI, _ tokens: TokenStore) -> String {
        let claim = PodClaim(api: api.name, replica: replica, access: api.specification.pod.operatorAccess)
        return """
            default_environment: default
            environments:
            - name: default
              operator_endpoint: http://\(ClusterNames.operatorService):8888
              token: \(tokens.token(for: claim))

            """
    }

    /// Paths that no container may mount: everything of the platform, and every engine's socket (contract N2).
    private func volumePolicy(_ directory: PlatformDirectory) -> VolumePolicy {
        var protected = [
            VolumePolicy.Protected(directory.path, "the platform's data directory", includesContent: true)
        ]
        if let store = settings.storeDirectory {
            protected.append(.init(store, "the platform's store", includesContent: true))
        }
        let user = "/run/user/\(getuid())"
        let sockets =
            DockerEngineConfiguration.usualSockets(environment: environment) + [
                "/run/docker.sock", "/run/containerd/containerd.sock", "/run/crio/crio.sock", "\(user)/docker.sock",
                "\(user)/podman/podman.sock",
            ]
        for socket in sockets where FileManager.default.fileExists(atPath: socket) {
            protected.append(.init(socket, "the socket of a container engine", includesContent: true))
        }
        if let socket = settings.engineSocket {
            protected.append(.init(socket, "the socket of a container engine", includesContent: true))
        }
        return VolumePolicy(protected: protected, allowed: settings.allowedVolumes)
    }
}

extension Jobs: JobControl {}

/// Opened resources, which are closed in reverse order on every path (contract U4).
private final class Resources: Sendable {
    private let opened = Mutex<[(name: String, close: @Sendable () async throws -> Void)]>([])

    func add(_ name: String, _ close: @escaping @Sendable () async throws -> Void) {
        opened.withLock { $0.append((name, close)) }
    }

    /// Closes everything, also when closing one of them fails.
    func close(logger: Logger) async {
        let all = opened.withLock { opened in
            defer { opened = [] }
            return opened
        }
        for resource in all.reversed() {
            do {
                // Not in the caller's task: that may be cancelled, and resources must be closed nevertheless.
                try await Task { try await withOperation("close", resource.name) { try await resource.close() } }.value
            } catch {
                logger.warning(
                    "\(resource.name) was not closed without errors", metadata: ["error": "\(error.safeDescription)"])
            }
        }
    }
}
