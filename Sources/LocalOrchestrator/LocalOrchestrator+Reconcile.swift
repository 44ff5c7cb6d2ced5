import Core
import Logging

/// The comparison of what is declared with what runs, and the next steps.
extension LocalOrchestrator {
    func reconcile() async {
        defer { wakeLogReaders() }
        await learnCapacity()
        // Changes during the call are newer than the engine's answer, which is compared with the state before it.
        let before = pods
        let runsBefore = runTable
        let observed: [ObservedPod]
        do {
            observed = try await calls.ask("list pods", engine.name, limit: Limits.engineQuery) { try await $0.list() }
            engineProblem = nil
        } catch {
            // The platform ends; this is no problem of the engine.
            if Task.isCancelled || error is CancellationError { return }
            let problem = (error as? PlatformError)?.message ?? "the container engine does not answer"
            if engineProblem != problem { logger.error("cannot list pods: \(EngineCalls.text(of: error))") }
            engineProblem = problem
            publishRuns()
            return
        }
        for pod in observed where pods[pod.id] == nil && before[pod.id] == nil && runTable[pod.id] == nil {
            adopt(pod)
        }
        hasListed = true
        let seen = Dictionary(observed.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        for (id, pod) in before where pod.phase == .running && pods[id]?.phase == .running && !pod.isRun {
            observe(pod, seen[id])
        }
        observeRuns(seen, before: runsBefore)
        restartDueContainers()
        retryDueStarts()
        for name in Set(declared.keys).union(pods.values.filter { !$0.isRun }.map(\.set)).sorted() { roll(name) }
        admitPending()
        readLastLines()
        measureDisks()
        publishReady()
        setAlarm()
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
        let reason = "its supervisor process died"
        pods[id]?.reason = reason
        pods[id]?.isLost = true
        pods[id]?.activity.cut(.podLost(reason))
        stop(id)
    }

    private func observe(_ state: ObservedContainer.State, of name: String, _ known: Pod.Container, in pod: Pod) {
        let now = clock.instant()
        var container = known
        switch state {
        case .running: container.state = state
        case .created:
            container.state = state
            if container.restartAt == nil { container.restartAt = now }
        case .exited(let exit):
            guard container.restartAt == nil, known.state != state else { return }
            container.exited(exit, pod.plan.restart, now: now)
            let sentence = pods[pod.id]?.livenessFailure ?? exit.sentence(of: name)
            pods[pod.id]?.reason = sentence
            pods[pod.id]?.lastExit = sentence
            pods[pod.id]?.exitsInRow += 1
            pods[pod.id]?.livenessFailure = nil
            pods[pod.id]?.linesReadAt = nil
            logger.warning(
                "container exited",
                metadata: [
                    "api": "\(pod.api.name)", "replica": "\(pod.id)", "container": "\(name)",
                    "exit_code": "\(exit.code)", "out_of_memory": "\(exit.outOfMemory)",
                ])
            noteHistory(of: pod) { $0.exited(exit) }
            stopProbing(pod.id)
        }
        pods[pod.id]?.containers[name] = container
    }

    /// Adopts a pod that an earlier process of the platform started, or removes it if its owner is no longer declared.
    private func adopt(_ observation: ObservedPod) {
        let origin = observation.owner.version
        let worker = observation.owner.worker
        guard let declaration = declared[worker?.set ?? origin.name], (declaration.job == nil) == (worker == nil) else {
            // One removal at a time: the engine lists the pod until it is gone.
            guard foreign.insert(observation.id).inserted else { return }
            logger.info("removing a pod that no deployed API or job owns", metadata: ["replica": "\(observation.id)"])
            work.yield { await self.removeForeign(observation) }
            return
        }
        // A job keeps its version.
        let version = worker == nil ? version(of: origin, declared: declaration.api) : declaration.api
        if version == nil {
            logger.warning(
                "the version of a replica is not recorded any more; it is kept until others serve",
                metadata: [
                    "api": "\(origin.name)", "replica": "\(observation.id)", "api.id": "\(origin.apiID)",
                ])
        }
        let api = version ?? declaration.api.standIn
        var plan = plan(for: api, id: observation.id, createdAt: observation.createdAt)
        if let worker, let job = declaration.job {
            plan = self.plan(
                forWorker: worker.index, of: declaration, job, id: observation.id, createdAt: observation.createdAt)
        }
        var pod = Pod(
            id: observation.id, api: api, worker: worker, podID: origin.podID, deploymentID: origin.deploymentID,
            createdAt: observation.createdAt, plan: plan, phase: .running)
        pod.isVersionKnown = version != nil
        pod.wasReady = true
        let began = clock.instant() - max(.zero, clock.now() - observation.createdAt)
        for container in observation.containers {
            pod.containers[container.name] = Pod.Container(state: .running, startedAt: began)
        }
        pods[pod.id] = pod
        guard observation.isAlive else {
            // The machine or the engine was stopped with it.
            logger.warning(
                "a replica did not outlive the platform; it will be replaced",
                metadata: ["api": "\(pod.api.name)", "replica": "\(pod.id)"])
            return lose(pod.id)
        }
        logger.info("adopted", metadata: ["api": "\(pod.api.name)", "replica": "\(pod.id)"])
        startProbing(pod.id)
        // The next reconcile observes containers that ended meanwhile.
        if observation.containers.contains(where: { $0.state != .running }) { reconcileSoon() }
    }

    /// The version from which a pod was started, or a later one that changed nothing about pods.
    private func version(of origin: PodOwner.Version, declared: DeployedAPI) -> DeployedAPI? {
        func isSame(_ version: DeployedAPI) -> Bool {
            version.podID == origin.podID && version.deploymentID == origin.deploymentID
        }
        if isSame(declared) { return declared }
        let known = versions[origin.name] ?? []
        return known.first(where: isSame) ?? known.first { $0.id == origin.apiID }
            ?? known.first { $0.podID == origin.podID }
    }

    private func removeForeign(_ observation: ObservedPod) async {
        let id = observation.id
        defer { foreign.remove(id) }
        var grace = Duration.seconds(10)
        do {
            if let worker = observation.owner.worker, configuration.recorder != nil {
                let containers = observation.containers.map(\.name)
                if observation.isAlive { await end(containers, of: id, grace: grace) }
                try await keepLogs(of: containers, pod: id, worker)
                grace = .zero
            }
            try await calls.ask("stop pod", id, limit: grace + Limits.engineStop) { [grace] in
                try await $0.stop(pod: id, grace: grace)
            }
        } catch {
            if !Task.isCancelled {
                logger.warning("cannot remove pod \(id); trying again: \(EngineCalls.text(of: error))")
            }
        }
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
        if let declaration, declaration.job != nil { return rollWorkers(declaration) }
        let replicas = pods.values.filter { $0.set == name && !$0.isRun && $0.phase != .stopping }.map { pod in
            pod.rolloutReplica(
                isCurrent: declaration.map { pod.isCurrent($0.api) } ?? false, now: clock.instant())
        }
        guard let declaration else {
            for replica in replicas { stop(replica.id) }
            return
        }
        let steps = Rollout.steps(
            wanted: declaration.count, strategy: declaration.api.specification.updateStrategy, replicas: replicas,
            now: clock.instant())
        for id in steps.stop { stop(id) }
        // Stopping replicas do not count any more, so the next step need not wait until they have drained.
        if !steps.stop.isEmpty { reconcileSoon() }
        for _ in 0..<steps.start { begin(declaration.api) }
    }
}

extension DeployedAPI {
    /// The substitute for the unrecorded version of a pod. Its port is probably the same; its probes and hooks may
    /// differ, so none of them run.
    fileprivate var standIn: DeployedAPI {
        var api = self
        for index in api.specification.pod.containers.indices {
            api.specification.pod.containers[index].readinessProbe = nil
            api.specification.pod.containers[index].livenessProbe = nil
            api.specification.pod.containers[index].preStop = nil
        }
        return api
    }
}
