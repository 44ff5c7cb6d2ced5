import Core
import Logging
import Support

/// The long operations on one pod: start, restart of a container, drain and stop. Each runs beside the loop and reports
/// back to the table.
extension LocalOrchestrator {
    func plan(for api: DeployedAPI, id: String, createdAt: Timestamp) -> PodPlan {
        PodPlan(of: api, id: id, createdAt: createdAt, clientConfiguration: configuration.clientConfiguration(api, id))
    }

    // MARK: Start

    /// Enters a new pod into the table; it starts as soon as there is room for it.
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
        let metadata: Logger.Metadata = ["api": "\(plan.api)", "replica": "\(id)"]
        do {
            try await prepare(plan)
            // Stopped meanwhile: whatever stops it also removes it.
            guard pods[id]?.phase == .starting else { return }
            try await operate("start pod", on: id, limit: Limits.engineStart) { try await $0.start(plan) }
        } catch let error as PlatformError where error.code == .conflict && pods[id]?.phase == .starting {
            // An earlier start, which was no longer waited for, came to its end.
            logger.info("replica runs already", metadata: metadata)
        } catch {
            guard pods[id]?.phase == .starting, !Task.isCancelled else { return }
            logger.warning("cannot start replica: \(words(for: error))", metadata: metadata)
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
        startProbing(id)
        reconcileSoon()
    }

    private func prepare(_ plan: PodPlan) async throws {
        // In order; of lines that come faster than they are taken only the newest counts.
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
        if pods[id]?.phase == .starting { pods[id]?.reason = line }
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
            // It runs from now on; a slow start is no part of its health (contract C14).
            pods[id]?.containers[container]?.startedAt = clock.instant()
            pods[id]?.containers[container]?.restartAt = nil
        } catch {
            guard pods[id]?.phase == .running, !Task.isCancelled else { return }
            logger.warning(
                "cannot restart container: \(words(for: error))",
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

    /// Takes a pod out of service at once; draining and removal go on beside the loop (contract C13).
    ///
    /// A pull, start or restart that is under way is cancelled.
    func stop(_ id: String) {
        guard let pod = pods[id], pod.phase != .stopping else { return }
        pod.activity.close()
        guard !pod.isPending else { return forget(id) }
        pods[id]?.phase = .stopping
        stopProbing(id)
        for operation in pod.operations.values { operation.cancel() }
        work.yield { await self.drainAndRemove(id) }
    }

    private func drainAndRemove(_ id: String) async {
        guard let pod = pods[id] else { return }
        await waitForOperations(on: id)
        let deadline = clock.instant() + grace(of: pod)
        await drain(pod, until: deadline)
        // Without containers its start had not ended.
        if !pod.isLost, !pod.containers.isEmpty { await runPreStop(of: pod, until: deadline) }
        var backoff = RestartBackoff()
        while true {
            do {
                let grace = max(.zero, deadline - clock.instant())
                try await operate("stop pod", on: id, limit: grace + Limits.engineStop) {
                    try await $0.stop(pod: id, grace: grace)
                }
                break
            } catch {
                // The platform ends: the next one finds the pod and removes it.
                if Task.isCancelled { return }
                logger.warning(
                    "cannot remove replica; trying again: \(words(for: error))", metadata: ["replica": "\(id)"])
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

    /// How long the pod may take to end. When the platform itself stops, the dequeuer has already let the requests
    /// inside finish.
    private func grace(of pod: Pod) -> Duration {
        if pod.isLost { return .zero }
        let declared = pod.api.specification.pod.terminationGracePeriod
        let isStoppingAll = removals != nil
        return pod.wasReady && !isStoppingAll ? declared : min(declared, configuration.shortGrace)
    }

    private func forget(_ id: String) {
        pods[id] = nil
        removals?.yield()
        reconcileSoon()
    }

    /// Waits until no request is inside. When the grace period ends, or the platform does, those inside are cut and go
    /// back to the queue.
    private func drain(_ pod: Pod, until deadline: Instant) async {
        let activity = pod.activity
        guard activity.inFlight > 0 else { return }
        do {
            try await withTimeLimit(max(.zero, deadline - clock.instant()), clock: clock) {
                await activity.waitUntilIdle()
            }
        } catch {
            activity.cut()
            // The connections close at once; what the dequeuer still writes down does not hold up the pod.
            _ = try? await withTimeLimit(Limits.cutRelease, clock: clock) { await activity.waitUntilIdle() }
        }
    }

    /// Stops every pod at once; what a graceful shutdown of the platform does last.
    ///
    /// What the shutdown grace does not suffice for is left to the next start, which finds it and removes it.
    func stopEverything() async {
        declared = [:]
        let (removed, continuation) = AsyncStream.makeStream(of: Void.self)
        removals = continuation
        for id in pods.keys { stop(id) }
        publishReady()
        guard !pods.isEmpty else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [clock, configuration] in
                // Twice the time that each pod has: to end, and to be removed.
                try? await clock.sleep(for: configuration.shortGrace * 2)
                continuation.finish()
            }
            for await _ in removed where pods.isEmpty { break }
            group.cancelAll()
        }
    }
}
