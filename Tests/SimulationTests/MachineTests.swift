import Core
import Probes
import Support
import TestSupport
import Testing

@testable import Dequeuer
@testable import LocalOrchestrator

private let start = Instant(seconds: 1_000_000)

/// Rules that hold for every sequence of events, tested on a few thousand of them.
@Suite("State machines: rules that hold for every sequence of events")
struct MachineTests {
    private static let seeds: Range<UInt64> = 1..<400

    @Test("The dispatcher never claims twice at once, and always plans the next poll")
    func dispatch() {
        for seed in Self.seeds {
            let dice = Dice(seed: seed)
            var now = start
            var machine = DispatchMachine(pollMin: .seconds(1), pollMax: .seconds(5), now: now)
            var isClaiming = false
            for _ in 0..<60 {
                now = now + dice.seconds(0...4)
                let event: DispatchMachine.Event
                if isClaiming, dice.chance(0.6) {
                    isClaiming = false
                    event = dice.pick([.claimed(asked: 2, got: 2), .claimed(asked: 2, got: 0), .claimFailed])
                } else if machine.wantsClaim(now: now), dice.chance(0.7) {
                    #expect(!isClaiming, "seed \(seed): claims twice at once")
                    isClaiming = true
                    event = .claiming
                } else {
                    event = dice.pick([.hint, .due(now + dice.seconds(0...3))])
                }
                machine.handle(event, now: now, chance: Double(dice.int(0...999)) / 1000)
                #expect(machine.isClaiming == isClaiming)
                if isClaiming {
                    #expect(!machine.wantsClaim(now: now + .seconds(3600)))
                    #expect(machine.nextClaim == nil)
                } else if let look = machine.nextClaim {
                    // Not later than the longest poll and the longest pause, each with a random share of a fifth.
                    let isSoon = machine.wantsClaim(now: now) || machine.wantsClaim(now: now + .seconds(7))
                    #expect(isSoon, "seed \(seed): would wait too long")
                    #expect(machine.wantsClaim(now: look), "seed \(seed): polls at \(look), and then does not claim")
                } else {
                    Issue.record("seed \(seed): neither claims nor plans a poll")
                }
            }
        }
    }

    @Test("A11: a failed delivery is retried exactly when the policy says so, within the bounds of the retry delay")
    func retries() {
        for seed in Self.seeds {
            let dice = Dice(seed: seed)
            let policy = RetryPolicy(
                maxAttempts: dice.int(1...5), on: Set(RetryPolicy.Reason.allCases.filter { _ in dice.chance(0.5) }),
                backoff: dice.seconds(0.1...20))
            for kind in RequestFailure.Kind.allCases {
                let status = dice.pick([404, 500, 503, 599, 600])
                let failure = RequestFailure(kind, "no", statusCode: kind == .containerStatus ? status : nil)
                let earlier = dice.int(0...6)
                let civil = Timestamp(seconds: 1_800_000_000)
                let outcome = policy.outcome(
                    of: failure, earlier: earlier, now: civil, chance: Double(dice.int(0...999)) / 1000)
                let mayRetry = policy.covers(failure) && earlier + 1 < policy.maxAttempts
                switch outcome {
                case .completed, .interrupted, .batch, .completion: Issue.record("a failure did not fail")
                case .failed(let kept):
                    #expect(!mayRetry && kept == failure)
                case .retry(let kept, let notBefore):
                    #expect(mayRetry && kept == failure)
                    let wait = notBefore - civil
                    #expect(wait >= policy.backoff * 0.79 && wait <= .seconds(360))
                }
                if kind == .expired || kind == .resultTooLarge { #expect(!policy.covers(failure)) }
            }
        }
    }

    @Test("C7: a probe changes only after its thresholds in a row, and checks one at a time and never in a busy loop")
    func probes() {
        for seed in Self.seeds {
            let dice = Dice(seed: seed)
            let probe = Probe(
                handler: .tcpSocket(port: 1), initialDelay: dice.seconds(0...3), timeout: .seconds(1),
                period: dice.seconds(0...5), successThreshold: dice.int(0...3), failureThreshold: dice.int(0...3))
            var now = start
            let startsHealthy = dice.chance(0.5)
            var machine = ProbeMachine(probe, startsHealthy: startsHealthy, now: now)
            var isHealthy = startsHealthy
            var row = (isSuccess: true, count: 0)
            var actions = machine.start()
            var lastCheck: Instant?
            for _ in 0..<40 {
                guard case .wait(let moment) = actions.last else {
                    Issue.record("seed \(seed): no next check")
                    return
                }
                #expect(moment >= now)
                now = moment + dice.seconds(0...0.1)
                #expect(machine.handle(.tick, now: now) == [.check])
                #expect(machine.handle(.tick, now: now).isEmpty, "two checks at once")
                if let lastCheck { #expect(now - lastCheck >= .milliseconds(100)) }
                lastCheck = now
                let isSuccess = dice.chance(0.6)
                row = row.isSuccess == isSuccess ? (isSuccess, row.count + 1) : (isSuccess, 1)
                now = now + dice.seconds(0...1)
                actions = machine.handle(isSuccess ? .success : .failure("no"), now: now)
                let threshold = max(1, isSuccess ? probe.successThreshold : probe.failureThreshold)
                if isSuccess != isHealthy, row.count >= threshold { isHealthy = isSuccess }
                #expect(machine.isHealthy == isHealthy, "seed \(seed)")
                #expect((machine.lastFailure == nil) == isSuccess)
            }
        }
    }

    @Test("C11: for every order of requests and releases, never more than max_concurrency slots are in use")
    func slots() {
        for seed in Self.seeds {
            let dice = Dice(seed: seed)
            let activity = LocalReplicaActivity()
            var out = 0
            var isClosed = false
            for _ in 0..<60 {
                if dice.chance(0.5) {
                    let limit = dice.int(0...8)
                    let concurrency = dice.int(1...8)
                    let granted = activity.begin(upTo: limit, maxConcurrency: concurrency)
                    #expect(granted == (isClosed ? 0 : max(0, min(limit, concurrency - out))))
                    out += granted
                } else if out > 0 {
                    let count = dice.int(1...out)
                    activity.end(count)
                    out -= count
                }
                if dice.chance(0.01) {
                    activity.close()
                    isClosed = true
                }
                #expect(activity.inFlight == out)
            }
        }
    }

    @Test("C14: restarts wait 1 s, doubling to 5 minutes, and 1 s again after 10 minutes of health")
    func restarts() {
        for seed in Self.seeds {
            let dice = Dice(seed: seed)
            var backoff = RestartBackoff()
            var expected = Duration.seconds(1)
            for count in 1...30 {
                let ran = dice.seconds(0...700)
                if ran >= .seconds(600) { expected = .seconds(1) }
                #expect(backoff.ended(startedAt: start, now: start + ran) == start + ran + expected)
                #expect(backoff.count == count)
                expected = min(expected * 2, .seconds(300))
            }
        }
    }
}
