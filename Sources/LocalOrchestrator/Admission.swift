import Core

/// Which of the replicas that wait for room may start now. Pure.
///
/// Whoever has fewest replicas comes first, then who has waited longest; who does not fit lets others pass. So that
/// small replicas that come and go cannot keep a large one out for ever, an API that has none and has waited for a
/// minute holds back those that have some already, and for every other five minutes everybody: no longer, because
/// nobody knows whether those that run will ever leave.
enum Admission {
    struct Candidate: Sendable, Hashable {
        var id: String
        var api: String
        var amount: ComputeAmount
        var since: Instant
    }

    struct Verdict: Sendable, Hashable {
        /// In the order of their start.
        var admitted: [String] = []
        /// Why each of the others waits.
        var reasons: [String: String] = [:]
    }

    /// How long an API without any replica lets others pass.
    static let waitBeforeFavour: Duration = .seconds(60)
    /// It holds everybody back in every second of such spans.
    static let span: Int64 = 300

    /// - Parameters:
    ///   - running: for each API, its replicas that have room already.
    ///   - capacity: `nil` where the machine's is not known: then all may start.
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

    /// The first that may start; what was found against the others is noted.
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

extension ComputeAmount {
    /// Whether both ask for the same kind of thing.
    fileprivate func competes(with other: ComputeAmount) -> Bool {
        (cpu > 0 && other.cpu > 0) || (memory > 0 && other.memory > 0) || (gpu > 0 && other.gpu > 0)
    }
}
