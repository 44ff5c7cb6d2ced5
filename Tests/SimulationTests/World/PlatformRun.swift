import Core
import Dequeuer
import Gateway
import LocalOrchestrator
import Logging
import Reconciler
import ServiceLifecycle

/// One run of the platform's process: the real orchestrator, reconciler, dequeuer and rescuer, assembled as in
/// `Platform/Assembly`.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class PlatformRun: @unchecked Sendable {
    let name: String
    let store: SimulatedStore
    let door: Door
    private let world: World
    private var reconciler: Reconciler?
    private var group: ServiceGroup?
    private var task: Task<Void, Never>?
    private var ready: Set<String> = []
    private var unreadySince: [String: Int64] = [:]
    let longPolls: LongPolls
    private(set) var isDead = false

    init(_ world: World, number: Int) {
        self.world = world
        name = "platform \(number)"
        store = SimulatedStore(world, run: name)
        door = Door(world)
        longPolls = LongPolls(world, store)
    }

    // MARK: Lifecycle

    /// Returns when requests are served, or when the run was killed before.
    func start() async {
        world.history.note(name, "starts")
        let logger = world.logger(name)
        let orchestrator = LocalOrchestrator(
            engine: door, clock: world.clock,
            configuration: .init(
                clientConfiguration: { _, _ in "" }, resync: .seconds(12), shortGrace: .seconds(3),
                makePodSuffix: { [world] in world.nextPod() }), logger: logger)
        let reconciler = Reconciler(store: store, orchestrator: orchestrator, clock: world.clock, logger: logger)
        // A platform that cannot start exits, and its supervisor starts it again.
        while !isDead {
            do {
                _ = try await store.beat(process: name, now: world.clock.now())
                try await reconciler.restore()
                guard !isDead else { return }
                run(orchestrator, reconciler, logger)
                return
            } catch {
                await world.pause(.seconds(1))
            }
        }
    }

    private func run(_ orchestrator: LocalOrchestrator, _ reconciler: Reconciler, _ logger: Logger) {
        self.reconciler = reconciler
        store.mayClaim = { [weak self] in self?.mayServe($0) ?? false }
        door.isReady = { [weak self] in self?.mayServe($0) ?? false }
        let dequeuer = Dequeuer(
            store: store, readyReplicas: { self.watched(orchestrator.readyReplicas()) }, clock: world.clock,
            random: world.dice.split(), logger: logger,
            configuration: .init(grace: world.scenario.grace, process: name),
            group: SimulatedLoop(world.schedule, world.embedded), transport: door)
        let rescuer = Rescuer(
            store: store, process: name, clock: world.clock, random: world.dice.split(), logger: logger)
        let group = ServiceGroup(
            configuration: .init(
                services: ([orchestrator, reconciler, rescuer, dequeuer, longPolls] as [any Service]).map {
                    .init(
                        service: $0, successTerminationBehavior: .gracefullyShutdownGroup,
                        failureTerminationBehavior: .gracefullyShutdownGroup)
                }, logger: logger))
        self.group = group
        task = Task {
            // It ends with an error only when it is cancelled, which `crash` does.
            _ = try? await group.run()
        }
    }

    /// Applies what the operator and the autoscaler have stored.
    func reconcile() async { await reconciler?.reconcile("api") }

    /// `kill -9`: further operations of the process have no effect; its connections end, its leases do not.
    func crash() {
        isDead = true
        store.isDead = true
        door.isDead = true
        world.history.note(name, "is killed")
        for link in world.engine.links where link.door === door { link.platformLeaves() }
        // The rest of it ends by itself.
        task?.cancel()
    }

    /// SIGTERM.
    func shutDown() async {
        world.history.note(name, "shuts down")
        await group?.triggerGracefulShutdown()
        await task?.value
        world.history.note(name, "has ended")
        isDead = true
        store.isDead = true
        door.isDead = true
        for link in world.engine.links where link.door === door {
            world.ledger.expect(
                link.present == nil, "C13", "a platform that has ended left a request in \(link.pod.id)")
            link.platformLeaves()
        }
        guard world.scenario.storeIsGood else { return }
        for known in world.ledger.open where known.status == .inProgress && known.holder != World.ghost {
            world.ledger.expect(false, "C13", "\(known.name) was not released by a platform that has ended")
        }
    }

    // MARK: Readiness (contract C7)

    private func watched(_ replicas: AsyncStream<[ReadyReplica]>) -> AsyncStream<[ReadyReplica]> {
        let source = Source(replicas)
        return AsyncStream { [self] in
            guard let next = await source.next() else { return nil }
            let now = Set(next.map(\.id))
            for gone in ready.subtracting(now) { unreadySince[gone] = world.schedule.elapsed }
            if now != ready { world.history.note(name, "ready: \(now.sorted().joined(separator: ", "))") }
            ready = now
            return next
        }
    }

    /// Whether a replica is ready, or was at the beginning of this instant.
    private func mayServe(_ replica: String) -> Bool {
        if replica == World.ghost { return true }
        if let pod = world.engine.pods[replica], !pod.isListening, pod.isAlive, let probe = world.scenario.probe {
            // The orchestrator must have noticed by now.
            let longestRun = (probe.period + probe.timeout + .seconds(1)) * (probe.failureThreshold + 1) + .seconds(2)
            let deaf = Duration.microseconds(world.schedule.elapsed - pod.deafSince)
            world.ledger.expect(
                deaf < longestRun || !ready.contains(replica), "C7",
                "\(replica) refuses connections for \(deaf), and is still thought ready")
        }
        return ready.contains(replica) || unreadySince[replica] == world.schedule.elapsed
    }

    /// `@unchecked Sendable`: confined to its world's thread.
    private final class Source: @unchecked Sendable {
        private var iterator: AsyncStream<[ReadyReplica]>.Iterator

        init(_ stream: AsyncStream<[ReadyReplica]>) { iterator = stream.makeAsyncIterator() }

        func next() async -> [ReadyReplica]? { await iterator.next() }
    }
}
