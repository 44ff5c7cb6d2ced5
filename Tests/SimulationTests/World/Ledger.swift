import Core

@testable import StoreMemory

/// The facts about every request, recorded beside the store and checked by independent rules (contract A1, A2, A7, A10,
/// A11, A3).
///
/// Every operation is recorded in the same step in which it takes effect, so nothing can happen in between. `@unchecked
/// Sendable`: confined to its world's thread, see `Schedule`.
final class Ledger: @unchecked Sendable {
    /// The last known state of a request, and the allowed causes of a change.
    struct Known {
        let name: String
        let payload: [UInt8]
        var isAcknowledged = false
        var isGone = false
        var status: RequestStatus
        var attempts = 0
        var token: Int64 = 0
        var holder = ""
        var claimedAt: Int64 = 0
        /// Every lease is known to the store; a claim whose answer was lost has no holder.
        var leaseEnd: Timestamp?
        var notBefore: Timestamp?
        var queueDeadline: Timestamp?
        var purgeAt: Timestamp?
        var changedAt: Int64 = 0
        /// Failures that really happened to the current delivery.
        var excuses: [Excuse] = []
        /// The record of its end.
        var ending: RequestRecord?
    }

    struct Excuse: Hashable {
        var kind: RequestFailure.Kind
        var status: Int?
    }

    /// The answer of a container, or of a ghost.
    struct Answer {
        var id: RequestID
        var bytes: [UInt8]
        var isComplete = false
        var startedAt: Int64
    }

    enum Cause: String {
        case submit, claim, complete, fail, retry, release, restart, cancel, upkeep, retryByHand = "retry by hand"
    }

    let history: History
    let schedule: Schedule
    let policy: RequestPolicy
    /// Called with the first violated rule.
    var onViolation: (_ clause: String, _ text: String) -> Void = { _, _ in }
    private(set) var requests: [RequestID: Known] = [:]
    private(set) var order: [RequestID] = []
    var answers: [Answer] = []
    /// Whether the current delivery of a request is inside its holder, which is alive, and nothing prevented the
    /// extension of its lease.
    var isAtWork: (Known, RequestID) -> Bool = { _, _ in false }
    /// Checks later whether a container still works on a cancelled request.
    var watchCancelled: (RequestID) -> Void = { _ in }
    /// The time of the last refused connection to a replica, or one that was cut before anything was sent.
    var refusals: [String: Int64] = [:]

    init(_ history: History, _ schedule: Schedule, policy: RequestPolicy) {
        self.history = history
        self.schedule = schedule
        self.policy = policy
    }

    subscript(id: RequestID) -> Known? {
        get { requests[id] }
        set { requests[id] = newValue }
    }

    func name(_ id: RequestID) -> String { requests[id]?.name ?? "\(id)" }

    func expect(_ holds: Bool, _ clause: String, _ text: @autoclosure () -> String) {
        if !holds { onViolation(clause, text()) }
    }

    var open: [Known] { order.compactMap { requests[$0] }.filter { !$0.isGone && !$0.status.isEnded } }

    // MARK: Operations of callers

    func submitting(_ id: RequestID, payload: [UInt8]) {
        guard requests[id] == nil else { return }
        order.append(id)
        requests[id] = Known(name: "r\(order.count)", payload: payload, isGone: true, status: .inQueue)
    }

    func submitted(_ id: RequestID, _ result: SubmitResult, _ store: isolated MemoryStore, deadline: Timestamp?) {
        switch result {
        case .accepted:
            requests[id]?.isGone = false
            requests[id]?.queueDeadline = deadline
            requests[id]?.changedAt = schedule.elapsed
            expect(store.apis["api"]?.requests[id]?.status == .inQueue, "A1", "accepted, but not in the queue")
            history.count(.submitted)
        case .duplicate(let first):
            expect(requests[first] != nil, "A6", "a duplicate of a request that never was")
            history.count(.duplicate)
        default:
            break
        }
    }

    func acknowledged(_ id: RequestID) {
        requests[id]?.isAcknowledged = true
    }

