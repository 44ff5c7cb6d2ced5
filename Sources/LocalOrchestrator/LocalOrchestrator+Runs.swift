package import Core
import Logging
import Support

/// The runs of Task jobs: performs what ``RunMachine`` decides. A run has an entry in the table of pods from its
/// beginning until its pod is removed, so that admission, probes, disk limits and logs hold for it as for replicas.
extension LocalOrchestrator: JobRunner {
    struct Run: Sendable {
        let plan: RunPlan
        var machine: RunMachine
        /// When the run is over by its timeout, on the monotonic clock.
        var deadline: Instant?
        var failingSince: Timestamp?
        /// Whether its containers are being stopped.
        var isStopping = false
        /// The last lines of the container that exited first; `nil` while they are not read.
        var lastLines: [String]?
    }

    package func start(_ plan: RunPlan) {
        declare(plan, mayStart: true)
    }

    package func resume(_ plan: RunPlan) {
        declare(plan, mayStart: false)
    }

    private func declare(_ plan: RunPlan, mayStart: Bool) {
        guard runTable[plan.pod] == nil else { return }
        runTable[plan.pod] = Run(plan: plan, machine: RunMachine(plan, mayStart: mayStart))
        // Later, only pods of declared runs remain, so there is none with this id.
        if hasListed {
            handle(.listed(nil), of: plan.pod)
            if engineProblem == nil { admitPending() }
        }
        publishRuns()
        reconcileSoon()
    }

    package func stop(run pod: String, grace: Duration) {
        handle(.stopRequested(grace: grace), of: pod)
        publishRuns()
    }

    package func acknowledge(run pod: String) {
        handle(.acknowledged, of: pod)
        publishRuns()
    }

    package nonisolated func runs() -> AsyncStream<[RunState]> { runStates.stream() }

    package func artifactsFolder(run pod: String) async throws -> String? {
        try await calls.ask("find artifacts", pod, limit: Limits.engineQuery) { try await $0.artifactsFolder(pod: pod) }
    }

    package func logs(task jobID: String, options: LogOptions) throws -> LogStream<ReplicaLogBatch> {
        let set = RunPlan.set(of: jobID)
        guard runTable.values.contains(where: { $0.plan.set == set }) else {
            throw PlatformError(.notFound, "no container of job \(jobID) runs")
        }
        let known = Swift.Set(pods.values.filter { $0.set == set }.flatMap { $0.plan.containers.map(\.name) })
        if let container = options.container, !known.isEmpty, !known.contains(container) {
            let names = known.sorted().joined(separator: ", ")
            throw PlatformError(.notFound, "job \(jobID) has no container \(container); it has \(names)")
        }
        return LogStream { write in try await self.copyLogs(of: set, options, to: write) }
    }

    // MARK: Events

    /// Passes an event to a run's machine and performs the actions.
    func handle(_ event: RunMachine.Event, of id: String) {
        guard var run = runTable[id] else { return }
        let wasOccupying = run.machine.occupiesMachine
        let actions = run.machine.handle(event, now: clock.now())
        if run.machine.deadline == nil {
            run.deadline = nil
        } else if run.deadline == nil, let deadline = run.machine.deadline {
            run.deadline = clock.instant() + max(.zero, deadline - clock.now())
        }
        runTable[id] = run
        for action in actions { perform(action, run) }
        if wasOccupying, case .over(let end)? = runTable[id]?.machine.state { ended(id, end) }
    }

    private func perform(_ action: RunMachine.Action, _ run: Run) {
        let id = run.plan.pod
        switch action {
        case .begin: begin(run.plan)
        case .adopt: adopt(run.plan)
        case .cancelStart: cancelStart(id)
        case .stopContainers(let containers, let grace): stopContainers(containers, of: id, grace: grace)
        case .remove: work.yield { await self.removeRun(id) }
        }
    }

    private func begin(_ plan: RunPlan) {
        var pod = pod(of: plan, createdAt: clock.now())
        pod.phase = .pending(since: clock.instant())
        pods[plan.pod] = pod
    }

    private func adopt(_ plan: RunPlan) {
        var pod = pod(of: plan, createdAt: runTable[plan.pod]?.machine.startedAt ?? clock.now())
        let now = clock.instant()
        for container in pod.plan.containers {
            pod.containers[container.name] = Pod.Container(state: .running, startedAt: now)
        }
        pods[plan.pod] = pod
        logger.info("adopted", metadata: ["api": "\(plan.api.name)", "run": "\(plan.pod)"])
        if runTable[plan.pod]?.machine.state == .running { startProbing(plan.pod) }
    }

    private func pod(of plan: RunPlan, createdAt: Timestamp) -> Pod {
        let podPlan = PodPlan(
            of: plan, createdAt: createdAt, clientConfiguration: configuration.clientConfiguration(plan.api, plan.pod))
        return Pod(
            id: plan.pod, api: plan.api, worker: plan.worker, isRun: true, podID: plan.api.podID,
            deploymentID: plan.api.deploymentID, createdAt: createdAt, plan: podPlan, phase: .running)
    }

