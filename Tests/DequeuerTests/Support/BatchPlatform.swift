import Core
import Dequeuer
import Logging
import ServiceLifecycle
import StoreMemory
import Support
import Synchronization
import TestSupport
import Testing

/// A memory store whose only queue is that of a batch job. It records lines as ``JobStore`` says.
final class BatchStore: WrappedStore {
    struct State {
        var places: [RequestID: BatchPlace] = [:]
        var bodies: [RequestID: Body] = [:]
        var lines: [ResultLine] = []
        var outcomes: [BatchOutcome] = []
        /// What followed the call after the last batch, retries included.
        var completions: [Outcome] = []
        /// Finishes that are recorded and then seem to fail.
        var lostAnswers = 0
        /// Whether every lease is stale.
        var isStale = false
        var openWriters = 0
    }

    let base = MemoryStore()
    let state = Mutex(State())

    func claim(api: String, limit: Int, visibility: Duration, holder: LeaseHolder, now: Timestamp) async throws
        -> [ClaimedRequest]
    {
        let claimed = try await base.claim(api: api, limit: limit, visibility: visibility, holder: holder, now: now)
        return state.withLock { state in
            claimed.map { request in
                var request = request
                request.batch = state.places[request.id]
                request.payload = state.bodies[request.id] ?? request.payload
                return request
            }
        }
    }

    func finish(_ lease: Lease, outcome: Outcome, now: Timestamp) async throws -> LeaseResult {
        if state.withLock({ $0.isStale }) { return .stale }
        let translated: Outcome =
            switch outcome {
            case .batch(let batch):
                if case .retry(let failure, let moment) = batch.next {
                    .retry(failure, notBefore: moment)
                } else {
                    .completed(.empty)
                }
            case .completion: .completed(.empty)
            default: outcome
            }
        let result = try await base.finish(lease, outcome: translated, now: now)
        guard result == .applied else { return result }
        let isAnswered = state.withLock { state -> Bool in
            if state.places[lease.id]?.isCompletion == true {
                state.completions.append(outcome)
            } else if case .batch(let batch) = outcome {
                state.outcomes.append(batch)
                state.lines += batch.lines
                if let remainder = batch.remainder {
                    state.places[lease.id]?.items = remainder.items
                    state.bodies[lease.id] = remainder.body
                }
            }
            defer { state.lostAnswers = max(0, state.lostAnswers - 1) }
            return state.lostAnswers == 0
        }
        guard isAnswered else { throw PlatformError(.storeUnavailable, "The answer of the store was lost.") }
        return result
    }

    func makeBodyWriter() async throws -> any BodyWriter {
        state.withLock { $0.openWriters += 1 }
        return CountedWriter(base: try await base.makeBodyWriter(), store: self)
    }

    private final class CountedWriter: BodyWriter {
        let base: any BodyWriter
        let store: BatchStore

        init(base: any BodyWriter, store: BatchStore) {
            self.base = base
            self.store = store
        }

        func write(_ bytes: [UInt8]) async throws { try await base.write(bytes) }
        func finish() async throws -> Body { try await base.finish() }
        func discard() async {
            store.state.withLock { $0.openWriters -= 1 }
            await base.discard()
        }
    }
}

/// A dequeuer that runs between a store and one worker of a batch job.
final class BatchPlatform: Sendable {
    static let job = RequestID(now: Timestamp(seconds: 1_000_000), random: 7)
    static let queue = Job.queue(of: job)

    let store = BatchStore()
    let clock = SystemClock()

