import Core
import Logging
import Probes
import Support

/// Readiness and liveness probes of a running pod. A round of probing begins when all containers run, and ends when one
/// exits or the pod stops.
extension LocalOrchestrator {
    func startProbing(_ id: String) {
        stopProbing(id)
        guard let pod = pods[id], pod.containers.values.allSatisfy({ $0.state == .running }) else { return }
        // A run serves no requests.
        let gates = pod.isRun ? [] : ReadinessPlan.probes(of: pod.api.specification.pod)
        let liveness = pod.api.specification.pod.containers.compactMap { container in
            container.livenessProbe.map { (container.name, $0) }
        }
        let round = pod.probeRound + 1
        let (end, continuation) = AsyncStream.makeStream(of: Never.self)
        pods[id]?.probeRound = round
        if pods[id]?.unreadySince == nil { pods[id]?.unreadySince = clock.instant() }
        pods[id]?.probes = Array(repeating: false, count: gates.count)
        pods[id]?.probing = continuation
        work.yield {
            await withTaskGroup(of: Bool.self) { group in
                for (index, gate) in gates.enumerated() {
                    group.addTask {
                        await self.run(gate, index, of: id, round)
                        return false
                    }
                }
                for (container, probe) in liveness {
                    group.addTask {
                        await self.runLiveness(probe, of: container, id, round)
                        return false
                    }
                }
                group.addTask {
                    for await _ in end {}
                    return true
                }
                for await isEnd in group where isEnd { break }
                group.cancelAll()
            }
        }
    }

    func stopProbing(_ id: String) {
        pods[id]?.probing?.finish()
        pods[id]?.probing = nil
        pods[id]?.probes = []
        if pods[id]?.unreadySince == nil { pods[id]?.unreadySince = clock.instant() }
        publishReady()
    }

    // MARK: Readiness

    private func run(_ gate: GatingProbe, _ index: Int, of id: String, _ round: Int) async {
        let runner = runner(container: gate.container ?? "", pod: id)
        guard let periodOncePassing = gate.periodOncePassing else {
            await runner.run(gate.probe) { report in await self.note(report, index, of: id, round) }
            return
        }
        // The platform's own probe runs seldom once it passes, because the dequeuer notices a closed port first.
        let began = clock.instant()
        while !Task.isCancelled {
            let report: ProbeReport
            let wait: Duration
            switch await runner.check(gate.probe) {
            case .failure(let reason):
                report = ProbeReport(isHealthy: false, reason: reason)
                wait = Self.pause(after: clock.instant() - began, upTo: gate.probe.period)
            default:
                report = ProbeReport(isHealthy: true)
                wait = periodOncePassing
            }
            note(report, index, of: id, round)
            guard (try? await clock.sleep(for: wait)) != nil else { return }
        }
    }

    /// The delay between two probes of a port that is not open yet: a small fraction of the time since the start, so
    /// that waiting for the next probe makes no start much longer.
    static func pause(after elapsed: Duration, upTo period: Duration) -> Duration {
        min(period, max(.milliseconds(10), elapsed / 20))
    }

    private func note(_ report: ProbeReport, _ index: Int, of id: String, _ round: Int) {
        guard let pod = pods[id], pod.probeRound == round, pod.probes.indices.contains(index) else { return }
        let wasReady = pod.isReady
        pods[id]?.probes[index] = report.isHealthy
        if let reason = report.reason { pods[id]?.reason = reason }
        guard let isReady = pods[id]?.isReady, isReady != wasReady else { return }
        if isReady {
            pods[id]?.reason = nil
            pods[id]?.lastExit = nil
            pods[id]?.exitsInRow = 0
            pods[id]?.lastLines = []
            pods[id]?.linesReadAt = nil
            pods[id]?.wasReady = true
            noteHistory(of: pod) { $0.becameReady() }
            pod.activity.expectNoLoss()
        }
        pods[id]?.unreadySince = isReady ? nil : clock.instant()
        logger.info(
            isReady ? "replica ready" : "replica not ready",
            metadata: ["api": "\(pod.api.name)", "replica": "\(id)", "reason": "\(report.reason ?? "")"])
        publishReady()
        reconcileSoon()
    }

    private func runner(container: String, pod: String) -> ProbeRunner {
        ProbeRunner(connector: engine.connector(pod: pod), clock: clock) { [engine] command, timeout in
            try await withOperation("run command in \(container)", pod) {
                try await engine.exec(command, container: container, pod: pod, timeout: timeout)
            }
        }
    }

    // MARK: Liveness

    private func runLiveness(_ probe: Probe, of container: String, _ id: String, _ round: Int) async {
        await runner(container: container, pod: id).run(probe, startsHealthy: true) { report in
            if !report.isHealthy { await self.livenessFailed(container, of: id, round, reason: report.reason) }
        }
    }

    /// Stops the container. Its exit is then observed like any other, and it is restarted after its backoff.
    private func livenessFailed(_ container: String, of id: String, _ round: Int, reason: String?) {
        guard let pod = pods[id], pod.probeRound == round, pod.phase == .running else { return }
        logger.warning(
            "liveness probe failed; ending the container",
            metadata: [
                "api": "\(pod.api.name)", "replica": "\(id)", "container": "\(container)", "reason": "\(reason ?? "")",
            ])
        let failure = "liveness probe of \(container) failed: \(reason ?? "no answer")"
        if pod.isRun {
            handle(.livenessFailed(reason: failure), of: id)
            return publishRuns()
        }
        // Set before the container is killed, so that a request that loses its connection finds the reason.
        pods[id]?.activity.expectLoss(.livenessProbe("\(container): \(reason ?? "no answer")"))
        pods[id]?.reason = failure
        pods[id]?.livenessFailure = failure
        stopProbing(id)
        work.yield { await self.stopContainer(container, of: id) }
    }

    private func stopContainer(_ container: String, of id: String) async {
        let grace = Duration.seconds(10)
        do {
            try await operate("stop container \(container)", on: id, limit: grace + Limits.engineStop) {
                try await $0.stop(container: container, of: id, grace: grace)
            }
        } catch {
            guard pods[id]?.phase == .running, !Task.isCancelled else { return }
            logger.warning(
                "cannot stop container: \(EngineCalls.text(of: error))",
                metadata: ["replica": "\(id)", "container": "\(container)"])
            pods[id]?.activity.expectNoLoss()
            startProbing(id)
        }
        reconcileSoon()
    }

    // MARK: Before the stop

    /// Runs the containers' `pre_stop` hooks concurrently, within the grace period. A failure is logged and delays
    /// nothing.
    func runPreStop(of pod: Pod, until deadline: Instant) async {
        await withTaskGroup(of: Void.self) { group in
            for container in pod.api.specification.pod.containers {
                guard let hook = container.preStop else { continue }
                let timeout = max(.seconds(1), deadline - clock.instant())
                let runner = runner(container: container.name, pod: pod.id)
                group.addTask { [logger] in
                    let handler: Probe.Handler =
                        switch hook {
                        case .httpGet(let get): .httpGet(get)
                        case .exec(let command): .exec(command: command)
                        }
                    if case .failure(let reason) = await runner.check(Probe(handler: handler, timeout: timeout)) {
                        logger.warning(
                            "pre_stop failed: \(reason)",
                            metadata: ["replica": "\(pod.id)", "container": "\(container.name)"])
                    }
                }
            }
        }
    }
}
