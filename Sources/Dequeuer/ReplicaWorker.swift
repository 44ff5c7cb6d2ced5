import ContainerHTTP
import Core
import Logging
import NIOCore
import Support

/// Pulls an API's requests into one replica (architecture decision 5): claims together with the API's other workers
/// (``ClaimGroup``), delivers, settles.
///
/// The actor and all its child tasks run on one event loop, where its connections live too.
actor ReplicaWorker {
    /// What all workers share.
    struct Shared: Sendable {
        let store: any RequestQueue
        let clock: any PlatformClock
        let chance: RandomSource
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
    let signal: WorkerSignal
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

    /// The workers that this one claims with, and its id among them.
    let place: (group: ClaimGroup, id: Int)
    private var isClaiming = false
    /// Whether the last delivery could not connect.
    private var isInTrouble = false
    /// Claimed, with a slot each, but not begun.
    private var arrived: [ClaimedRequest] = []
    var deliveries: [Lease: Delivery] = [:]
    var idle: [ContainerConnection] = []
    /// Outcomes that wait for the next step of the store.
    var endings: [(ending: Ending, continuation: CheckedContinuation<LeaseResult, any Error>)] = []
    var isFinishing = false
    private var extendAt: Instant?
    private var isExtending = false
    /// A hint says that a request inside has ended.
    private var isEndHinted = false
    private var timer: Task<Void, Never>?
    private var timerDue: Instant?

    init(_ replica: ReadyReplica, loop: any EventLoop, shared: Shared) {
        self.shared = shared
        self.executor = LoopExecutor(loop)
        self.replica = replica
        self.id = replica.id
        self.api = replica.api.name
        self.terminationGrace = replica.api.specification.pod.terminationGracePeriod
        let signal = WorkerSignal()
        self.signal = signal
        self.place = shared.hub.join(signal, replica, shared.configuration, now: shared.clock.instant())
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    // MARK: What others tell it

    /// The replica is ready, perhaps with another version of its API.
    ///
    /// - Returns: `false` when this worker has ended and another is needed.
    func offer(_ replica: ReadyReplica) -> Bool {
        guard !hasEnded else { return false }
        if replica.activity !== self.replica.activity { breakOff(when: replica.activity) }
        // The next look tells the group: what other workers claim for this replica must follow the new version too.
        if replica.api.id != self.replica.api.id { signal.fire(.state) }
        self.replica = replica
        if !isReady {
            isReady = true
            if !isStopping { place.group.open(place.id, now: shared.clock.instant()) }
            signal.fire(.state)
        }
        return true
    }

    /// The replica is not ready any more: it gets nothing new, what is inside goes on.
    func retire() {
        isReady = false
        place.group.close(place.id)
        signal.fire(.state)
    }

    /// Nothing new begins; the worker ends when all inside has.
    func stop() {
        isStopping = true
        place.group.close(place.id)
        signal.fire(.state)
    }

    /// Stops, breaks off what is inside and gives it back.
    func breakOff() {
        isBrokenOff = true
        stop()
        for delivery in deliveries.values { delivery.interrupt(.brokenOff) }
    }

    /// The store hints that a request ended while it was inside: it was cancelled (contract A7).
    ///
    /// A hint may be older than this delivery, when the request failed before and was retried by hand. So the store is
    /// asked at once which leases are lost.
    func requestEnded(_ id: RequestID) {
        guard deliveries.values.contains(where: { $0.request.id == id && $0.isInside }) else { return }
        isEndHinted = true
        signal.fire(.state)
    }

    private func cut(_ activity: any ReplicaActivity) {
        for delivery in deliveries.values where delivery.replica.activity === activity && delivery.isInside {
            delivery.interrupt(.brokenOff)
        }
    }

    private func breakOff(when activity: any ReplicaActivity) {
        activity.onCut { [weak self] in
            // The activity's caller waits for nothing: the connections close as soon as the loop gets to it.
            Task { await self?.cut(activity) }
        }
    }

    // MARK: The loop

    /// Works until it is stopped or retired, and nothing is inside.
    func run() async {
        breakOff(when: replica.activity)
        await withTaskExecutorPreference(executor) {
            await withDiscardingTaskGroup { group in
                await self.work(&group)
            }
        }
        shared.hub.release(place.group, api: api)
        timer?.cancel()
    }

    private func work(_ group: inout DiscardingTaskGroup) async {
        while true {
            let now = shared.clock.instant()
            let look = place.group.look(place.id, replica, isOpen: isOpen, now: now)
            for arrival in look.arrivals { arrived.append(accept(arrival)) }
            for request in arrived { group.addTask { await self.deliver(request) } }
            arrived = []
            if isExtensionDue(now) {
                isExtending = true
                isEndHinted = false
                group.addTask { await self.extendLeases() }
            }
            if let claim = look.claim {
                isClaiming = true
                group.addTask { await self.send(claim) }
            }
            if let next = look.next { wake(at: next) }
            if isStopping || !isReady, deliveries.isEmpty, !isClaiming, place.group.leave(place.id, now: now) {
                hasEnded = true
                for connection in idle { connection.close() }
                idle = []
                return
            }
            let news = await signal.next()
            if news.contains(.timer) { keepTime() }
        }
    }

    /// Whether the replica may get more requests.
    private var isOpen: Bool {
        let limit = replica.api.specification.pod.maxConcurrency + Self.unsettledLimit
        return isReady && !isStopping && deliveries.count < limit
    }

    /// Sends a claim, and delivers what of it is for this replica.
    private func send(_ claim: ClaimGroup.Claim) async {
        var claimed: [ClaimedRequest]?
        do {
            claimed = try await shared.store.claim(
                api: api, limit: claim.asked, visibility: shared.configuration.lease, holder: claim.holder,
                now: shared.clock.now())
            shared.outage.succeeded()
        } catch {
            shared.outage.failed("claim", error)
        }
        isClaiming = false
        let division = place.group.claimed(
            claim, by: place.id, claimed, now: shared.clock.instant(), chance: shared.chance.next())
        for (lease, replica) in division.handedOver {
            shared.logger.debug(
                "a request was claimed for another replica than the first",
                metadata: metadata(lease).merging(["replica": "\(replica)", "lease": "\(lease.token)"]) { $1 })
        }
        let own = division.own.map { accept($0) }
        arrived += own.dropFirst()
        signal.fire(.state)
        if let first = own.first { await deliver(first) }
    }

    /// Takes over a request that has a slot reserved.
    private func accept(_ arrival: ClaimGroup.Arrival) -> ClaimedRequest {
        let now = shared.clock.instant()
        let delivery = Delivery(arrival.request, replica: arrival.replica, now: now)
        if arrival.isReturned { delivery.interrupt(.brokenOff) }
        arrival.replica.activity.started(at: now)
        deliveries[delivery.lease] = delivery
        wake(at: delivery.deadline)
        if extendAt == nil { extendAt = now + shared.configuration.leaseExtension }
        if let extendAt { wake(at: extendAt) }
        return arrival.request
    }

    // MARK: What deliveries tell

    /// The container could not be connected to, or the store could not keep its answer.
    func noteTrouble() {
        isInTrouble = true
        place.group.failed(place.id, now: shared.clock.instant(), chance: shared.chance.next())
    }

    /// The container connected, whatever it answers.
    func noteReached() {
        guard isInTrouble else { return }
        isInTrouble = false
        place.group.reached(place.id)
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
        guard !isExtending, !deliveries.isEmpty else { return false }
        return isEndHinted || extendAt.map { $0 <= now } ?? false
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
