import ContainerHTTP
import Core
import Logging
import NIOCore
import Support

/// Brings the requests of an API into one replica (architecture decision 5): claims together with the API's other
/// workers (``ClaimGroup``), delivers (``Delivery``), settles.
///
/// The actor, its child tasks and its connections all run on one event loop.
actor ReplicaWorker {
    /// Outcomes beyond `max_concurrency` that may wait for the store. More would only fill the memory.
    private static let unsettledLimit = 64

    let shared: WorkerContext
    let executor: LoopExecutor
    nonisolated let id: String
    /// How long requests inside the replica may continue when the platform stops.
    nonisolated let terminationGrace: Duration
    /// The queue that it claims from: that of an API or of a job.
    private let queue: String
    private let rule: DeliveryRule
    private let signal: WorkerSignal
    /// The workers that this one claims with, and its id among them.
    private let place: (group: ClaimGroup, id: Int)

    private var replica: ReadyReplica
    /// Whether the replica may get requests.
    private var isReady = true
    /// Whether no delivery begins any more, even if the replica becomes ready again.
    private var isStopping = false
    /// Whether outcomes that the store does not take are given up.
    private var isCutOff = false
    private var hasEnded = false

    private var isClaiming = false
    /// Whether the last delivery failed without reaching the container, or its result could not be stored.
    private var isFailing = false
    /// Claimed, with a slot each, but not begun.
    private var arrived: [ClaimedRequest] = []
    private(set) var deliveries: [Lease: Delivery] = [:]
    private var idle: IdleConnections
    /// Outcomes that wait for the next step of the store.
    private var unsettled: [(delivery: (lease: Lease, outcome: Outcome), continuation: Continuation)] = []
    private var isFinishing = false
    private var extendAt: Instant?
    private var isExtending = false
    /// Whether a hint says that a request inside the replica has ended.
    private var isEndHinted = false
    private var timer: Task<Void, Never>?
    private var timerDue: Instant?

    private typealias Continuation = CheckedContinuation<LeaseResult, any Error>

    init(_ replica: ReadyReplica, loop: any EventLoop, shared: WorkerContext) {
        self.shared = shared
        self.executor = LoopExecutor(loop)
        self.replica = replica
        self.id = replica.id
        self.queue = replica.queue
        self.rule = DeliveryRule(replica)
        self.terminationGrace = replica.api.specification.pod.terminationGracePeriod
        self.idle = IdleConnections(lifetime: shared.configuration.idleConnection)
        let signal = WorkerSignal()
        self.signal = signal
        self.place = shared.hub.join(signal, replica, shared.configuration, now: shared.clock.instant())
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    // MARK: State of the replica

    /// The replica is ready, perhaps with another version of its API.
    ///
    /// - Returns: `false` when this worker has ended and another one is needed.
    func offer(_ replica: ReadyReplica) -> Bool {
        guard !hasEnded else { return false }
        if replica.activity !== self.replica.activity { followCuts(of: replica.activity) }
        // The next step passes the version on to the group: what other workers claim for this replica must follow it.
        if replica.api.id != self.replica.api.id { signal.fire(.state) }
        self.replica = replica
        if !isReady {
            isReady = true
            if !isStopping { place.group.open(place.id, now: shared.clock.instant()) }
            signal.fire(.state)
        }
        return true
    }

    /// The replica is not ready any more: no delivery begins, those inside continue.
    func retire() {
        isReady = false
        place.group.close(place.id)
        signal.fire(.state)
    }

    /// No delivery begins any more. The worker ends when all deliveries have.
    func stop() {
        isStopping = true
        place.group.close(place.id)
        signal.fire(.state)
    }

    /// Stops, cancels requests in flight, and releases their leases.
    func cutOff() {
        isCutOff = true
        stop()
        for delivery in deliveries.values { delivery.interrupt(.cutOff) }
    }

    /// The store hints that a request ended while it was inside: it was cancelled (contract A7).
    ///
    /// The hint may be older than this delivery, if the request failed before and was retried by hand. So the store is
    /// asked at once which leases are lost.
    func requestEnded(_ id: RequestID) {
        guard deliveries.values.contains(where: { $0.request.id == id && $0.isInside }) else { return }
        isEndHinted = true
        signal.fire(.state)
    }

    private func followCuts(of activity: any ReplicaActivity) {
        activity.onCut { [weak self] in
            // The caller does not wait: the connections are closed as soon as the event loop runs this.
            Task { await self?.cutOffRequests(of: activity) }
        }
    }

    private func cutOffRequests(of activity: any ReplicaActivity) {
        for delivery in deliveries.values where delivery.replica.activity === activity && delivery.isInside {
            delivery.interrupt(.cutOff)
        }
    }

    /// Whether a delivery may still be sent: since its claim the replica may have become unready (contract C7), or the
    /// platform may be stopping (C13).
    func mayBegin(_ delivery: Delivery) -> Bool {
        isReady && !isStopping && !delivery.replica.activity.isCut
    }

    // MARK: The loop

    /// Works until it is stopped or retired and no delivery is left.
    func run() async {
        followCuts(of: replica.activity)
        await withTaskExecutorPreference(executor) {
            await withDiscardingTaskGroup { group in
                await self.work(&group)
            }
        }
        shared.hub.release(place.group, queue: queue)
        timer?.cancel()
    }

    private func work(_ group: inout DiscardingTaskGroup) async {
        while true {
            let now = shared.clock.instant()
            let step = place.group.step(place.id, replica, isOpen: isOpen, now: now)
            for arrival in step.arrivals { arrived.append(accept(arrival)) }
            for request in arrived { group.addTask { await self.deliver(request) } }
            arrived = []
            if isExtensionDue(now) {
                isExtending = true
                isEndHinted = false
                group.addTask { await self.extendLeases() }
            }
            if let claim = step.claim {
                isClaiming = true
                group.addTask { await self.send(claim) }
            }
            if let next = step.next { wake(at: next) }
            if isStopping || !isReady, deliveries.isEmpty, !isClaiming, place.group.leave(place.id, now: now) {
                hasEnded = true
                idle.closeAll()
                return
            }
            let news = await signal.next()
            if news.contains(.timer) { checkDeadlines() }
        }
    }

    /// Whether the replica may get more requests.
    private var isOpen: Bool {
        let limit = replica.maxConcurrency + Self.unsettledLimit
        return isReady && !isStopping && deliveries.count < limit
    }

    // MARK: Claim

    /// Sends a claim, and delivers those of its requests that are for this replica.
    private func send(_ claim: ClaimGroup.Claim) async {
        var claimed: [ClaimedRequest]?
        do {
            claimed = try await shared.store.claim(
                api: queue, limit: claim.asked, visibility: shared.configuration.lease,
                holder: LeaseHolder(process: shared.configuration.process, replica: claim.holder),
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
        let delivery = Delivery(arrival.request, replica: arrival.replica, rule: rule, now: now)
        if arrival.isReturned { delivery.interrupt(.cutOff) }
        arrival.replica.activity.started(at: now)
        deliveries[delivery.lease] = delivery
        wake(at: delivery.deadline)
        if extendAt == nil { extendAt = now + shared.configuration.leaseExtension }
        if let extendAt { wake(at: extendAt) }
        return arrival.request
    }

    // MARK: Deliver

    /// Delivers one claimed request, whose slot is counted already, and settles it.
    private func deliver(_ request: ClaimedRequest) async {
        guard let delivery = deliveries[request.lease] else { return }
        shared.hub.entered(request.id, self)
        let end = await delivery.exchange(by: self)
        if case .lost = end { await delivery.waitForLossReason(clock: shared.clock) }
        let outcome = delivery.outcome(of: end, clock: shared.clock, chance: shared.chance)
        note(outcome, of: end, delivery)
        shared.hub.left(request.id)
        delivery.leave()
        place.group.left(place.id)
        delivery.replica.activity.end(startedAt: delivery.startedAt)
        signal.fire(.state)
        await settle(delivery, end, outcome)
        deliveries[request.lease] = nil
        signal.fire(.state)
    }

    /// Logs what the operator of the platform should know of a delivery, and passes on when the replica and its request
    /// may be tried again.
    private func note(_ outcome: Outcome?, of end: ExchangeEnd, _ delivery: Delivery) {
        switch end {
        case .completed, .replied, .acknowledged, .invalidAnswer, .lost, .interrupted, .notBegun: break
        case .unreachable:
            if outcome?.failure?.kind == .containerUnreachable { holdReplica() }
        case .notStored(let error):
            shared.logger.warning(
                "the container's answer could not be stored; the request returns to the queue",
                metadata: metadata(delivery.lease).merging(["error": "\(error)"]) { $1 })
            holdReplica()
        case .payloadUnreadable where outcome != nil:
            shared.logger.error("a payload is missing in the store", metadata: metadata(delivery.lease))
        case .payloadUnreadable(let error):
            shared.outage.failed("read payload", error)
            holdReplica()
        }
        guard let failure = outcome?.failure else { return }
        shared.logger.debug(
            "a delivery failed", metadata: metadata(delivery.lease).merging(["kind": "\(failure.kind.rawValue)"]) { $1 }
        )
        if let moment = outcome?.retryTime {
            place.group.retry(after: moment - shared.clock.now(), now: shared.clock.instant())
        }
    }

    // MARK: The container

    /// The connection used last, if it is still usable.
    func takeIdleConnection() -> ContainerConnection? {
        idle.take(now: shared.clock.instant())
    }

    /// Keeps a connection for the next delivery, unless there are enough.
    func keep(_ connection: ContainerConnection) {
        guard isReady, !isStopping, idle.count < replica.maxConcurrency else {
            connection.close()
            return
        }
        wake(at: idle.add(connection, now: shared.clock.instant()))
    }

    /// The container accepted a connection, whatever it answers.
    func noteReached() {
        guard isFailing else { return }
        isFailing = false
        place.group.reached(place.id)
    }

    /// The container did not accept a connection, or the store failed: the replica gets no request for a while.
    private func holdReplica() {
        isFailing = true
        place.group.failed(place.id, now: shared.clock.instant(), chance: shared.chance.next())
    }

    // MARK: Settle

    /// Records an outcome, or releases the lease. Repeats until the store has answered: an outcome is never dropped
    /// silently.
    private func settle(_ delivery: Delivery, _ end: ExchangeEnd, _ outcome: Outcome?) async {
        // The request has ended or was claimed again: there is no lease to release.
        if case .interrupted(.leaseLost) = end { return }
        var failures = 0
        while true {
            do {
                if let outcome {
                    let result = try await finish(delivery.lease, outcome)
                    let writers = end.writers
                    if result == .stale, !writers.isEmpty,
                        await !isRecorded(outcome, of: delivery, failures: failures)
                    {
                        for writer in writers { await writer.discard() }
                    }
                } else {
                    try await withoutCancellation { [shared, lease = delivery.lease] in
                        try await shared.store.release([lease], now: shared.clock.now())
                    }
                }
                shared.outage.succeeded()
                return
            } catch {
                failures += 1
                shared.outage.failed("finish", error)
                guard !isCutOff else {
                    shared.logger.error(
                        "shut down before the store recorded an outcome; the request will be delivered again",
                        metadata: metadata(delivery.lease).merging(["error": "\(error)"]) { $1 })
                    return
                }
                await delivery.pause(
                    for: Backoff.store.delay(failures: failures, chance: shared.chance.next()), clock: shared.clock)
            }
        }
    }

    /// Whether an outcome whose lease is stale was recorded by an earlier try that seemed to fail. Then its body
    /// belongs to the record.
    private func isRecorded(_ outcome: Outcome, of delivery: Delivery, failures: Int) async -> Bool {
        guard failures > 0 else { return false }
        // The bodies of a batch may be recorded; the next start erases those that are not.
        guard case .completed(let body) = outcome else { return true }
        do {
            let record = try await shared.store.read(delivery.lease.id, api: queue, now: shared.clock.now())
            return record?.result == body
        } catch {
            // Unknown. The next start erases a file that no request names; a file that is missing would be a lost
            // result.
            return true
        }
    }

    /// Finishes a delivery together with the others of this replica that end while the store is busy: one call and one
    /// change of threads for all of them.
    private func finish(_ lease: Lease, _ outcome: Outcome) async throws -> LeaseResult {
        try await withCheckedThrowingContinuation { continuation in
            unsettled.append(((lease, outcome), continuation))
            guard !isFinishing else { return }
            isFinishing = true
            // A task of its own: no delivery waits for the outcomes of others, and cancellation, which stores may
            // follow, does not lose an outcome.
            Task { await self.finishUnsettled() }
        }
    }

    private func finishUnsettled() async {
        while !unsettled.isEmpty {
            let batch = unsettled
            unsettled = []
            let results = await shared.store.finish(batch.map(\.delivery), now: shared.clock.now())
            for (waiting, result) in zip(batch, results) { waiting.continuation.resume(with: result) }
        }
        isFinishing = false
    }

    // MARK: Time

    /// Wakes the loop at `moment`. The earliest moment counts; the loop asks for later ones again.
    private func wake(at moment: Instant) {
        if let timerDue, timerDue <= moment { return }
        timer?.cancel()
        timerDue = moment
        let clock = shared.clock
        let signal = signal
        // A task of its own, because it is replaced by an earlier moment.
        timer = Task {
            let wait = moment - clock.instant()
            if wait > .zero, (try? await clock.sleep(for: wait)) == nil { return }
            signal.fire(.timer)
        }
    }

    private func checkDeadlines() {
        timerDue = nil
        let now = shared.clock.instant()
        for delivery in deliveries.values where delivery.isInside {
            if delivery.deadline <= now { delivery.interrupt(.timedOut) } else { wake(at: delivery.deadline) }
        }
        if let next = idle.closeExpired(now: now) { wake(at: next) }
        if deliveries.isEmpty { extendAt = nil }
        if let extendAt, extendAt > now { wake(at: extendAt) }
    }

    private func isExtensionDue(_ now: Instant) -> Bool {
        guard !isExtending, !deliveries.isEmpty else { return false }
        return isEndHinted || extendAt.map { $0 <= now } ?? false
    }

    /// Extends every lease of this replica in one step (contract A10).
    private func extendLeases() async {
        let now = shared.clock.instant()
        var next = now + shared.configuration.leaseExtension
        do {
            let lost = try await shared.store.extend(
                Array(deliveries.keys), visibility: shared.configuration.lease, now: shared.clock.now())
            shared.outage.succeeded()
            for lease in lost where deliveries[lease]?.isInside == true {
                shared.logger.debug(
                    "the request ended or was claimed again; its delivery is cancelled", metadata: metadata(lease))
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

    private func metadata(_ lease: Lease) -> Logger.Metadata {
        ["api": "\(queue)", "replica": "\(id)", "request": "\(lease.id)"]
    }
}

extension Outcome {
    /// Why the attempt failed; `nil` when it did not.
    fileprivate var failure: RequestFailure? {
        switch self {
        case .failed(let failure), .retry(let failure, _): failure
        case .completed, .interrupted: nil
        case .completion(.failed(let failure)): failure
        case .completion: nil
        case .batch(let outcome):
            switch (outcome.next, outcome.lines.last?.verdict) {
            case (.retry(let failure, _), _), (.ended, .failed(let failure)): failure
            case (.ended, _): nil
            }
        }
    }

    /// When another delivery may begin; `nil` when none follows, or at once.
    fileprivate var retryTime: Timestamp? {
        switch self {
        case .retry(_, let moment): moment
        case .batch(let outcome):
            if case .retry(_, let moment) = outcome.next { moment } else { nil }
        case .completed, .failed, .interrupted, .completion: nil
        }
    }
}

/// Runs the last write of a delivery to its end even when the task is cancelled: stores may follow cancellation, and
/// an outcome must not be lost to it.
private func withoutCancellation<Result: Sendable>(
    isolation: isolated (any Actor)? = #isolation, _ operation: @escaping @Sendable () async throws -> Result
) async throws -> Result {
    guard Task.isCancelled else { return try await operation() }
    return try await Task { try await operation() }.value
}
