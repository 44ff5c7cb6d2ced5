import Core
import Logging
import Support

/// The operations on one pod: start, restart of a container, drain and stop. Each runs beside the loop and writes its
/// result into the table.
extension LocalOrchestrator {
    func plan(for api: DeployedAPI, id: String, createdAt: Timestamp) -> PodPlan {
        PodPlan(of: api, id: id, createdAt: createdAt, clientConfiguration: configuration.clientConfiguration(api, id))
    }

    // MARK: Start

    /// Adds a new pod to the table. It starts as soon as the machine has space for it.
    func begin(_ api: DeployedAPI) {
        let id = "\(api.name)-\(configuration.makePodSuffix())"
        let now = clock.now()
        let pod = Pod(
            id: id, api: api, podID: api.podID, deploymentID: api.deploymentID, createdAt: now,
            plan: plan(for: api, id: id, createdAt: now), phase: .pending(since: clock.instant()))
        pods[id] = pod
    }

    func start(_ id: String) async {
        guard let pod = pods[id], pod.phase == .starting else { return }
        let plan = pod.plan
        let metadata: Logger.Metadata = ["api": "\(pod.api.name)", "replica": "\(id)"]
        do {
            try await prepare(plan)
            if pod.isRun, let worker = pod.worker { try await configuration.recorder?.willStart(run: id, of: worker) }
            // It was stopped meanwhile, and is removed by whatever stopped it.
            guard pods[id]?.phase == .starting else { return }
            if pod.worker == nil {
                try await startOnEngine(plan)
            } else {
                try await workerStarts.run { @Sendable in try await self.startOnEngine(plan) }
            }
        } catch let error as PlatformError where error.code == .conflict && pods[id]?.phase == .starting {
            // An earlier start ended after its deadline.
            logger.info("replica runs already", metadata: metadata)
        } catch {
            guard pods[id]?.phase == .starting, !Task.isCancelled else { return }
            logger.warning("cannot start replica: \(EngineCalls.text(of: error))", metadata: metadata)
            startFailed(id, error as? PlatformError)
            return
        }
        guard pods[id]?.phase == .starting else { return }
        let now = clock.instant()
        for container in plan.containers {
            pods[id]?.containers[container.name] = Pod.Container(state: .running, startedAt: now)
        }
        logger.info("replica started", metadata: metadata)
        pods[id]?.phase = .running
        pods[id]?.reason = nil
        if pod.isRun { runStarted(id) }
        startProbing(id)
        reconcileSoon()
    }

    private func startOnEngine(_ plan: PodPlan) async throws {
        // It may have been stopped while it waited for other starts.
        guard pods[plan.id]?.phase == .starting else { return }
        try await operate("start pod", on: plan.id, limit: Limits.engineStart) { try await $0.start(plan) }
    }

