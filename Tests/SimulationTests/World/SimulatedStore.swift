import Core

@testable import StoreMemory

/// The store for one run of the platform: slow, failing before or after the effect, with lost hints. It ends with its
/// platform.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class SimulatedStore: Store, @unchecked Sendable {
    let name = "simulated"
    private let world: World
    private let run: String
    /// The process has ended: its further operations have no effect.
    var isDead = false
    /// The replicas for which this run may claim; `nil`: all.
    var mayClaim: (String) -> Bool = { _ in true }

    init(_ world: World, run: String) {
        self.world = world
        self.run = run
    }

    private static let away = PlatformError(.storeUnavailable, "The store does not answer.")

    func perform<Result: Sendable>(
        _ what: @autoclosure () -> String, isFaulty: Bool = true,
        _ turn: @Sendable (isolated MemoryStore) async throws -> Result
    ) async throws -> Result {
        guard !isDead else { throw Self.away }
        let scenario = world.scenario
        let hasFaults = isFaulty && !world.isCalm
        if hasFaults, world.dice.chance(scenario.storeIsSlow) {
            try await world.clock.sleep(for: world.dice.seconds(0.001...2))
        }
        guard !isDead else { throw Self.away }
        if hasFaults, world.isStoreOut || world.dice.chance(scenario.storeFails) {
            world.history.count(.storeFailedBefore)
            world.history.note(run, "\(what()): the store fails without effect")
            throw Self.away
        }
        let result = try await world.memory.turn(turn)
        if hasFaults, world.dice.chance(scenario.storeIsSlow) {
            await world.pause(world.dice.seconds(0.001...2))
        }
        guard !isDead else { throw Self.away }
        if hasFaults, world.dice.chance(scenario.storeFailsAfterwards) {
            world.history.count(.storeFailedAfter)
            world.history.note(run, "\(what()): the store reports a failure after the effect")
            throw Self.away
        }
        return result
    }

    // MARK: Requests

    func submit(_ submission: Submission, maxQueueLength: Int?, now: Timestamp) async throws -> SubmitResult {
        try await perform("submit") { [world] store in
            let result = try await store.submit(submission, maxQueueLength: maxQueueLength, now: now)
            world.ledger.submitted(submission.id, result, store, deadline: submission.queueDeadline)
            world.history.note("store", "submit \(world.ledger.name(submission.id)): \(result)")
            return result
        }
    }

    func claim(api: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp) async throws
        -> [ClaimedRequest]
    {
        world.ledger.expect(
            mayClaim(holder.replica), "C7", "\(holder.replica) asks for requests although it is not ready")
        return try await perform("claim") { [world] store in
            let claims = try await store.claim(
                api: api, limit: limit, visibility: visibility, holder: holder, now: now)
            world.ledger.claimed(claims, holder: holder.replica, limit: limit, visibility: visibility, now: now, store)
            for claim in claims {
                world.history.note(
                    "store", "\(holder.replica) has \(world.ledger.name(claim.id)), lease \(claim.lease.token)")
            }
            return claims
        }
    }

    func extend(_ leases: [Lease], visibility: Duration, now: Timestamp) async throws -> [Lease] {
        try await perform("extend") { [world] store in
            let lost = try await store.extend(leases, visibility: visibility, now: now)
            world.ledger.extended(leases, lost: lost, visibility: visibility, now: now)
            return lost
        }
    }

    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        try await perform("finish \(world.ledger.name(lease.id))") { [world] store in
            let result = try await store.finish(lease, outcome: outcome, now: now)
            world.history.note(
                "store",
                "finish \(world.ledger.name(lease.id)), lease \(lease.token), \(outcome.inWords): \(result)")
            world.ledger.finished(lease, outcome, result, now: now, store)
            return result
        }
    }

    func release(_ leases: [Lease], now: Timestamp) async throws {
        try await perform("release") { [world] store in
            try await store.release(leases, now: now)
            world.ledger.released(leases, now: now, store)
        }
    }

    func releaseLeases(heldBy process: String, now: Timestamp) async throws -> Int {
        try await perform("release of \(process)") { try await $0.releaseLeases(heldBy: process, now: now) }
    }

    func beat(process: String, now: Timestamp) async throws -> Int {
        try await perform("heartbeat") { [world] store in
            let isFirst = store.heartbeats[process] == nil
            let count = try await store.beat(process: process, now: now)
            if isFirst { world.ledger.returnedAtStart(now: now, store) }
            return count
        }
    }

    func cancel(_ id: RequestID, api: String, now: Timestamp) async throws -> (
        record: RequestRecord, wasCancelled: Bool
    )? {
        try await perform("cancel \(world.ledger.name(id))") { [world] store in
            let result = try await store.cancel(id, api: api, now: now)
            world.ledger.cancelled(id, wasCancelled: result?.wasCancelled, now: now, store)
            return result
        }
    }

    func retry(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await perform("retry \(world.ledger.name(id))") { [world] store in
            let record = try await store.retry(id, api: api, now: now)
            if record != nil { world.ledger.retriedByHand(id, now: now, store) }
            return record
        }
    }

    func read(_ id: RequestID, api: String, now: Timestamp) async throws -> RequestRecord? {
        try await perform("read \(world.ledger.name(id))") { [world] store in
            let record = try await store.read(id, api: api, now: now)
            world.ledger.read(id, record, now: now)
            return record
        }
    }

    func maintain(now: Timestamp) async throws -> Upkeep {
        try await perform("upkeep") { [world] store in
            let upkeep = try await store.maintain(now: now)
            world.ledger.upkeep(now: now, store)
            return upkeep
        }
    }

    func list(api: String, filter: RequestFilter, now: Timestamp) async throws -> [RequestRecord] {
        try await perform("list") { try await $0.list(api: api, filter: filter, now: now) }
    }

    func counts() async throws -> [String: QueueCounts] { try await perform("counts") { try await $0.counts() } }

    // MARK: APIs and bodies

    func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool {
        try await perform("deploy", isFaulty: false) { try await $0.deploy(api, expecting: expecting, now: now) }
    }

    func deployedAPIs() async throws -> [DeployedAPI] { try await perform("APIs") { try await $0.deployedAPIs() } }

    func versions(of api: String) async throws -> [DeployedAPI] {
        try await perform("versions") { try await $0.versions(of: api) }
    }

    func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        try await perform("delete") { try await $0.delete(api: api, keepRequests: keepRequests, now: now) }
    }

    func requestedReplicas(of api: String) async throws -> Int? {
        try await perform("replicas") { try await $0.requestedReplicas(of: api) }
    }

    func replaceRequestedReplicas(_ count: Int, of api: String, version: String, expecting current: Int) async throws
        -> Bool
    {
        try await perform("save replicas") {
            try await $0.replaceRequestedReplicas(count, of: api, version: version, expecting: current)
        }
    }

    func splitState(of splitter: String) async throws -> SplitState? {
        try await perform("split state") { try await $0.splitState(of: splitter) }
    }

    func saveSplitState(_ state: SplitState, of splitter: String, version: String) async throws -> Bool {
        try await perform("save split state") {
            try await $0.saveSplitState(state, of: splitter, version: version)
        }
    }

    func makeBodyWriter() async throws -> any BodyWriter {
        try await perform("write body") { try await $0.makeBodyWriter() }
    }

    func reader(of body: Body) async throws -> any BodyReader {
        try await perform("read body") { try await $0.reader(of: body) }
    }

    // MARK: Hints

    func changes(_ kinds: StoreChanges.Kinds) -> AsyncStream<StoreChanges> {
        let source = Source(world.memory.changes(kinds))
        return AsyncStream { [world, self] in
            while let change = await source.next() {
                guard !isDead else { return nil }
                guard !world.isCalm else { return change }
                if world.dice.chance(world.scenario.hintsLost) {
                    world.history.count(.hintLost)
                    continue
                }
                if world.dice.chance(world.scenario.hintsLate) {
                    world.history.count(.hintLate)
                    guard (try? await world.clock.sleep(for: world.dice.seconds(0.01...3))) != nil else { return nil }
                }
                return change
            }
            return nil
        }
    }

    /// One reader's position in the store's stream. `@unchecked Sendable`: confined to its world's thread.
    private final class Source: @unchecked Sendable {
        private var iterator: AsyncStream<StoreChanges>.Iterator

        init(_ stream: AsyncStream<StoreChanges>) { iterator = stream.makeAsyncIterator() }

        func next() async -> StoreChanges? { await iterator.next() }
    }
}

extension MemoryStore {
    /// Runs an operation and records its effects in one step.
    func turn<Result: Sendable>(_ body: @Sendable (isolated MemoryStore) async throws -> Result) async rethrows
        -> Result
    {
        try await body(self)
    }
}

extension Outcome {
    fileprivate var inWords: String {
        switch self {
        case .completed: "completed"
        case .failed(let failure): "failed with \(failure.kind.rawValue)"
        case .retry(let failure, _): "to be retried after \(failure.kind.rawValue)"
        case .interrupted: "cut off by the platform"
        case .batch: "a batch ended"
        case .completion: "a call after the last batch ended"
        }
    }
}