    /// Its containers were started.
    func runStarted(_ id: String) {
        runTable[id]?.failingSince = nil
        handle(.started, of: id)
        setAlarm()
        publishRuns()
    }

    func runStartFailed(_ id: String) {
        guard let run = runTable[id] else { return }
        runTable[id]?.failingSince = run.failingSince ?? clock.now()
        publishRuns()
    }

    /// Compares the declared runs with what the engine lists.
    ///
    /// - Parameter before: the runs that were declared before the engine was asked.
    func observeRuns(_ seen: [String: ObservedPod], before: [String: Run]) {
        for (id, run) in before {
            // A run that changed during the call is newer than the engine's answer.
            guard let present = runTable[id], present.machine == run.machine else { continue }
            handle(.listed(seen[id]), of: id)
            note(seen[id], of: id)
        }
        let now = clock.instant()
        for (id, run) in runTable where run.deadline.map({ $0 <= now }) ?? false { handle(.timedOut, of: id) }
        publishRuns()
    }

    /// Notes the states of the containers, for probes and logs.
    private func note(_ observed: ObservedPod?, of id: String) {
        guard let observed, pods[id]?.phase == .running else { return }
        for container in observed.containers { pods[id]?.containers[container.name]?.state = container.state }
        if pods[id]?.probing != nil, pods[id]?.containersRun != true { stopProbing(id) }
    }

    // MARK: The end

    private func cancelStart(_ id: String) {
        guard let pod = pods[id] else { return handle(.startCancelled, of: id) }
        guard !pod.isPending else {
            pods[id] = nil
            return handle(.startCancelled, of: id)
        }
        pods[id]?.phase = .stopping
        pod.operations.cancel()
        work.yield {
            await self.waitForOperations(on: pod)
            guard await self.removePod(id, keepingLogs: false) else { return }
            await self.startWasCancelled(id)
        }
    }

    private func startWasCancelled(_ id: String) {
        pods[id] = nil
        handle(.startCancelled, of: id)
        publishRuns()
        reconcileSoon()
    }

    private func stopContainers(_ containers: [String], of id: String, grace: Duration) {
        guard runTable[id]?.isStopping == false else { return }
        runTable[id]?.isStopping = true
        stopProbing(id)
        work.yield {
            await self.end(containers, of: id, grace: grace)
            await self.containersStopped(id)
        }
    }

    private func containersStopped(_ id: String) {
        runTable[id]?.isStopping = false
        reconcileSoon()
    }

    /// A run is over: reads its last lines if it failed, then publishes it.
    private func ended(_ id: String, _ end: RunEnd) {
        logger.info(
            "run is over",
            metadata: [
                "run": "\(id)", "cause": "\(end.cause.rawValue)",
                "exit_code": "\(end.exit.map { "\($0.code)" } ?? "-")",
            ])
        stopProbing(id)
        guard !end.isSuccess, let container = end.container, pods[id] != nil else {
            runTable[id]?.lastLines = []
            return
        }
        work.yield {
            var lines: [String] = []
            do {
                lines = try await withTimeLimit(Limits.runLastLines, clock: self.clock) { [engine = self.engine] in
                    try await engine.lastLines(container: container, pod: id, count: 5, since: nil)?.lines ?? []
                }
            } catch {
                self.logger.debug("cannot read the last lines: \(error)", metadata: ["run": "\(id)"])
            }
            await self.noteLastLines(lines, of: id)
        }
    }

    private func noteLastLines(_ lines: [String], of id: String) {
        runTable[id]?.lastLines = lines.map(Self.shortened)
        publishRuns()
    }

    private func removeRun(_ id: String) async {
        await waitForLogReaders(of: id)
        guard await removePod(id, keepingLogs: true) else { return }
        runTable[id] = nil
        forget(id)
        publishRuns()
    }

    // MARK: States

    /// Publishes the states of all runs if one has changed.
    func publishRuns() {
        guard !runTable.isEmpty || !publishedRuns.isEmpty else { return }
        let states = runTable.values.map(state).sorted {
            ($0.worker.set, $0.worker.index, $0.pod) < ($1.worker.set, $1.worker.index, $1.pod)
        }
        guard states != publishedRuns else { return }
        publishedRuns = states
        runStates.send(states)
    }

    private func state(of run: Run) -> RunState {
        let pod = pods[run.plan.pod]
        var state = RunState(
            pod: run.plan.pod, worker: run.plan.worker, phase: .waiting, startedAt: run.machine.startedAt,
            failingSince: run.failingSince)
        switch run.machine.state {
        case .declared: state.reason = engineProblem
        case .starting:
            switch pod?.phase {
            case .starting: state.phase = .starting
            case .startFailed: state.phase = .startFailed
            default: break
            }
            state.reason = engineProblem ?? pod?.reason
        case .running: state.phase = .running
        case .ending(let end, _): state.phase = .ending(end)
        case .over(let end):
            // With its last lines.
            state.phase = run.lastLines == nil ? .ending(end) : .over(end)
            state.lastLines = run.lastLines ?? []
        case .removing: state.phase = .removing
        }
        return state
    }
}
