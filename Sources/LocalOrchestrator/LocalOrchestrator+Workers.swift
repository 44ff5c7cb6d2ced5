package import Core
import Logging
import Support

/// The workers of Batch jobs: sets of replicas whose members have indexes (contract B12).
///
/// The functions of the protocol are `async`, although they do not wait: otherwise a caller in a task would call the
/// protocol's own implementation, which is.
extension LocalOrchestrator {
    package func apply(_ set: ReplicaSet) async {
        guard set.job != nil else { return apply(set.api, replicas: set.count) }
        var set = set
        set.released.formUnion(declared[set.name]?.released ?? [])
        declared[set.name] = set
        rollSoon(set.name)
    }

    package func release(worker index: Int, of set: String) async {
        declared[set]?.released.insert(index)
        rollSoon(set)
    }

    package func delete(set: String) async {
        histories[set] = nil
        delete(api: set)
    }

    package func workers(of set: String) async -> [WorkerStatus] {
        let declaration = declared[set]
        let wanted = declaration?.wantedWorkers ?? []
        let pods = self.pods.values.filter { $0.set == set && $0.worker != nil }
        let indexes = Swift.Set(wanted).union(pods.compactMap(\.worker?.index))
        return indexes.sorted().map { index in
            let pod = pods.filter { $0.worker?.index == index }.min { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            return status(of: index, pod, isReleased: !wanted.contains(index), histories[set]?[index])
        }
    }

    package func hasListedPods() async -> Bool { hasListed }

    private func status(
        of index: Int, _ pod: Pod?, isReleased: Bool, _ history: WorkerHistory?
    ) -> WorkerStatus {
        var status = WorkerStatus(index: index, isReleased: isReleased)
        if let history {
            status.wasEverReady = history.wasEverReady
            status.failures = history.failures
            status.lastExit = history.lastExit
            status.wasKilledForMemory = history.wasKilledForMemory
        }
        status.reason = engineProblem
        guard let pod else { return status }
        let replica = pod.status(isCurrent: true, now: clock.instant())
        status.pod = pod.id
        status.state = replica.state
        status.isWaitingForCapacity = pod.isPending || pod.startFailure == .room && replica.state == .pending
        status.reason = engineProblem ?? replica.reason
        status.lastLines = replica.lastLines
        status.inFlight = replica.inFlight
        status.restarts = replica.restarts
        status.startedAt = replica.startedAt
        return status
    }

    /// Starts and stops the workers of a job's set.
    func rollWorkers(_ set: ReplicaSet) {
        let workers = pods.values.filter { $0.set == set.name && !$0.isRun }
            .sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
            .map { WorkerPlan.Worker(pod: $0.id, index: $0.worker?.index ?? -1, isStopping: $0.phase == .stopping) }
        let steps = WorkerPlan.steps(wanted: set.wantedWorkers, workers: workers)
        for id in steps.stop { stop(id) }
        for index in steps.start { begin(worker: index, of: set) }
    }

    private func begin(worker index: Int, of set: ReplicaSet) {
        guard let job = set.job else { return }
        let id = "\(set.name)-\(index)-\(configuration.makePodSuffix())"
        let now = clock.now()
        let plan = plan(forWorker: index, of: set, job, id: id, createdAt: now)
        pods[id] = Pod(
            id: id, api: set.api, worker: plan.owner.worker, podID: set.api.podID,
            deploymentID: set.api.deploymentID, createdAt: now, plan: plan, phase: .pending(since: clock.instant()))
    }

    func plan(
        forWorker index: Int, of set: ReplicaSet, _ job: JobContext, id: String, createdAt: Timestamp
    ) -> PodPlan {
        PodPlan(
            of: set.api, worker: index, set: set.name, job: job, id: id, createdAt: createdAt,
            clientConfiguration: configuration.clientConfiguration(set.api, id))
    }

    /// Notes something in the history of a pod's worker.
    func noteHistory(of pod: Pod, _ note: (inout WorkerHistory) -> Void) {
        guard let worker = pod.worker, !pod.isRun, declared[worker.set] != nil else { return }
        note(&histories[worker.set, default: [:]][worker.index, default: WorkerHistory()])
    }
}

/// The end of workers' pods: containers first, then their logs are passed to the recorder, then the pod is removed
/// (contract J12).
extension LocalOrchestrator {
    /// Stops these containers of a pod: SIGTERM to all at once, SIGKILL after `grace`. A failure is logged.
    nonisolated func end(_ containers: [String], of id: String, grace: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            for container in containers {
                group.addTask {
                    do {
                        try await self.calls.ask("stop container \(container)", id, limit: grace + Limits.engineStop) {
                            try await $0.stop(container: container, of: id, grace: grace)
                        }
                    } catch {
                        if Task.isCancelled { return }
                        self.logger.warning(
                            "cannot stop container: \(EngineCalls.text(of: error))",
                            metadata: ["pod": "\(id)", "container": "\(container)"])
                    }
                }
            }
        }
    }

    /// Passes the logs of a pod whose containers have ended to the recorder.
    nonisolated func keepLogs(of containers: [String], pod id: String, _ worker: PodOwner.Worker) async throws {
        guard let recorder = configuration.recorder else { return }
        for container in containers {
            let log: LogStream<[UInt8]>
            do {
                log = try await calls.ask("read log", id, limit: Limits.engineQuery) {
                    try await $0.logs(container: container, pod: id, follow: false, tail: nil)
                }
            } catch let error as PlatformError where error.code == .notFound {
                // Its pod is gone, and the log with it.
                continue
            }
            try await recorder.keep(log, container: container, pod: id, of: worker)
        }
    }

    /// Removes the pod of a run, and repeats that until it succeeds.
    ///
    /// - Returns: `false` when the platform ended before.
    func removePod(_ id: String, keepingLogs: Bool) async -> Bool {
        let containers = pods[id]?.plan.containers.map(\.name) ?? []
        let worker = pods[id]?.worker
        var backoff = RestartBackoff()
        while true {
            do {
                if keepingLogs, let worker { try await keepLogs(of: containers, pod: id, worker) }
                try await calls.ask("stop pod", id, limit: Limits.engineStop) {
                    try await $0.stop(pod: id, grace: .zero)
                }
                return true
            } catch {
                // The next start finds the pod.
                if Task.isCancelled { return false }
                logger.warning(
                    "cannot remove the pod of a run; trying again: \(EngineCalls.text(of: error))",
                    metadata: ["run": "\(id)"])
                let now = clock.instant()
                guard (try? await clock.sleep(for: backoff.ended(startedAt: nil, now: now) - now)) != nil else {
                    return false
                }
            }
        }
    }
}