    private func prepare(_ plan: PodPlan) async throws {
        // In order. If lines arrive faster than they are noted, only the newest one counts.
        let (lines, progress) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(1))
        async let notes: Void = note(lines, on: plan.id)
        defer { progress.finish() }
        try await operate("pull images", on: plan.id, limit: Limits.enginePull) {
            try await $0.prepare(plan) { progress.yield($0) }
        }
        progress.finish()
        await notes
    }

    private func note(_ lines: AsyncStream<String>, on id: String) async {
        for await line in lines { note(line, on: id) }
    }

    private func note(_ line: String, on id: String) {
        guard pods[id]?.phase == .starting else { return }
        pods[id]?.reason = line
        publishRuns()
    }

    private func startFailed(_ id: String, _ failure: PlatformError?) {
        guard var pod = pods[id] else { return }
        let retryAt = pod.startBackoff.ended(startedAt: nil, now: clock.instant())
        pod.phase = .startFailed(retryAt: retryAt)
        pod.reason = failure?.message ?? "it could not be started"
        pod.startFailure =
            switch failure?.code {
            case .imageUnavailable: .image
            case .unavailable: .room
            default: .other
            }
        pods[id] = pod
        noteHistory(of: pod) { $0.startFailed(failure?.code) }
        if pod.isRun { runStartFailed(id) }
        setAlarm()
        reconcileSoon()
    }

    // MARK: Restart

    func restart(_ container: String, of id: String) async {
        guard let plan = pods[id]?.plan else { return }
        do {
            try await operate("restart container \(container)", on: id, limit: Limits.engineStart) {
                try await $0.restart(container: container, of: plan)
            }
            pods[id]?.containers[container]?.state = .running
            // The time in which it must stay up begins now, after a slow start (contract C14).
            pods[id]?.containers[container]?.startedAt = clock.instant()
            pods[id]?.containers[container]?.restartAt = nil
        } catch {
            guard pods[id]?.phase == .running, !Task.isCancelled else { return }
            logger.warning(
                "cannot restart container: \(EngineCalls.text(of: error))",
                metadata: ["replica": "\(id)", "container": "\(container)"])
            if var known = pods[id]?.containers[container] {
                known.restartAt = known.backoff.ended(startedAt: nil, now: clock.instant())
                pods[id]?.containers[container] = known
            }
        }
        pods[id]?.containers[container]?.isRestarting = false
        let allRun = pods[id]?.containers.values.allSatisfy { $0.state == .running } ?? false
        if allRun, pods[id]?.phase == .running { startProbing(id) }
        setAlarm()
        reconcileSoon()
    }

    // MARK: Stop

    /// Takes a pod out of service at once. It is drained and removed beside the loop (contract C13).
    ///
    /// A pull, start or restart that is under way is cancelled.
    func stop(_ id: String) {
        guard let pod = pods[id], pod.phase != .stopping else { return }
        pod.activity.close()
        guard !pod.isPending else { return forget(id) }
        pods[id]?.phase = .stopping
        stopProbing(id)
        pod.operations.cancel()
        work.yield { await self.drainAndRemove(id) }
    }

    /// Runs an operation that changes a pod. ``stop(_:)`` cancels it and waits a moment for its end, so that two
    /// operations rarely meet in the engine.
    ///
    /// - Throws: the errors of ``EngineCalls/operate(_:on:_:limit:_:)``.
    func operate(
        _ name: String, on id: String, limit: Duration, _ call: @escaping @Sendable (any Engine) async throws -> Void
    ) async throws {
        try await calls.operate(name, on: id, pods[id]?.operations ?? PodOperations(), limit: limit, call)
    }

    /// Waits until the cancelled operations on a pod have ended, no longer than ``Limits/engineCancellation``.
    func waitForOperations(on pod: Pod) async {
        do {
            try await pod.operations.waitForEnd(limit: Limits.engineCancellation, clock: clock)
        } catch {
            if Task.isCancelled { return }
            logger.warning(
                "the engine ignores the cancellation of an operation; continuing without it",
                metadata: ["replica": "\(pod.id)"])
        }
    }

    private func drainAndRemove(_ id: String) async {
        guard let pod = pods[id] else { return }
        await waitForOperations(on: pod)
        let deadline = clock.instant() + grace(of: pod)
        await drain(pod, until: deadline)
        // Without containers, its start had not ended.
        if !pod.isLost, !pod.containers.isEmpty { await runPreStop(of: pod, until: deadline) }
        await waitForLogReaders(of: id)
        var backoff = RestartBackoff()
        while true {
            do {
                var left = deadline
                if let worker = pod.worker, configuration.recorder != nil {
                    let grace = max(.zero, deadline - clock.instant())
                    let containers = pod.plan.containers.map(\.name)
                    if !pod.isLost, !pod.containers.isEmpty { await end(containers, of: id, grace: grace) }
                    try await keepLogs(of: containers, pod: id, worker)
                    left = clock.instant()
                }
                let grace = max(.zero, left - clock.instant())
                try await operate("stop pod", on: id, limit: grace + Limits.engineStop) {
                    try await $0.stop(pod: id, grace: grace)
                }
                break
            } catch {
                // The platform ends. The next start finds the pod and removes it.
                if Task.isCancelled { return }
                logger.warning(
                    "cannot remove replica; trying again: \(EngineCalls.text(of: error))",
                    metadata: ["replica": "\(id)"])
                pods[id]?.reason = "it cannot be removed: \((error as? PlatformError)?.message ?? "the engine failed")"
                let now = clock.instant()
                do {
                    try await clock.sleep(for: backoff.ended(startedAt: nil, now: now) - now)
                } catch {
                    return
                }
            }
        }
        logger.info("replica stopped", metadata: ["api": "\(pod.api.name)", "replica": "\(id)"])
        forget(id)
    }

    /// How long the pod may take to end. When the platform itself stops, the dequeuer has already waited for the
    /// requests inside.
    private func grace(of pod: Pod) -> Duration {
        if pod.isLost { return .zero }
        let declared = pod.api.specification.pod.terminationGracePeriod
        let isStoppingAll = removals != nil
        return pod.wasReady && !isStoppingAll ? declared : min(declared, configuration.shortGrace)
    }

    func forget(_ id: String) {
        pods[id] = nil
        removals?.yield()
        reconcileSoon()
    }

    /// Waits until no request is inside. When the grace period or the platform ends first, the requests inside are cut
    /// and return to the queue.
    private func drain(_ pod: Pod, until deadline: Instant) async {
        let activity = pod.activity
        guard activity.inFlight > 0 else { return }
        do {
            try await withTimeLimit(max(.zero, deadline - clock.instant()), clock: clock) {
                await activity.waitUntilIdle()
            }
        } catch {
            activity.cut()
            // The connections close at once. The pod does not wait until the dequeuer has recorded the outcomes.
            _ = try? await withTimeLimit(Limits.cutRelease, clock: clock) { await activity.waitUntilIdle() }
        }
    }

    /// Stops every pod at once, at the end of a graceful shutdown of the platform.
    ///
    /// Pods that outlive the shutdown grace are found and removed by the next start.
    func stopEverything() async {
        declared = [:]
        let (removed, continuation) = AsyncStream.makeStream(of: Void.self)
        removals = continuation
        for id in pods.keys where !isKeptForCollection(id) { stop(id) }
        publishReady()
        guard !pods.keys.allSatisfy(isKeptForCollection) else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [clock, configuration] in
                // Each pod has the grace to end, and as much time again to be removed.
                try? await clock.sleep(for: configuration.shortGrace * 2)
                continuation.finish()
            }
            for await _ in removed where pods.keys.allSatisfy(isKeptForCollection) { break }
            group.cancelAll()
        }
    }

    /// Whether a pod is that of a run that is over. Its exit codes and artifacts may not be recorded yet, so it is kept
    /// until the next start.
    private func isKeptForCollection(_ id: String) -> Bool {
        guard let run = runTable[id] else { return false }
        return !run.machine.occupiesMachine
    }
}
