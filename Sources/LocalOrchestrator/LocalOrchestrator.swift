package import Core
package import Logging
import ServiceLifecycle
import Support
import Synchronization

/// Keeps the declared replicas running on this machine: compares what is declared with what the engine lists (at the
/// start, on hints, and every few seconds) and takes the next steps. Its table of pods can be rebuilt from the engine's
/// labels, so after a restart of the platform it adopts the pods that run.
package actor LocalOrchestrator: Orchestrator, Service {
    /// Settings that do not change while the platform runs.
    package struct Configuration: Sendable {
        /// Text of `/cortex/client/cli.yaml` in the containers of one replica of a version.
        package var clientConfiguration: @Sendable (_ api: DeployedAPI, _ replica: String) -> String
        /// How often the engine is asked without a hint.
        package var resync: Duration
        /// The grace period of a pod without requests to save: a pod that never was ready, and every pod when the
        /// platform itself stops.
        package var shortGrace: Duration
        /// Generates the random part of a pod's id: lower-case letters and digits.
        package var makePodSuffix: @Sendable () -> String
        /// The last measurement of the free space on the data directory's file system; `nil` where it is not known. It
        /// makes no system call.
        package var diskMargin: @Sendable () -> DiskMargin?
        /// Records what happens to the pods of job workers; `nil`: nothing is recorded.
        package var recorder: (any WorkerRecorder)?

        /// The parameters are the properties of the same names.
        package init(
            clientConfiguration: @escaping @Sendable (_ api: DeployedAPI, _ replica: String) -> String,
            resync: Duration = .seconds(5), shortGrace: Duration = .seconds(10),
            makePodSuffix: @escaping @Sendable () -> String,
            diskMargin: @escaping @Sendable () -> DiskMargin? = { nil },
            recorder: (any WorkerRecorder)? = nil
        ) {
            self.clientConfiguration = clientConfiguration
            self.resync = resync
            self.shortGrace = shortGrace
            self.makePodSuffix = makePodSuffix
            self.diskMargin = diskMargin
            self.recorder = recorder
        }
    }

    let engine: any Engine
    let calls: EngineCalls
    let clock: any PlatformClock
    let configuration: Configuration
    let logger: Logger
    private let ready = Broadcast<[ReadyReplica]>(latest: [])
    private let wake: AsyncStream<Void>.Continuation
    private let wakes: AsyncStream<Void>
    /// Takes operations that run beside the loop.
    let work: AsyncStream<@Sendable () async -> Void>.Continuation
    private let works: AsyncStream<@Sendable () async -> Void>

    /// The sets of replicas by name.
    var declared: [String: ReplicaSet] = [:]
    /// What is remembered of the workers of declared jobs, by set and index.
    var histories: [String: [Int: WorkerHistory]] = [:]
    /// The declared runs, by the ids of their pods.
    var runTable: [String: Run] = [:]
    let runStates = Broadcast<[RunState]>(latest: [])
    var publishedRuns: [RunState] = []
    let workerStarts = Limiter(width: Limits.workerStarts, waitingLimit: .max, of: "starts of workers")
    /// Whether a worker of a job was admitted last, rather than a replica of an API; `nil` before the first.
    var wasWorkerAdmitted: Bool?
    /// Versions of each API from which pods may run, newest first.
    var versions: [String: [DeployedAPI]] = [:]
    var pods: [String: Pod] = [:]
    /// Whether the engine has listed its pods. Before that the pods of an earlier process are not known.
    var hasListed = false
    /// Why the engine does not answer; `nil` when it does. While it does not, the last known state is kept.
    var engineProblem: String?
    /// The capacity of this machine for pods; `nil` while it is not known.
    var machine: ComputeAmount?
    /// When the engine was last asked for the capacity.
    var machineAskedAt: Instant?
    /// The readers that follow logs, by number.
    var logFollowers: [Int: LogFollower] = [:]
    /// Removals that wait for readers to open a log.
    var logWaits: [Int: AsyncStream<Void>.Continuation] = [:]
    var nextLogReader = 0
    /// The number of pods whose last lines are being read.
    var lastLineReads = 0
    /// The disk use of the pods.
    var disk = DiskWatch()
    /// Pods of no declared API that are being removed.
    var foreign: Set<String> = []
    /// Reconciles when the next restart or start is due.
    private var alarm: (at: Instant, task: Task<Void, Never>)?
    /// Gets an element for every pod that is removed, during shutdown.
    var removals: AsyncStream<Void>.Continuation?

    /// The longest termination grace period of the pods. The shutdown reads it without waiting for this actor.
    private nonisolated let grace = Mutex(Duration.zero)

    /// The longest `termination_grace_period` of the pods that there were when the ready replicas last changed. Safe
    /// from any thread.
    package nonisolated var longestGrace: Duration { grace.withLock { $0 } }

    /// Nothing happens before ``run()``.
    package init(engine: any Engine, clock: any PlatformClock, configuration: Configuration, logger: Logger) {
        self.engine = engine
        self.calls = EngineCalls(engine: engine, clock: clock)
        self.clock = clock
        self.configuration = configuration
        self.logger = logger
        (self.wakes, self.wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        (self.works, self.work) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
    }

    // MARK: Declarations

    package func problems(with specification: APISpecification) async -> [String] {
        do {
            return try await calls.ask("check specification", specification.name, limit: Limits.engineQuery) {
                await $0.problems(with: specification)
            }
        } catch {
            return ["the container engine could not be asked: \((error as? PlatformError)?.message ?? "try again")"]
        }
    }

    package func recall(_ versions: [DeployedAPI]) async {
        guard let name = versions.first?.name else { return }
        self.versions[name] = versions
    }

    package func apply(_ api: DeployedAPI, replicas: Int) {
        versions[api.name] = [api] + (versions[api.name] ?? []).filter { $0.id != api.id }.prefix(Limits.versions)
        declared[api.name] = ReplicaSet(api: api, count: replicas)
        // A change that does not touch the pod reaches the running replicas without restarting them.
        for (id, pod) in pods where pod.set == api.name && pod.isCurrent(api) {
            pods[id]?.api = api
        }
        publishReady()
        reconcileSoon()
    }

    package func scale(api: String, replicas: Int) {
        guard let declaration = declared[api], declaration.job == nil else { return }
        // A decision may have been made just before an update lowered the bound.
        let replicas = min(replicas, declaration.api.specification.autoscaling.maxReplicas)
        guard declaration.count != replicas else { return }
        declared[api]?.count = replicas
        if replicas > declaration.count { rollSoon(api) } else { reconcileSoon() }
    }

    /// Starts new replicas of a set without waiting for a full reconcile: a request may be blocked on them.
    func rollSoon(_ set: String) {
        if hasListed, engineProblem == nil {
            roll(set)
            admitPending()
            publishReady()
        }
        reconcileSoon()
    }

    package func delete(api: String) {
        declared[api] = nil
        disk.forget(api: api)
        versions[api] = nil
        // Do not wait for the engine. Pods that are not known yet are stopped when the engine lists them.
        for pod in pods.values where pod.set == api { stop(pod.id) }
        publishReady()
        wakeLogReaders()
        reconcileSoon()
    }

    package func status(api: String) -> APIStatus? {
        guard let declaration = declared[api] else { return nil }
        let replicas =
            pods.values.filter { $0.set == api }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            .map { $0.status(isCurrent: $0.isCurrent(declaration.api), now: clock.instant()) }
        return APIStatus(
            requested: declaration.count, replicas: replicas,
            reason: engineProblem ?? disk.problem(of: api, now: clock.instant()))
    }

    package func hasPod(_ id: String, of api: String) async -> Bool { pods[id]?.api.name == api }

    /// Every pod with its phase, including those that are being stopped, sorted by API and id.
    package func state() -> [PodState] {
        pods.values.map { pod in
            PodState(
                id: pod.id, api: pod.api.name,
                // The name of the case, without its associated value.
                phase: String(String(describing: pod.phase).prefix { $0 != "(" }),
                inFlight: pod.activity.inFlight, reason: pod.reason)
        }.sorted { ($0.api, $0.id) < ($1.api, $1.id) }
    }

    package nonisolated func readyReplicas() -> AsyncStream<[ReadyReplica]> {
        ready.stream()
    }

    /// Publishes the ready replicas after any change that may affect them.
    func publishReady() {
        let longest = pods.values.map(\.api.specification.pod.terminationGracePeriod).max() ?? .zero
        grace.withLock { $0 = longest }
        ready.send(
            pods.values.filter(\.isReady).map {
                ReadyReplica(
                    id: $0.id, api: $0.api, worker: $0.worker, connector: engine.connector(pod: $0.id),
                    activity: $0.activity)
            })
    }

    // MARK: Service

    package func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.perform() }
            group.addTask { await self.listenForHints() }
            group.addTask { await self.keepTime() }
            await cancelWhenGracefulShutdown {
                for await _ in self.wakes { await self.reconcile() }
            }
            await stopEverything()
            work.finish()
            alarm?.task.cancel()
            group.cancelAll()
        }
    }

    /// Requests a comparison of what is declared with what runs.
    nonisolated func reconcileSoon() {
        wake.yield()
    }

    /// Runs operations beside the loop, each as a child task.
    private func perform() async {
        await withDiscardingTaskGroup { group in
            for await operation in works { group.addTask { await operation() } }
            group.cancelAll()
        }
    }

    private func listenForHints() async {
        for await _ in engine.hints() { reconcileSoon() }
    }

    private func keepTime() async {
        while !Task.isCancelled {
            reconcileSoon()
            do {
                try await clock.sleep(for: configuration.resync)
            } catch {
                return
            }
        }
    }

    /// Reconciles again when the next restart or start is due.
    func setAlarm() {
        let due = (pods.values.compactMap(\.nextDue) + runTable.values.compactMap(\.deadline)).min()
        guard let due else { return }
        if let alarm, alarm.at <= due { return }
        alarm?.task.cancel()
        // A task of its own, because it is replaced when something becomes due earlier.
        let task = Task { [clock] in
            do {
                try await clock.sleep(for: max(.zero, due - clock.instant()))
            } catch {
                // It was replaced, or the platform ends.
                return
            }
            alarm = nil
            reconcileSoon()
        }
        alarm = (due, task)
    }
}

/// What a pod is doing now, to find out why something does not proceed.
package struct PodState: Sendable, Hashable {
    /// Id of the replica.
    package var id: String
    /// Name of its API.
    package var api: String
    /// Name of its phase: `pending`, `starting`, `startFailed`, `running`, `stopping`.
    package var phase: String
    /// Requests inside it.
    package var inFlight: Int
    /// Why it is not ready, in one line.
    package var reason: String?
}