    /// A read of a caller; `record` is the store's answer in this step.
    func read(_ id: RequestID, _ record: RequestRecord?, now: Timestamp) {
        guard let known = requests[id] else { return }
        guard let record else {
            let mayBeGone = known.isGone || (known.status.isEnded && known.purgeAt.map { $0 <= now } ?? false)
            expect(
                mayBeGone, "A1/C6", "\(known.name) is unknown, although it was accepted and its retention is not over")
            return
        }
        expect(
            record.status == known.status && record.attempts == known.attempts, "A2",
            "\(known.name) reads as \(record.status) with \(record.attempts) attempts, but is \(known.status) with \(known.attempts)"
        )
        if let ending = known.ending, known.status.isEnded {
            expect(record == ending, "A10", "\(known.name) reads differently from what was recorded when it ended")
        }
    }

    // MARK: Operations of the store

    func claimed(
        _ claims: [ClaimedRequest], holder: String, limit: Int, visibility: Duration, now: Timestamp,
        _ store: isolated MemoryStore
    ) {
        expect(claims.count <= limit, "C11", "\(claims.count) requests for \(limit) slots")
        for claim in claims {
            guard let known = requests[claim.id] else {
                expect(false, "A1", "a request that nobody sent was delivered")
                continue
            }
            expect(claim.lease.token > known.token, "A10", "\(known.name) got a token that is not newer than the last")
            expect(
                known.notBefore.map { $0 <= now } ?? true, "A11", "\(known.name) is delivered again before its time")
            expect(
                known.queueDeadline.map { now < $0 } ?? true, "A3", "\(known.name) is delivered after max_queue_time")
            expect(
                claim.attempts == known.attempts, "A11",
                "\(known.name) is delivered as attempt \(claim.attempts) + 1, but \(known.attempts) counted")
            requests[claim.id]?.token = claim.lease.token
            requests[claim.id]?.holder = holder
            requests[claim.id]?.claimedAt = schedule.elapsed
            requests[claim.id]?.leaseEnd = now + visibility
            requests[claim.id]?.excuses = []
            requests[claim.id]?.notBefore = nil
            move(claim.id, store, .claim, now)
        }
    }

    /// The current delivery of a request belongs to another replica than the claim's holder.
    func handedOver(_ id: RequestID, token: Int64, to replica: String) {
        guard let known = requests[id], known.status == .inProgress, known.token == token else { return }
        requests[id]?.holder = replica
    }

    func extended(_ leases: [Lease], lost: [Lease], visibility: Duration, now: Timestamp) {
        for lease in leases {
            guard let known = requests[lease.id] else { continue }
            let isGood = known.status == .inProgress && known.token == lease.token && !known.isGone
            expect(
                isGood != lost.contains(lease), "A10",
                "the lease \(lease.token) of \(known.name) was \(isGood ? "good" : "stale"), but the store says otherwise"
            )
            if isGood { requests[lease.id]?.leaseEnd = now + visibility } else { history.count(.leaseLost) }
        }
    }

    func finished(
        _ lease: Lease, _ outcome: Outcome, _ result: LeaseResult, now: Timestamp, _ store: isolated MemoryStore
    ) {
        guard let known = requests[lease.id] else { return }
        let isGood = known.status == .inProgress && known.token == lease.token && !known.isGone
        expect(
            isGood == (result == .applied), "A10",
            "\(known.name) was finished with \(isGood ? "the present" : "a stale") lease, and the store says \(result)")
        guard result == .applied else {
            history.count(.staleFinish)
            return unchanged(lease.id, store, "A10", "by a stale finish")
        }
        if outcome != .interrupted { requests[lease.id]?.attempts += 1 }
        switch outcome {
        case .completed(let body):
            if case .inline(let bytes) = body { checkAnswer(bytes, of: lease.id) }
            history.count(.completed)
            move(lease.id, store, .complete, now)
        case .failed(let failure):
            checkFailure(failure, of: lease.id, isLast: true, now)
            history.count(.failed)
            move(lease.id, store, .fail, now)
        case .retry(let failure, let notBefore):
            checkFailure(failure, of: lease.id, isLast: false, now)
            requests[lease.id]?.notBefore = notBefore
            requests[lease.id]?.queueDeadline = nil
            history.count(.retriedByPolicy)
            move(lease.id, store, .retry, now)
        case .interrupted:
            history.count(.releasedUncounted)
            move(lease.id, store, .release, now)
        case .batch, .completion:
            expect(false, "A10", "\(known.name) is no batch of a job, and its outcome is one of a batch")
        }
    }