    /// - Parameter handler: serves the connections into the worker.
    static func with(
        maxResult: Int64 = Limits.maxResult, timeout: Duration = .seconds(60),
        retries: RetryPolicy = RetryPolicy(backoff: .milliseconds(1)),
        container handler: @escaping @Sendable (inout ContainerServer.Connection) async throws -> Void,
        _ body: (BatchPlatform) async throws -> Void
    ) async throws {
        try await ContainerServer.with(handler) { server in
            let platform = BatchPlatform()
            let now = platform.clock.now()
            let specification = APISpecification(
                name: "sum", networking: .init(endpoint: "/sum"),
                kind: .batch(
                    BatchSpecification(
                        pod: PodSpecification(port: 8080, containers: []), jobs: JobPolicy(maxResult: maxResult),
                        timeout: timeout, retries: retries)))
            func deployed(_ specification: APISpecification) -> DeployedAPI {
                DeployedAPI(
                    specification: specification, id: "1", specID: "1", podID: "1", deploymentID: "1",
                    initialDeployment: now, lastUpdated: now)
            }
            var hidden = specification
            hidden.name = queue
            try await platform.store.deploy(deployed(hidden), now: now)
            let (stream, ready) = AsyncStream.makeStream(of: [ReadyReplica].self)
            let dequeuer = Dequeuer(
                store: platform.store, readyReplicas: { stream }, clock: platform.clock,
                random: SeededGenerator(seed: 42), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
                configuration: .init(
                    pollMin: .milliseconds(20), pollMax: .milliseconds(50), idleConnection: .seconds(60)))
            let group = ServiceGroup(
                services: [dequeuer], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let task = Task { try await group.run() }
            let version = PodOwner.Version(name: "sum", apiID: "1", podID: "1", deploymentID: "1")
            ready.yield([
                ReadyReplica(
                    id: "worker-0", api: deployed(specification),
                    worker: .init(set: queue, jobID: job.description, version: version, index: 0),
                    connector: LoopbackConnector(port: server.port), activity: LocalReplicaActivity())
            ])
            let result = await Result { try await body(platform) }
            task.cancel()
            _ = await task.result
            try result.get()
        }
    }

    /// Adds a batch of the items from `first` on.
    func add(_ items: [String], from first: Int64 = 0, index: Int64 = 0, isStored: Bool = false) async throws {
        let bytes = bytes("[" + items.joined(separator: ",") + "]")
        var body = Body.inline(bytes)
        if isStored {
            let writer = try await store.base.makeBodyWriter()
            try await writer.write(bytes)
            body = try await writer.finish()
        }
        try await submit(
            Batch(index: index, of: Self.job, items: ItemSet(first..<first + Int64(items.count)), body: body))
    }

    /// Adds the call after the last batch.
    func addCompletion() async throws {
        try await submit(
            Batch(index: Batch.completionIndex, of: Self.job, items: ItemSet(0..<0), body: .inline([])))
    }

    private func submit(_ batch: Batch) async throws {
        store.state.withLock { state in
            state.places[batch.id] = BatchPlace(index: batch.index, items: batch.items)
            state.bodies[batch.id] = batch.body
        }
        let result = try await store.submit(
            Submission(id: batch.id, api: Self.queue, payload: .empty), maxQueueLength: nil, now: clock.now())
        #expect(result == .accepted)
    }

    /// Waits until nothing of the job is open.
    func waitForEnd() async throws {
        try await expectEventually { [store] in
            let counts = try await store.counts()[Self.queue]
            return counts == QueueCounts()
        }
    }

    var lines: [ResultLine] { store.state.withLock { $0.lines } }
    var outcomes: [BatchOutcome] { store.state.withLock { $0.outcomes } }

    func text(_ body: Body?) async throws -> String? {
        guard let body else { return nil }
        let reader = try await store.base.reader(of: body)
        var bytes: [UInt8] = []
        while let piece = try await reader.read(upTo: 1 << 20) { bytes += piece }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The lines in short: indexes, then the result or the kind of the failure.
    func shortLines() async throws -> [String] {
        var short: [String] = []
        for line in lines {
            let items = line.items.indexes.map(String.init).joined(separator: " ")
            switch line.verdict {
            case .succeeded(let reply, let isSplit):
                short.append("\(items): \(try await text(reply) ?? "nil")\(isSplit ? " split" : "")")
            case .failed(let failure): short.append("\(items): \(failure.kind.rawValue)")
            }
        }
        return short
    }
}

extension Result where Success == Void, Failure == any Error {
    fileprivate init(_ body: () async throws -> Void) async {
        do {
            self = .success(try await body())
        } catch {
            self = .failure(error)
        }
    }
}
