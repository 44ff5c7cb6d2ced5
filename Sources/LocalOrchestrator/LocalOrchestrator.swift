package import Core
package import Logging
import ServiceLifecycle
import Support
import Synchronization

/// Keeps the declared replicas running on this machine: compares what is declared with what the engine lists (at the
/// start, on any hint, every few seconds) and takes the next step. Its own table can be rebuilt from the engine's
/// labels at any time, so a restart adopts what runs.
package actor LocalOrchestrator: Orchestrator, Service {
    /// What does not change while the platform runs.
    package struct Configuration: Sendable {
        /// Text of `/cortex/client/cli.yaml` in the containers of one replica of a version.
        package var clientConfiguration: @Sendable (_ api: DeployedAPI, _ replica: String) -> String
        /// How often the engine is asked without any hint.
        package var resync: Duration
        /// The grace of a pod without requests to save: one that never was ready, and every one when the platform
        /// itself stops.
        package var shortGrace: Duration
        /// Makes the random part of a pod's id: lower-case letters and digits.
        package var makePodSuffix: @Sendable () -> String
        /// The space on the data directory's file system as measured last, without a system call; `nil` where it is not
        /// known.
        package var diskMargin: @Sendable () -> DiskMargin?

        package init(
            clientConfiguration: @escaping @Sendable (_ api: DeployedAPI, _ replica: String) -> String,
            resync: Duration = .seconds(5), shortGrace: Duration = .seconds(10),
            makePodSuffix: @escaping @Sendable () -> String, diskMargin: @escaping @Sendable () -> DiskMargin? = { nil }
        ) {
            self.clientConfiguration = clientConfiguration
            self.resync = resync
            self.shortGrace = shortGrace
            self.makePodSuffix = makePodSuffix
            self.diskMargin = diskMargin
        }
    }

    struct Declaration: Sendable {
        var api: DeployedAPI
        var replicas: Int
    }

    let engine: any Engine
    let clock: any PlatformClock
    let configuration: Configuration
    let logger: Logger
    let ready = Broadcast<[ReadyReplica]>(latest: [])
    private let wake: AsyncStream<Void>.Continuation
    private let wakes: AsyncStream<Void>
    let work: AsyncStream<@Sendable () async -> Void>.Continuation
    private let works: AsyncStream<@Sendable () async -> Void>

    var declared: [String: Declaration] = [:]
    /// Versions of each API from which pods may run, newest first.
    var versions: [String: [DeployedAPI]] = [:]
    var pods: [String: Pod] = [:]
    /// Whether the engine's pods are in the table: before that nothing is known of those of an earlier process.
    var hasLooked = false
    /// Set when the engine does not answer: nothing is concluded from what is not known.
    var engineProblem: String?
    /// What this machine has for pods, and when that was asked last.
    var machine: ComputeAmount?
    var machineAskedAt: Instant?
    /// Wake those who follow logs, by reader.
    var logReaders: [Int: AsyncStream<Void>.Continuation] = [:]
    var nextLogReader = 0
    var diskShortage = DiskShortage()
    /// Pods that are being removed for their use of the disk, and since when.
    var endedForDisk: [String: Instant] = [:]
    /// Why a replica was stopped for its use of the disk, and when, by API.
    var diskProblems: [String: (String, Instant)] = [:]
    var isMeasuringDisk = false
    var nextDiskLook = Instant(microseconds: .min)
    /// Pods whose last lines are being read.
    var logLooks = 0
    /// Pods of no declared API that are being removed.
    var foreign: Set<String> = []
    /// Numbers of the operations on pods.
    var operationCount = 0
    /// Looks at the moment when the next restart or start is due.
    private var alarm: (at: Instant, task: Task<Void, Never>)?
    /// Gets an element for every pod that is gone, during shutdown.
    var removals: AsyncStream<Void>.Continuation?

    /// The longest termination grace period of the pods, read by the shutdown without waiting for this actor.
    private nonisolated let grace = Mutex(Duration.zero)

    /// The longest `termination_grace_period` of the pods that there were when the ready replicas last changed. Safe
    /// from any thread.
    package nonisolated var longestGrace: Duration { grace.withLock { $0 } }

    package init(engine: any Engine, clock: any PlatformClock, configuration: Configuration, logger: Logger) {
        self.engine = engine
        self.clock = clock
        self.configuration = configuration
        self.logger = logger
        (self.wakes, self.wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        (self.works, self.work) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
    }

    // MARK: Declarations

    package func problems(with specification: APISpecification) async -> [String] {
        do {
            return try await ask("check specification", specification.name, limit: Limits.engineQuery) {
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
        declared[api.name] = Declaration(api: api, replicas: replicas)
        // A change that does not touch the pod reaches the running replicas without restarting them.
        for (id, pod) in pods where pod.api.name == api.name && pod.isCurrent(api) {
            pods[id]?.api = api
        }
        publishReady()
        reconcileSoon()
    }

    package func scale(api: String, replicas: Int) {
        guard let declaration = declared[api] else { return }
        // A decision may have been made just before an update lowered the bound.
        let replicas = min(replicas, declaration.api.specification.autoscaling.maxReplicas)
        guard declaration.replicas != replicas else { return }
        declared[api]?.replicas = replicas
        // Somebody may wait for the replica that this asks for, and what the engine would say of others changes nothing
        // about it.
        if replicas > declaration.replicas, hasLooked, engineProblem == nil {
            roll(api)
            admitPending()
            publishReady()
        }
        reconcileSoon()
    }

    package func delete(api: String) {
        declared[api] = nil
        diskProblems[api] = nil
        diskShortage.forget(api: api)
        versions[api] = nil
        // At once, whatever the engine is busy with; pods that are not known yet are stopped when the engine lists
        // them.
        for pod in pods.values where pod.api.name == api { stop(pod.id) }
        publishReady()
        wakeLogReaders()
        reconcileSoon()
    }

    package func status(api: String) -> APIStatus? {
        guard let declaration = declared[api] else { return nil }
        let replicas =
            pods.values.filter { $0.api.name == api }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            .map { $0.status(isCurrent: $0.isCurrent(declaration.api), now: clock.instant()) }
        return APIStatus(
            requested: declaration.replicas, replicas: replicas, reason: engineProblem ?? diskProblem(of: api))
    }

    package nonisolated func readyReplicas() -> AsyncStream<[ReadyReplica]> {
        ready.stream()
    }

    func publishReady() {
        let longest = pods.values.map(\.api.specification.pod.terminationGracePeriod).max() ?? .zero
        grace.withLock { $0 = longest }
        ready.send(
            pods.values.filter(\.isReady).map {
                ReadyReplica(id: $0.id, api: $0.api, connector: engine.connector(pod: $0.id), activity: $0.activity)
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

    /// Asks for a comparison of what is declared with what runs.
    nonisolated func reconcileSoon() {
        wake.yield()
    }

    /// Runs long operations beside the loop, each as a child task.
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

    /// Looks again when the next restart or start is due.
    func setAlarm() {
        let due = pods.values.compactMap(\.nextDue).min()
        guard let due else { return }
        if let alarm, alarm.at <= due { return }
        alarm?.task.cancel()
        // A task of its own, because it is replaced whenever something is due earlier.
        let task = Task { [clock] in
            do {
                try await clock.sleep(for: max(.zero, due - clock.instant()))
            } catch {
                // Replaced, or the platform ends.
                return
            }
            alarm = nil
            reconcileSoon()
        }
        alarm = (due, task)
    }
}