    func released(_ leases: [Lease], now: Timestamp, _ store: isolated MemoryStore) {
        for lease in leases {
            guard let known = requests[lease.id] else { continue }
            if known.status == .inProgress, known.token == lease.token {
                history.count(.releasedUncounted)
                move(lease.id, store, .release, now)
                expect(requests[lease.id]?.status == .inQueue, "C13", "\(known.name) was released, but is not queued")
            } else {
                unchanged(lease.id, store, "A10", "by a stale release")
            }
        }
    }

    func returnedAtStart(now: Timestamp, _ store: isolated MemoryStore) {
        for id in order where requests[id]?.status == .inProgress && requests[id]?.isGone == false {
            history.count(.returnedAtStart)
            move(id, store, .restart, now)
            expect(
                requests[id]?.status == .inQueue, "A10",
                "\(name(id)) stays with a worker of the platform's last run")
        }
    }

    func cancelled(_ id: RequestID, wasCancelled: Bool?, now: Timestamp, _ store: isolated MemoryStore) {
        guard let known = requests[id], let wasCancelled else { return }
        expect(
            wasCancelled == !known.status.isEnded, "A7",
            "\(known.name) was \(known.status), and cancelling it said \(wasCancelled)")
        guard wasCancelled else { return unchanged(id, store, "A7", "by a refused cancel") }
        history.count(.cancelled)
        watchCancelled(id)
        move(id, store, .cancel, now)
        expect(requests[id]?.status == .cancelled, "A7", "\(known.name) was cancelled, but is not")
    }

    func retriedByHand(_ id: RequestID, now: Timestamp, _ store: isolated MemoryStore) {
        requests[id]?.attempts = 0
        requests[id]?.ending = nil
        requests[id]?.queueDeadline = policy.maxQueueTime.map { now + $0 }
        history.count(.retriedByHand)
        move(id, store, .retryByHand, now)
    }

    func upkeep(now: Timestamp, _ store: isolated MemoryStore) {
        for id in order {
            guard let known = requests[id], !known.isGone else { continue }
            move(id, store, .upkeep, now)
            if let notBefore = known.notBefore, notBefore > now + Limits.retryBackoff * 2 {
                requests[id]?.notBefore = now
            }
            guard let after = requests[id], after.status == .inProgress, let end = known.leaseEnd else { continue }
            expect(now < end, "A10", "\(known.name)'s lease is over, but upkeep left it where it was")
        }
    }

    // MARK: Rules

    /// Takes over the store's current state, if `cause` allows the change.
    private func move(_ id: RequestID, _ store: isolated MemoryStore, _ cause: Cause, _ now: Timestamp) {
        guard let known = requests[id] else { return }
        guard let stored = store.apis["api"]?.requests[id] else {
            let isOver = known.status.isEnded && (known.purgeAt.map { $0 <= now } ?? false)
            expect(isOver && cause == .upkeep, "A1", "\(known.name) vanished by \(cause.rawValue)")
            requests[id]?.isGone = true
            history.count(.purged)
            history.note("store", "\(known.name) is past its retention and erased")
            return
        }
        let from = known.status
        let to = stored.status
        if from != to {
            // Released and expired in one round of upkeep.
            let isBoth =
                cause == .upkeep && from == .inProgress && to == .failed && known.leaseEnd.map { $0 <= now } ?? false
            expect(
                isBoth || Self.allows(cause, from, to), "A2",
                "\(known.name) went from \(from) to \(to) by \(cause.rawValue)")
            history.note("store", "\(known.name): \(from.rawValue) → \(to.rawValue) (\(cause.rawValue))")
            requests[id]?.changedAt = schedule.elapsed
        }
        if cause == .upkeep, from == .inProgress, to == .inQueue {
            history.count(.rescued)
            expect(known.leaseEnd.map { $0 <= now } ?? false, "A10", "\(known.name) was taken from a good lease")
            expect(!isAtWork(known, id), "A10", "\(known.name) was taken from \(known.holder), which is at work on it")
        }
        if cause == .upkeep, to == .failed, from != .failed {
            history.count(.expired)
            expect(
                known.queueDeadline.map { $0 <= now } ?? false, "A3", "\(known.name) expired before max_queue_time")
            expect(stored.failure?.kind == .expired, "A3", "\(known.name) failed in the queue, but not as expired")
        }
        requests[id]?.status = to
        if to != .inProgress { requests[id]?.leaseEnd = nil }
        let attempts = requests[id]?.attempts ?? 0
        expect(
            stored.attempts == attempts, "A11",
            "\(known.name) shows \(stored.attempts) attempts, but \(attempts) counted"
        )
        expect(attempts <= policy.retries.maxAttempts, "A11", "\(known.name) was tried \(attempts) times")
        if to.isEnded, !from.isEnded {
            requests[id]?.purgeAt = now + policy.retention
            requests[id]?.ending = stored.record(of: "api")
        }
    }

