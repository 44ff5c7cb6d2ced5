import Core
import Support
import TestSupport
import Testing

@testable import Dequeuer

@Suite("What the store records of a delivery")
struct OutcomeTests {
    private let clock = ManualClock()
    private let activity = LocalReplicaActivity()

    /// The outcome of a delivery that ended so, on the first of `maxAttempts` attempts.
    private func outcome(of end: ExchangeEnd, maxAttempts: Int = 2) -> Outcome? {
        var settings = Platform.Settings()
        settings.requests.retries = RetryPolicy(
            maxAttempts: maxAttempts, on: [.unreachable, .timeout, .status5xx], backoff: .milliseconds(1))
        let replica = ReadyReplica(
            id: "api-1", api: Platform.api(settings), connector: LoopbackConnector(port: 1), activity: activity)
        var generator = SeededGenerator(seed: 5)
        let id = RequestID(now: Timestamp(seconds: 1), using: &generator)
        let request = ClaimedRequest(
            lease: Lease(api: "api", id: id, token: 1), payload: .empty, headers: [], query: nil, attempts: 0,
            submittedAt: Timestamp(seconds: 1))
        let delivery = Delivery(request, replica: replica, rule: DeliveryRule(replica), now: clock.instant())
        return delivery.outcome(of: end, clock: clock, chance: RandomSource(generator))
    }

    private func retried(_ end: ExchangeEnd) -> RequestFailure.Kind? {
        guard case .retry(let failure, _) = outcome(of: end) else { return nil }
        return failure.kind
    }

    @Test("A11: a delivery that the container answered, lost, refused or answered too late is an attempt")
    func attempts() {
        #expect(outcome(of: .completed(.empty, writer: nil)) == .completed(.empty))
        #expect(retried(.invalidAnswer(Verdict.wrongStatus(500, body: []))) == .containerStatus)
        #expect(retried(.lostBeforeAnswer) == .replicaLost)
        #expect(retried(.unreachable("The port refused.")) == .containerUnreachable)
        #expect(retried(.interrupted(.timedOut)) == .timeout)
    }

    @Test("A11: the last attempt ends the request")
    func lastAttempt() {
        guard case .failed(let failure) = outcome(of: .lostBeforeAnswer, maxAttempts: 1) else {
            Issue.record("it did not fail")
            return
        }
        #expect(failure.kind == .replicaLost)
    }

    @Test("C13: a delivery that the platform or the store stopped is released and does not count")
    func released() {
        struct Down: Error {}
        #expect(outcome(of: .notBegun) == nil)
        #expect(outcome(of: .interrupted(.cutOff)) == nil)
        #expect(outcome(of: .interrupted(.leaseLost)) == nil)
        #expect(outcome(of: .notStored(Down())) == nil)
        #expect(outcome(of: .payloadUnreadable(Down())) == nil)
        // Nothing reached the container, so the reason for the cut is not the request.
        activity.cut(.diskLimit("was stopped"))
        #expect(outcome(of: .interrupted(.cutOff)) == nil)
        #expect(outcome(of: .lostBeforeAnswer) == nil)
    }

    @Test("C13: where the container's behaviour is the cause, the failure says what to do")
    func remedies() {
        for reason in [CutReason.livenessProbe("x"), .diskLimit("x"), .diskShortage("x")] {
            #expect(reason.cost == .interruption && reason.remedy != nil)
            let message = Verdict.interrupted(deliveries: 3, reason).message
            #expect(message.hasPrefix("In 3 deliveries ") && message.hasSuffix(reason.remedy ?? "nothing"))
        }
    }

    @Test("A11: a payload that is missing in the store ends the request at once")
    func missingPayload() {
        let error = PlatformError(.notFound, "missing")
        #expect(outcome(of: .payloadUnreadable(error)) == .failed(Verdict.missingPayload))
    }
}
