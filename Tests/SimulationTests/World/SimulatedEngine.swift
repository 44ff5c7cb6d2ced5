import ContainerHTTP
import Core
import Dequeuer
import NIOCore
import NIOEmbedded
import Synchronization

/// The pods of a world. They survive the platform's runs, each of which reaches them through its own `Door`.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class SimulatedEngine: @unchecked Sendable {
    unowned let world: World
    private(set) var pods: [String: SimulatedPod] = [:]
    var hints: [AsyncStream<String>.Continuation] = []
    var pending: [CInt: Link] = [:]
    private(set) var links: [Link] = []
    private var nextDescriptor = CInt.max

    init(_ world: World) { self.world = world }

    var order: [SimulatedPod] { pods.values.sorted { $0.number < $1.number } }

    func start(_ plan: PodPlan) {
        let pod = SimulatedPod(world, plan: plan, number: pods.count)
        pods[plan.id] = pod
        world.history.note(plan.id, "starts")
        pod.boot()
        tell(plan.id)
    }

    func remove(_ id: String) {
        guard let pod = pods[id] else { return }
        world.history.note(id, "is removed")
        pod.die()
        pods[id] = nil
        tell(id)
    }

    func tell(_ id: String) {
        guard world.isCalm || !world.dice.chance(world.scenario.hintsLost) else { return }
        for hint in hints { hint.yield(id) }
    }

    /// A connected descriptor: a number of no open file of this process, so that closing it is harmless.
    func connect(_ pod: SimulatedPod, door: Door) -> CInt {
        nextDescriptor -= 1
        pending[nextDescriptor] = Link(pod, door: door, descriptor: nextDescriptor)
        return nextDescriptor
    }

    func adopt(_ descriptor: CInt) -> Link? {
        guard let link = pending.removeValue(forKey: descriptor) else { return nil }
        links.append(link)
        link.pod.links.append(link)
        return link
    }

    func closeAll() {
        for link in links { link.platformLeaves() }
        links = []
    }
}

/// One pod with one container, which serves HTTP.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class SimulatedPod: @unchecked Sendable {
    unowned let world: World
    let plan: PodPlan
    let number: Int
    var isAlive = true
    var state = ObservedContainer.State.running
    private(set) var isListening = false
    /// The time since which connections are refused.
    private(set) var deafSince: Int64
    var links: [Link] = []
    /// Requests inside, counted by the container.
    var inside = 0
    private var incarnation = 0

    var id: String { plan.id }

    init(_ world: World, plan: PodPlan, number: Int) {
        self.world = world
        self.plan = plan
        self.number = number
        deafSince = world.schedule.elapsed
    }

    func boot() {
        state = .running
        incarnation += 1
        let incarnation = incarnation
        world.schedule.after(world.dice.seconds(0.05...2)) { [self] in
            guard isAlive, state == .running, incarnation == self.incarnation else { return }
            listen()
        }
    }

    private func listen() {
        isListening = true
        world.history.note(id, "listens")
    }

    /// Refuses new connections for a while; existing ones continue.
    func goDeaf(for duration: Duration) {
        guard isListening else { return }
        isListening = false
        deafSince = world.schedule.elapsed
        world.history.count(.wentDeaf)
        world.history.note(id, "refuses connections for \(duration)")
        let incarnation = incarnation
        world.schedule.after(duration) { [self] in
            guard isAlive, state == .running, incarnation == self.incarnation else { return }
            listen()
        }
    }

    func exit(code: Int) {
        guard isAlive, state == .running else { return }
        world.history.note(id, "container exits with \(code)")
        state = .exited(ContainerExit(code: code))
        hangUpAll()
        world.engine.tell(id)
    }

    func die() {
        guard isAlive else { return }
        isAlive = false
        hangUpAll()
    }

    private func hangUpAll() {
        if isListening { deafSince = world.schedule.elapsed }
        isListening = false
        let present = links
        links = []
        for link in present { link.hangUp() }
        world.ledger.refusals[id] = world.schedule.elapsed
    }
}

