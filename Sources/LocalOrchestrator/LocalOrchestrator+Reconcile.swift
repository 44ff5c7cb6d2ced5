import Core
import Logging

/// The comparison of what is declared with what runs, and the next steps.
extension LocalOrchestrator {
    func reconcile() async {
        defer { wakeLogReaders() }
        await learnCapacity()
        // What changes while the engine is asked is newer than its answer, and is not judged by it.
        let before = pods
        let observed: [ObservedPod]
        do {
            observed = try await engine.list()
            engineProblem = nil
        } catch {
            let problem = (error as? PlatformError)?.message ?? "the container engine does not answer"
            if engineProblem != problem { logger.error("cannot list pods: \(error)") }
            engineProblem = problem
            return
        }
        for pod in observed where pods[pod.id] == nil && before[pod.id] == nil { adopt(pod) }
        hasLooked = true
        let seen = Dictionary(observed.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        for (id, pod) in before where pod.phase == .running && pods[id]?.phase == .running {
            observe(pod, seen[id])
        }
        restartDueContainers()
        retryDueStarts()
        for name in Set(declared.keys).union(pods.values.map(\.api.name)).sorted() { roll(name) }
        admitPending()
        readLastLines()
        measureDisks()
        publishReady()
    }

    // MARK: Observation

    private func observe(_ before: Pod, _ observation: ObservedPod?) {
        if let observation, observation.isAlive {
            for container in observation.containers {
                let known = pods[before.id]?.containers[container.name]
                guard let known, !known.isRestarting, known == before.containers[container.name] else { continue }
                observe(container.state, of: container.name, known, in: before)
            }
        } else {
            logger.warning(
                "replica lost; it will be replaced",
                metadata: ["api": "\(before.api.name)", "replica": "\(before.id)"])
            lose(before.id)
        }
    }

    private func lose(_ id: String) {
        pods[id]?.reason = "its supervisor process died"
        pods[id]?.isLost = true
        stop(id)
    }

    private func observe(_ state: ObservedContainer.State, of name: String, _ known: Pod.Container, in pod: Pod) {
        let now = clock.instant()
        var container = known
        container.state = state
        switch state {
        case .running: break
        case .created:
            if container.restartAt == nil { container.restartAt = now }
        case .exited(let exit):
            guard container.restartAt == nil else { return }
            let restartAt = container.backoff.ended(startedAt: container.startedAt, now: now)
            container.restartAt = restartAt
            let sentence = pods[pod.id]?.livenessFailure ?? exit.sentence(of: name)
            pods[pod.id]?.reason = sentence
            pods[pod.id]?.lastExit = sentence
            pods[pod.id]?.livenessFailure = nil
            if exit.outOfMemory { pod.activity.expectLoss(.outOfMemory(container: name)) }
            pods[pod.id]?.linesReadAt = nil
            logger.warning(
                "container exited",
                metadata: [
                    "api": "\(pod.api.name)", "replica": "\(pod.id)", "container": "\(name)",
                    "exit_code": "\(exit.code)", "out_of_memory": "\(exit.outOfMemory)",
                ])
            stopProbing(pod.id)
            reconcile(at: restartAt)
        }
        pods[pod.id]?.containers[name] = container
    }

    /// Takes over a pod that an earlier process of the platform started; what nobody declares any more is stopped.
    private func adopt(_ observation: ObservedPod) {
        guard let declaration = declared[observation.api] else {
            logger.info("removing a pod that no deployed API owns", metadata: ["replica": "\(observation.id)"])
            work.yield { [engine, logger] in
                do {
                    try await engine.stop(pod: observation.id, grace: .seconds(10))
                } catch {
                    logger.warning("cannot remove pod \(observation.id): \(error)")
                }
            }
            return
        }
        var pod = Pod(
            id: observation.id, api: declaration.api, podID: observation.podID,
            deploymentID: observation.deploymentID, createdAt: observation.createdAt,
            plan: plan(for: declaration.api, id: observation.id, createdAt: observation.createdAt), phase: .running)
        pod.wasReady = true
        let began = clock.instant() - max(.zero, clock.now() - observation.createdAt)
        for container in observation.containers {
            pod.containers[container.name] = Pod.Container(state: .running, startedAt: began)
        }
        pods[pod.id] = pod
        guard observation.isAlive else {
            // The machine or the engine went down with it.
            logger.warning(
                "a replica did not outlive the platform; it will be replaced",
                metadata: ["api": "\(pod.api.name)", "replica": "\(pod.id)"])
            return lose(pod.id)
        }
        logger.info("adopted", metadata: ["api": "\(pod.api.name)", "replica": "\(pod.id)"])
        startProbing(pod.id)
        // How containers ended meanwhile is judged by the next look.
        if observation.containers.contains(where: { $0.state != .running }) { reconcileSoon() }
    }

    // MARK: Steps

    private func restartDueContainers() {
        let now = clock.instant()
        for (id, pod) in pods where pod.phase == .running {
            for (name, container) in pod.containers {
                guard let restartAt = container.restartAt, restartAt <= now,
                    !container.isRestarting
                else { continue }
                pods[id]?.containers[name]?.isRestarting = true
                work.yield { await self.restart(name, of: id) }
            }
        }
    }

    private func retryDueStarts() {
        let now = clock.instant()
        for (id, pod) in pods {
            guard case .startFailed(let retryAt) = pod.phase, retryAt <= now else {
                continue
            }
            pods[id]?.phase = .starting
            work.yield { await self.start(id) }
        }
    }

    func roll(_ name: String) {
        let declaration = declared[name]
        let replicas = pods.values.filter { $0.api.name == name && $0.phase != .stopping }.map { pod in
            pod.rolloutReplica(isCurrent: declaration.map { pod.isCurrent($0.api) } ?? false)
        }
        guard let declaration else {
            for replica in replicas { stop(replica.id) }
            return
        }
        let steps = Rollout.steps(
            wanted: declaration.replicas, strategy: declaration.api.specification.updateStrategy, replicas: replicas,
            now: clock.instant())
        for id in steps.stop { stop(id) }
        // Those that stop are not counted any more: the next ones need not wait until they have drained.
        if !steps.stop.isEmpty { reconcileSoon() }
        for _ in 0..<steps.start { begin(declaration.api) }
    }
}
