package import Core
import Logging

/// Decides which of the replicas that wait for space on the machine may start now. Pure.
///
/// Order: the API with the fewest replicas, then the longest wait. A replica that does not fit is skipped. To avoid
/// starvation of large replicas, an API that has none and has waited for a minute holds back the APIs that have some,
/// and during every second span of five minutes all APIs. Not all the time, because the running replicas may never
/// leave.
///
/// Replicas of APIs and workers of jobs that wait at the same time take turns (contract J9). The workers of all jobs of
/// an API count as its replicas.
enum Admission {
    struct Candidate: Sendable, Hashable {
        var id: String
        var api: String
        var amount: ComputeAmount
        var since: Instant
        /// Whether it is a worker of a job.
        var isWorker = false
        /// Of the worker; lower ones start first.
        var index = 0

        fileprivate func isBefore(_ other: Candidate, turn: Bool?, _ running: [String: Int]) -> Bool {
            if let turn, isWorker != other.isWorker { return isWorker == turn }
            let (left, right) = (running[api] ?? 0, running[other.api] ?? 0)
            return (left, since, index, id) < (right, other.since, other.index, other.id)
        }
    }

    struct Verdict: Sendable, Hashable {
        /// The replicas that may start, in this order.
        var admitted: [String] = []
        /// Why each of the other replicas waits.
        var reasons: [String: String] = [:]
        /// Whether the one that was admitted last is a worker; as given when none was.
        var wasWorkerLast: Bool?
    }

    /// How long an API without any replica waits before it holds others back.
    static let waitBeforeFavour: Duration = .seconds(60)
    /// It holds back all APIs in every second of such spans. In seconds.
    static let span: Int64 = 300

    /// - Parameters:
    ///   - running: the number of replicas that have space already, by API.
    ///   - capacity: `nil` when the capacity of the machine is not known: then all may start.
    ///   - wasWorkerLast: ``Verdict/wasWorkerLast`` of the call before.
    static func verdict(
        _ waiting: [Candidate], running: [String: Int], capacity: Capacity?, wasWorkerLast: Bool? = nil, now: Instant
    ) -> Verdict {
        var verdict = Verdict()
        verdict.wasWorkerLast = wasWorkerLast
        guard var capacity else {
            verdict.admitted = waiting.sorted { ($0.since, $0.index, $0.id) < ($1.since, $1.index, $1.id) }.map(\.id)
            return verdict
        }
        var running = running
        var rest = waiting
        while !rest.isEmpty {
            let turn = turn(of: rest, after: verdict.wasWorkerLast)
            rest.sort { $0.isBefore($1, turn: turn, running) }
            guard let next = admissible(rest, running, capacity, turn, now, &verdict.reasons) else { break }
            let candidate = rest.remove(at: next)
            verdict.admitted.append(candidate.id)
            verdict.wasWorkerLast = candidate.isWorker
            verdict.reasons[candidate.id] = nil
            capacity.reserved = capacity.reserved + candidate.amount
            running[candidate.api, default: 0] += 1
        }
        return verdict
    }

    /// Whether workers (`true`) or replicas (`false`) are next; `nil` when only one of them waits.
    private static func turn(of waiting: [Candidate], after wasWorkerLast: Bool?) -> Bool? {
        guard let first = waiting.first, waiting.contains(where: { $0.isWorker != first.isWorker }) else { return nil }
        return !(wasWorkerLast ?? true)
    }

    /// The index of the first replica that may start. Notes why those before it wait.
    private static func admissible(
        _ ordered: [Candidate], _ running: [String: Int], _ capacity: Capacity, _ turn: Bool?,
        _ now: Instant, _ reasons: inout [String: String]
    ) -> Int? {
        var favoured: Candidate?
        for (index, candidate) in ordered.enumerated() {
            if let lack = capacity.lack(for: candidate.amount) {
                reasons[candidate.id] = lack
                let isNext = (running[candidate.api] ?? 0) == 0 || candidate.isWorker == turn
                let isPossible = Capacity(total: capacity.total).lack(for: candidate.amount) == nil
                if favoured == nil, isNext, isPossible, now - candidate.since >= waitBeforeFavour {
                    favoured = candidate
                }
            } else if let favoured, favoured.api != candidate.api,
                (running[candidate.api] ?? 0) > 0 || isUrgent(favoured, now),
                candidate.amount.competes(with: favoured.amount)
            {
                reasons[candidate.id] =
                    (running[favoured.api] ?? 0) == 0
                    ? "waits for room: \(favoured.api) has none yet and comes first"
                    : "waits for room: it is the turn of \(favoured.api)"
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
        pods.values.filter { !$0.isPending && usesMachine($0) }.reduce(ComputeAmount()) { $0 + $1.amount }
    }

    /// Whether containers of a pod run or may run. Those of a run that is over do not.
    private func usesMachine(_ pod: Pod) -> Bool { runTable[pod.id]?.machine.occupiesMachine ?? true }

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
            if let hold = disk.hold(of: pod.set) {
                pods[pod.id]?.reason = hold
                return nil
            }
            return Admission.Candidate(
                id: pod.id, api: pod.api.name, amount: pod.amount, since: since, isWorker: pod.worker != nil,
                index: pod.worker?.index ?? 0)
        }
        guard !waiting.isEmpty else { return }
        let running = pods.values.filter { !$0.isPending && $0.phase != .stopping && usesMachine($0) }.reduce(
            into: [String: Int]()
        ) {
            $0[$1.api.name, default: 0] += 1
        }
        let verdict = Admission.verdict(
            waiting, running: running, capacity: machine.map { Capacity(total: $0, reserved: reserved) },
            wasWorkerLast: wasWorkerAdmitted, now: clock.instant())
        for (id, reason) in verdict.reasons {
            if pods[id]?.reason == nil {
                logger.info(
                    "replica waits",
                    metadata: ["api": "\(pods[id]?.api.name ?? "")", "replica": "\(id)", "reason": "\(reason)"])
            }
            pods[id]?.reason = reason
        }
        wasWorkerAdmitted = verdict.wasWorkerLast
        for id in verdict.admitted {
            pods[id]?.phase = .starting
            pods[id]?.reason = nil
            work.yield { await self.start(id) }
        }
        publishRuns()
    }
}