/// The engine for one run of the platform.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class Door: Engine, ContainerTransport, @unchecked Sendable {
    let world: World
    let name = "simulated"
    var isDead = false
    /// Whether a replica may get requests at this instant.
    var isReady: (String) -> Bool = { _ in true }

    init(_ world: World) { self.world = world }

    private func enter(_ what: String) async throws {
        if !world.isCalm, world.dice.chance(0.3) { await world.pause(world.dice.seconds(0.001...1.5)) }
        guard !isDead else { throw PlatformError(.engineUnavailable, "The engine does not answer.") }
        if !world.isCalm, world.dice.chance(world.scenario.engineFails) {
            throw PlatformError(.engineUnavailable, "The engine does not answer: \(what).")
        }
    }

    func setUp() async throws {}
    func problems(with specification: APISpecification) async -> [String] { [] }
    func prepare(_ plan: PodPlan, progress: @escaping @Sendable (String) -> Void) async throws {}

    func start(_ plan: PodPlan) async throws {
        do {
            try await enter("start")
        } catch {
            world.history.count(.startFailed)
            throw error
        }
        world.engine.start(plan)
    }

    func restart(container: String, of pod: PodPlan) async throws {
        try await enter("restart")
        guard let pod = world.engine.pods[pod.id], pod.isAlive else {
            throw PlatformError(.containerFailed, "The pod is gone.")
        }
        world.history.note(pod.id, "container starts again")
        pod.boot()
    }

    func stop(container: String, of pod: String, grace: Duration) async throws {
        try await enter("stop container")
        world.engine.pods[pod]?.exit(code: 143)
    }

    func stop(pod: String, grace: Duration) async throws {
        try await enter("stop")
        world.engine.remove(pod)
    }

    func list() async throws -> [ObservedPod] {
        try await enter("list")
        return world.engine.order.map { pod in
            ObservedPod(
                id: pod.id, owner: pod.plan.owner, createdAt: pod.plan.createdAt, isAlive: pod.isAlive,
                containers: [ObservedContainer(name: "main", state: pod.state)])
        }
    }

    func exec(_ command: [String], container: String, pod: String, timeout: Duration) async throws -> ExecResult {
        ExecResult(exitCode: 0, output: "")
    }

    func logs(container: String, pod: String, follow: Bool, tail: Int?) async throws -> LogStream<[UInt8]> {
        LogStream { _ in }
    }

    func hints() -> AsyncStream<String> {
        let (stream, continuation) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1))
        world.engine.hints.append(continuation)
        return stream
    }

    // MARK: Connections

    func connector(pod: String) -> any Connector { PodConnector(door: self, pod: pod) }

    struct PodConnector: Connector {
        let door: Door
        let pod: String

        func connect(port: Int) async throws -> CInt { try await door.connect(to: pod) }
    }

    private func connect(to id: String) async throws -> CInt {
        if !world.isCalm {
            if world.dice.chance(world.scenario.connectHangs) {
                world.history.count(.hung)
                // A connector need not react to cancellation.
                await world.pause(world.dice.seconds(1...70))
            } else if world.dice.chance(0.1) {
                try await world.clock.sleep(for: world.dice.seconds(0.001...1))
            }
        }
        let isRefused = !world.isCalm && world.dice.chance(world.scenario.connectFails)
        guard !isDead, !isRefused, let pod = world.engine.pods[id], pod.isAlive, pod.isListening else {
            world.history.count(.refused)
            world.ledger.refusals[id] = world.schedule.elapsed
            throw PlatformError(.connectionFailed, "connection refused.")
        }
        return world.engine.connect(pod, door: self)
    }

    func channel(
        of descriptor: CInt, on loop: any EventLoop,
        initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        guard let link = world.engine.adopt(descriptor) else {
            return loop.makeFailedFuture(ChannelError.ioOnClosedChannel)
        }
        return link.open(initialize)
    }

    /// No bytes wait outside of the link.
    func isQuiet(_ descriptor: CInt) -> Bool { true }

    func acknowledgement(_ descriptor: CInt) -> Acknowledgement? {
        world.engine.links.last { $0.descriptor == descriptor }.map {
            Acknowledgement(bytes: $0.acknowledged, isRejected: $0.isHungUp)
        }
    }
}