    private static func allows(_ cause: Cause, _ from: RequestStatus, _ to: RequestStatus) -> Bool {
        switch (cause, from, to) {
        case (.claim, .inQueue, .inProgress), (.complete, .inProgress, .completed), (.fail, .inProgress, .failed),
            (.retry, .inProgress, .inQueue), (.release, .inProgress, .inQueue), (.restart, .inProgress, .inQueue),
            (.cancel, .inQueue, .cancelled), (.cancel, .inProgress, .cancelled), (.upkeep, .inProgress, .inQueue),
            (.upkeep, .inQueue, .failed), (.retryByHand, .failed, .inQueue):
            true
        default: false
        }
    }

    private func unchanged(_ id: RequestID, _ store: isolated MemoryStore, _ clause: String, _ what: String) {
        guard let known = requests[id], !known.isGone else { return }
        let stored = store.apis["api"]?.requests[id]
        expect(
            stored?.status == known.status && stored?.attempts == known.attempts && stored?.token == known.token,
            clause, "\(known.name) was changed \(what)")
        if let ending = known.ending {
            expect(stored?.record(of: "api") == ending, clause, "\(known.name)'s ending was changed \(what)")
        }
    }

    func checkAnswer(_ bytes: [UInt8], of id: RequestID) {
        let isIts = answers.contains { $0.id == id && $0.isComplete && $0.bytes == bytes }
        expect(
            isIts, "C5",
            "\(name(id)) has a result that no container gave it: \(String(decoding: bytes.prefix(80), as: UTF8.self))")
    }

    private func checkFailure(_ failure: RequestFailure, of id: RequestID, isLast: Bool, _ now: Timestamp) {
        guard let known = requests[id] else { return }
        let covered = covers(failure)
        let isExhausted = known.attempts >= policy.retries.maxAttempts
        expect(
            isLast == (isExhausted || !covered), "A11",
            "\(known.name) \(isLast ? "was given up" : "is tried again") after \(known.attempts) of \(policy.retries.maxAttempts) attempts with \(failure.kind.rawValue)"
        )
        let isTrue =
            switch failure.kind {
            case .timeout:
                known.claimedAt + policy.timeout.wholeMicroseconds <= schedule.elapsed
            case .containerUnreachable: refusals[known.holder].map { $0 >= known.claimedAt } ?? false
            default: known.excuses.contains(Excuse(kind: failure.kind, status: failure.statusCode))
            }
        expect(
            isTrue, "A11",
            "\(known.name)'s delivery counts as \(failure.kind.rawValue), but nothing of the kind happened to it")
    }

    private func covers(_ failure: RequestFailure) -> Bool {
        let reason: RetryPolicy.Reason? =
            switch failure.kind {
            case .containerUnreachable, .replicaLost: .unreachable
            case .timeout: .timeout
            case .containerStatus: (failure.statusCode ?? 0) / 100 == 5 ? .status5xx : nil
            case .containerInvalidJSON, .containerNotJSONType, .containerMalformed: .invalidResponse
            case .resultTooLarge, .expired, .itemFailed: nil
            }
        return reason.map { policy.retries.on.contains($0) } ?? false
    }

    // MARK: Operations of containers

    func excuse(_ id: RequestID, _ kind: RequestFailure.Kind, status: Int? = nil) {
        requests[id]?.excuses.append(Excuse(kind: kind, status: status))
    }
}
