import Core
import Logging
import NIOCore

/// Pulls an API's requests into one replica (architecture decision 5): claims what fits, delivers, settles.
///
/// The actor and all its child tasks run on one event loop, where its connections live too.
actor ReplicaWorker {
    /// What all workers share.
    struct Shared: Sendable {
        let store: any Store
        let clock: any PlatformClock
        let chance: Chance
        let logger: Logger
        let configuration: DequeuerConfiguration
        let hub: ChangeHub
        let transport: any ContainerTransport
        let outage: OutageLog
    }

    /// Outcomes that wait for the store, beyond `max_concurrency`; more would only fill the memory.
    static let unsettledLimit = 64

    let shared: Shared
    let executor: LoopExecutor
    let signal = WorkerSignal()
    let id: String
    let api: String
    /// How long requests inside may continue when the platform stops.
    nonisolated let terminationGrace: Duration

    var replica: ReadyReplica
    /// Whether the replica may get requests now.
    var isReady = true
    /// Whether nothing new begins any more, whatever becomes of the replica.
    var isStopping = false
    /// Whether outcomes that the store does not take are given up.
    var isBrokenOff = false
    private var hasEnded = false

    var machine: DispatchMachine
    /// Claimed, with a slot each, but not begun.
    private var arrived: [ClaimedRequest] = []
    var deliveries: [Lease: Delivery] = [:]
    var idle: [ContainerConnection] = []
    /// Outcomes that wait for the next step of the store.
    var endings: [(ending: Ending, continuation: CheckedContinuation<LeaseResult, any Error>)] = []
    var isFinishing = false
    private var extendAt: Instant?
    private var isExtending = false
    private var timer: Task<Void, Never>?
    private var timerDue: Instant?

    init(_ replica: ReadyReplica, loop: any EventLoop, shared: Shared) {
        self.shared = shared
        self.executor = LoopExecutor(loop)
        self.replica = replica
        self.id = replica.id
        self.api = replica.api.name
        self.terminationGrace = replica.api.specification.pod.terminationGracePeriod
        self.machine = DispatchMachine(
            pollMin: shared.configuration.pollMin, pollMax: shared.configuration.pollMax, now: shared.clock.instant())
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    // MARK: What others tell it

    /// The replica is ready, perhaps with another version of its API.
    ///
    /// - Returns: `false` when this worker has ended and another is needed.
    func offer(_ replica: ReadyReplica) -> Bool {
        guard !hasEnded else { return false }
        if replica.activity !== self.replica.activity { breakOff(when: replica.activity) }
        self.replica = replica
        if !isReady {
            isReady = true
            signal.fire(.hint)
        }
        return true
    }

    /// The replica is not ready any more: it gets nothing new, what is inside goes on.
    func retire() {
        isReady = false
        signal.fire(.state)
    }

    /// Nothing new begins; the worker ends when all inside has.
    func stop() {
        isStopping = true
        signal.fire(.state)
    }

    /// Stops, breaks off what is inside and gives it back.
    func breakOff() {
        isBrokenOff = true
        stop()
        for delivery in deliveries.values { delivery.interrupt(.brokenOff) }
    }

    /// A request ended while it was inside: it was cancelled (contract A7).
    func requestEnded(_ id: RequestID) {
        for delivery in deliveries.values where delivery.request.id == id && delivery.isInside {
            delivery.interrupt(.leaseLost)
        }
    }

    private func cut(_ activity: ReplicaActivity) {
        for delivery in deliveries.values where delivery.replica.activity === activity && delivery.isInside {
            delivery.interrupt(.brokenOff)
        }
    }

    private func breakOff(when activity: ReplicaActivity) {
        activity.onCut { [weak self] in
            // The activity's caller waits for nothing: the connections close as soon as the loop gets to it.
            Task { await self?.cut(activity) }
        }
    }

    // MARK: The loop

    /// Works until it is stopped or retired, and nothing is inside.
    func run() async {
        breakOff(when: replica.activity)
        shared.hub.add(signal, api: api)
        await withTaskExecutorPreference(executor) {
            await withDiscardingTaskGroup { group in
                await self.work(&group)
            }
        }
        shared.hub.remove(signal, api: api)
        timer?.cancel()
    }

    private func work(_ group: inout DiscardingTaskGroup) async {
        while true {
            for request in arrived { group.addTask { await self.deliver(request) } }
            arrived = []
            let now = shared.clock.instant()
            if isExtensionDue(now) {
                isExtending = true
                group.addTask { await self.extendLeases() }
            }
            if let asked = slots(now) {
                let replica = replica
                group.addTask { await self.claim(asked, for: replica) }
            }
            if isStopping || !isReady, deliveries.isEmpty, !machine.isClaiming {
                hasEnded = true
                for connection in idle { connection.close() }
                idle = []
                return
            }
            let news = await signal.next()
            if news.contains(.hint) { tell(.hint) }
            if news.contains(.timer) { keepTime() }
        }
    }

    /// Slots to claim for, already counted in; `nil` when there is nothing to claim now.
    private func slots(_ now: Instant) -> Int? {
        let limit = replica.api.specification.pod.maxConcurrency
        guard isReady, !isStopping, deliveries.count < limit + Self.unsettledLimit else { return nil }
        guard machine.wantsClaim(now: now) else {
            if let look = machine.nextLook { wake(at: look) }
            return nil
        }
        let granted = replica.activity.begin(upTo: limit, maxConcurrency: limit)
        guard granted > 0 else { return nil }
        tell(.claiming)
        return granted
    }

    private func claim(_ asked: Int, for replica: ReadyReplica) async {
        var claimed: [ClaimedRequest] = []
        do {
            claimed = try await shared.store.claim(
                api: api, limit: asked, visibility: shared.configuration.lease, holder: id, now: shared.clock.now())
            shared.outage.succeeded()
            tell(.claimed(asked: asked, got: claimed.count))
        } catch {
            shared.outage.failed("claim", error)
            tell(.claimFailed)
        }
        if claimed.count < asked { replica.activity.end(asked - claimed.count) }
        for request in claimed {
            let now = shared.clock.instant()
            let delivery = Delivery(request, replica: replica, now: now)
            replica.activity.started(at: now)
            deliveries[request.lease] = delivery
            wake(at: delivery.deadline)
        }
        if let first = claimed.first {
            if extendAt == nil { extendAt = shared.clock.instant() + shared.configuration.leaseExtension }
            if let extendAt { wake(at: extendAt) }
            arrived += claimed.dropFirst()
            signal.fire(.state)
            await deliver(first)
        } else {
            signal.fire(.state)
        }
    }

    func tell(_ event: DispatchMachine.Event) {
        machine.handle(event, now: shared.clock.instant(), chance: shared.chance.next())
    }

    // MARK: Time

    /// Asks for a look at the clock at `moment`; earlier ones win, later ones are asked for again then.
    func wake(at moment: Instant) {
        if let timerDue, timerDue <= moment { return }
        timer?.cancel()
        timerDue = moment
        let clock = shared.clock
        let signal = signal
        // A task of its own, because it is replaced whenever something earlier comes up.
        timer = Task {
            let wait = moment - clock.instant()
            if wait > .zero, (try? await clock.sleep(for: wait)) == nil { return }
            signal.fire(.timer)
        }
    }

    private func keepTime() {
        timerDue = nil
        let now = shared.clock.instant()
        for delivery in deliveries.values where delivery.isInside {
            if delivery.deadline <= now { delivery.interrupt(.timedOut) } else { wake(at: delivery.deadline) }
        }
        let oldest = now - shared.configuration.idleConnection
        idle.removeAll { connection in
            guard connection.idleSince <= oldest || !connection.isUsable else { return false }
            connection.close()
            return true
        }
        if let first = idle.first { wake(at: first.idleSince + shared.configuration.idleConnection) }
        if deliveries.isEmpty { extendAt = nil }
        if let extendAt, extendAt > now { wake(at: extendAt) }
    }

    private func isExtensionDue(_ now: Instant) -> Bool {
        guard let extendAt, !isExtending, !deliveries.isEmpty else { return false }
        return extendAt <= now
    }

    /// Keeps every lease of this replica for another while, in one step (contract A10).
    private func extendLeases() async {
        let now = shared.clock.instant()
        var next = now + shared.configuration.leaseExtension
        do {
            let lost = try await shared.store.extend(
                Array(deliveries.keys), visibility: shared.configuration.lease, now: shared.clock.now())
            shared.outage.succeeded()
            for lease in lost where deliveries[lease]?.isInside == true {
                shared.logger.debug(
                    "the request ended or was delivered again elsewhere; breaking off", metadata: metadata(lease))
                deliveries[lease]?.interrupt(.leaseLost)
            }
        } catch {
            shared.outage.failed("extend", error)
            next = now + min(.seconds(1), shared.configuration.leaseExtension)
        }
        isExtending = false
        extendAt = deliveries.isEmpty ? nil : next
        if !deliveries.isEmpty { wake(at: next) }
        signal.fire(.state)
    }

    func metadata(_ lease: Lease) -> Logger.Metadata {
        ["api": "\(api)", "replica": "\(id)", "request": "\(lease.id)"]
    }
}
