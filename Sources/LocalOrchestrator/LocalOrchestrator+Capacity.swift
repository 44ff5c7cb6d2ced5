package import Core
import Logging

/// Room on the machine: what is reserved, and which of the waiting replicas may start.
extension LocalOrchestrator {
    /// How long the machine's size is believed.
    private static let capacityAge: Duration = .seconds(60)

    package func capacity() async -> Capacity? {
        await learnCapacity()
        return machine.map { Capacity(total: $0, reserved: reserved) }
    }

    /// What all replicas reserve that are on the machine in any state.
    private var reserved: ComputeAmount {
        pods.values.filter { !$0.isPending }.reduce(ComputeAmount()) { $0 + $1.amount }
    }

    func learnCapacity() async {
        let now = clock.instant()
        if machine != nil, let machineAskedAt, now - machineAskedAt < Self.capacityAge { return }
        machineAskedAt = now
        do {
            let found = try await ask("ask for capacity", engine.name, limit: Limits.engineQuery) {
                await $0.capacity()
            }
            if let found { machine = found }
        } catch {
            // What was known before still holds; it is asked for again.
            if !Task.isCancelled { logger.debug("cannot learn the machine's capacity: \(error)") }
        }
    }

    /// Starts what fits of what waits.
    func admitPending() {
        let waiting = pods.values.compactMap { pod -> Admission.Candidate? in
            guard case .pending(let since) = pod.phase else { return nil }
            if let hold = diskHold(of: pod.api.name) {
                pods[pod.id]?.reason = hold
                return nil
            }
            return Admission.Candidate(id: pod.id, api: pod.api.name, amount: pod.amount, since: since)
        }
        guard !waiting.isEmpty else { return }
        let running = pods.values.filter { !$0.isPending && $0.phase != .stopping }.reduce(into: [String: Int]()) {
            $0[$1.api.name, default: 0] += 1
        }
        let verdict = Admission.verdict(
            waiting, running: running, capacity: machine.map { Capacity(total: $0, reserved: reserved) },
            now: clock.instant())
        for (id, reason) in verdict.reasons {
            if pods[id]?.reason == nil {
                logger.info(
                    "replica waits",
                    metadata: ["api": "\(pods[id]?.api.name ?? "")", "replica": "\(id)", "reason": "\(reason)"])
            }
            pods[id]?.reason = reason
        }
        for id in verdict.admitted {
            pods[id]?.phase = .starting
            pods[id]?.reason = nil
            work.yield { await self.start(id) }
        }
    }
}
