package import Core
import Logging

/// Decides which of the replicas that wait for space on the machine may start now. Pure.
///
/// Order: the API with the fewest replicas, then the longest wait. A replica that does not fit is skipped. To avoid
/// starvation of large replicas, an API that has none and has waited for a minute holds back the APIs that have some,
/// and during every second span of five minutes all APIs. Not all the time, because the running replicas may never
/// leave.
enum Admission {
    struct Candidate: Sendable, Hashable {
        var id: String
        var api: String
        var amount: ComputeAmount
        var since: Instant
    }

    struct Verdict: Sendable, Hashable {
        /// The replicas that may start, in this order.
        var admitted: [String] = []
        /// Why each of the other replicas waits.
        var reasons: [String: String] = [:]
    }

    /// How long an API without any replica waits before it holds others back.
    static let waitBeforeFavour: Duration = .seconds(60)
    /// It holds back all APIs in every second of such spans. In seconds.
    static let span: Int64 = 300

    /// - Parameters:
    ///   - running: the number of replicas that have space already, by API.
    ///   - capacity: `nil` when the capacity of the machine is not known: then all may start.
    static func verdict(
        _ waiting: [Candidate], running: [String: Int], capacity: Capacity?, now: Instant
    ) -> Verdict {
        var verdict = Verdict()
        guard var capacity else {
            verdict.admitted = waiting.sorted { ($0.since, $0.id) < ($1.since, $1.id) }.map(\.id)
            return verdict
        }
        var running = running
        var rest = waiting
        while !rest.isEmpty {
            rest.sort {
                (running[$0.api] ?? 0, $0.since, $0.id) < (running[$1.api] ?? 0, $1.since, $1.id)
            }
            guard let next = admissible(rest, running, capacity, now, &verdict.reasons) else { break }
            let candidate = rest.remove(at: next)
            verdict.admitted.append(candidate.id)
            verdict.reasons[candidate.id] = nil
            capacity.reserved = capacity.reserved + candidate.amount
            running[candidate.api, default: 0] += 1
        }
        return verdict
    }

    /// The index of the first replica that may start. Notes why those before it wait.
    private static func admissible(
        _ ordered: [Candidate], _ running: [String: Int], _ capacity: Capacity, _ now: Instant,
        _ reasons: inout [String: String]
    ) -> Int? {
        var favoured: Candidate?
        for (index, candidate) in ordered.enumerated() {
            if let lack = capacity.lack(for: candidate.amount) {
                reasons[candidate.id] = lack
                let hasNone = (running[candidate.api] ?? 0) == 0
                let isPossible = Capacity(total: capacity.total).lack(for: candidate.amount) == nil
                if favoured == nil, hasNone, isPossible, now - candidate.since >= waitBeforeFavour {
                    favoured = candidate
                }
            } else if let favoured, favoured.api != candidate.api,
                (running[candidate.api] ?? 0) > 0 || isUrgent(favoured, now),
                candidate.amount.competes(with: favoured.amount)
            {
                reasons[candidate.id] = "waits for room: \(favoured.api) has none yet and comes first"
            } else {
                return index
            }
        }
        return nil
    }

    private static func isUrgent(_ candidate: Candidate, _ now: Instant) -> Bool {
        (now - candidate.since).components.seconds / span % 2 == 1
    }
}

extension Capacity {
    /// The reason why a replica with `amount` does not fit now, in one line; `nil` if it fits.
    ///
    /// A resource that is not requested is never missing, even if more is reserved than available.
    func lack(for amount: ComputeAmount) -> String? {
        if amount.cpu > 0, amount.cpu > total.cpu - min(total.cpu, reserved.cpu) {
            return Self.sentence("cpu", amount.cpu, reserved.cpu, total.cpu) { "\($0)m" }
        }
        if amount.memory > 0, amount.memory > total.memory - min(total.memory, reserved.memory) {
            return Self.sentence("mem", amount.memory, reserved.memory, total.memory) { "\($0 >> 20)Mi" }
        }
        if amount.gpu > 0, amount.gpu > total.gpu - min(total.gpu, reserved.gpu) {
            return Self.sentence("gpu", amount.gpu, reserved.gpu, total.gpu) { "\($0)" }
        }
        return nil
    }

    private static func sentence(
        _ name: String, _ wanted: Int64, _ taken: Int64, _ total: Int64, _ text: (Int64) -> String
    ) -> String {
        "waits for room: it declares \(text(wanted)) of \(name), \(text(taken)) of this machine's \(text(total)) are taken"
    }
}

extension ComputeAmount {
    /// Whether both need a resource of the same kind.
    fileprivate func competes(with other: ComputeAmount) -> Bool {
        (cpu > 0 && other.cpu > 0) || (memory > 0 && other.memory > 0) || (gpu > 0 && other.gpu > 0)
    }
}

/// The capacity of the machine, and the start of the replicas that wait for it.
extension LocalOrchestrator {
    /// How long the engine's answer is used before it is asked again.
    private static let capacityAge: Duration = .seconds(60)

    package func capacity() async -> Capacity? {
        await learnCapacity()
        return machine.map { Capacity(total: $0, reserved: reserved) }
    }

    /// The resources of all replicas that are on the machine in any state.
    private var reserved: ComputeAmount {
        pods.values.filter { !$0.isPending }.reduce(ComputeAmount()) { $0 + $1.amount }
    }

    func learnCapacity() async {
        let now = clock.instant()
        if machine != nil, let machineAskedAt, now - machineAskedAt < Self.capacityAge { return }
        machineAskedAt = now
        do {
            let found = try await calls.ask("ask for capacity", engine.name, limit: Limits.engineQuery) {
                await $0.capacity()
            }
            if let found { machine = found }
        } catch {
            // The last answer is still used, and the engine is asked again.
            if !Task.isCancelled { logger.debug("cannot learn the machine's capacity: \(error)") }
        }
    }

    /// Starts the waiting replicas that fit.
    func admitPending() {
        let waiting = pods.values.compactMap { pod -> Admission.Candidate? in
            guard case .pending(let since) = pod.phase else { return nil }
            if let hold = disk.hold(of: pod.api.name) {
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
