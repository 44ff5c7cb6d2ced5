import Core
import Logging

/// The long operations on one pod: start, restart of a container, drain and stop. Each runs beside the loop and reports back to the table.
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
        guard let plan = pods[id]?.plan else { return }
        let metadata: Logger.Metadata = ["api": "\(plan.api)", "replica": "\(id)"]
        do {
            let note: @Sendable (String) -> Void = { line in Task { await self.note(line, on: id) } }
            try await engine.prepare(plan, progress: note)
            try await engine.start(plan)
        } catch {
            let failure = error as? PlatformError
            logger.warning("cannot start replica: \(error)", metadata: metadata)
            startFailed(id, failure)
            return
        }
        guard var pod = pods[id] else { return }
        let now = clock.instant()
        for container in plan.containers {
            pod.containers[container.name] = Pod.Container(state: .running, startedAt: now)
        }
        pods[id] = pod
        logger.info("replica started", metadata: metadata)
        guard pod.phase == .starting else { return await drainAndRemove(id) }
        pods[id]?.phase = .running
        pods[id]?.reason = nil
        startProbing(id)
        reconcileSoon()
    }

    private func note(_ line: String, on id: String) {
        if pods[id]?.phase == .starting { pods[id]?.reason = line }
    }

    private func startFailed(_ id: String, _ failure: PlatformError?) {
        guard var pod = pods[id] else { return }
        guard pod.phase == .starting else { return forget(id) }
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
        reconcile(at: retryAt)
        reconcileSoon()
    }

    // MARK: Restart

    func restart(_ container: String, of id: String) async {
        guard let plan = pods[id]?.plan else { return }
        let now = clock.instant()
        do {
            try await engine.restart(container: container, of: plan)
            pods[id]?.containers[container]?.state = .running
            pods[id]?.containers[container]?.startedAt = now
            pods[id]?.containers[container]?.restartAt = nil
        } catch {
            logger.warning(
                "cannot restart container: \(error)", metadata: ["replica": "\(id)", "container": "\(container)"])
            if var known = pods[id]?.containers[container] {
                let restartAt = known.backoff.ended(startedAt: nil, now: now)
                known.restartAt = restartAt
                pods[id]?.containers[container] = known
                reconcile(at: restartAt)
            }
        }
        pods[id]?.containers[container]?.isRestarting = false
        let allRun = pods[id]?.containers.values.allSatisfy { $0.state == .running } ?? false
        if allRun, pods[id]?.phase == .running { startProbing(id) }
        reconcileSoon()
    }

    // MARK: Stop

    /// Takes a pod out of service at once; draining and removal go on beside the loop (contract C13).
    ///
    /// A pod that is still being started is removed by its start as soon as that has ended.
    func stop(_ id: String) {
        guard let pod = pods[id], pod.phase != .stopping else { return }
        pod.activity.close()
        guard !pod.isPending else { return forget(id) }
        pods[id]?.phase = .stopping
        stopProbing(id)
        if pod.phase != .starting { work.yield { await self.drainAndRemove(id) } }
    }

    private func drainAndRemove(_ id: String) async {
        guard let pod = pods[id] else { return }
        let deadline = clock.instant() + grace(of: pod)
        await drain(pod, until: deadline)
        if !pod.isLost { await runPreStop(of: pod, until: deadline) }
        var backoff = RestartBackoff()
        while !Task.isCancelled {
            do {
                try await engine.stop(pod: id, grace: max(.zero, deadline - clock.instant()))
                break
            } catch {
                logger.warning("cannot remove replica; trying again: \(error)", metadata: ["replica": "\(id)"])
                let now = clock.instant()
                try? await clock.sleep(for: backoff.ended(startedAt: nil, now: now) - now)
            }
        }
        logger.info("replica stopped", metadata: ["api": "\(pod.api.name)", "replica": "\(id)"])
        forget(id)
    }

    /// How long the pod may take to end. When the platform itself stops, the dequeuer has already let the requests inside finish.
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

    /// Waits until no request is inside; when the grace period ends those inside are broken off and go back to the queue.
    private func drain(_ pod: Pod, until deadline: Instant) async {
        let activity = pod.activity
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [clock] in
                do {
                    try await clock.sleep(for: max(.zero, deadline - clock.instant()))
                    activity.cut()
                } catch {
                    // Everything inside ended before the grace period did; or the platform has no more time.
                    if activity.inFlight > 0 { activity.cut() }
                }
            }
            await activity.waitUntilIdle()
            group.cancelAll()
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
