import Core
import Probes
import TestSupport
import Testing

private let start = Instant(seconds: 1_000_000)

@Suite("Probe machine")
struct ProbeMachineTests {
    private func machine(
        healthy: Bool = false, delay: Int = 0, period: Int = 10, successes: Int = 1, failures: Int = 3
    ) -> ProbeMachine {
        let probe = Probe(
            handler: .tcpSocket(port: 8080), initialDelay: .seconds(delay), period: .seconds(period),
            successThreshold: successes, failureThreshold: failures)
        return ProbeMachine(probe, startsHealthy: healthy, now: start)
    }

    @Test("C7: the first check comes right after the initial delay, not a period later", arguments: [0, 7])
    func firstCheck(_ delay: Int) {
        var machine = machine(delay: delay)
        #expect(machine.start() == [.wait(until: start + .seconds(delay))])
        #expect(machine.handle(.tick, now: start + .seconds(delay)) == [.check])
        #expect(!machine.isHealthy)
    }

    @Test("C7: ready after success_threshold successes in a row", arguments: 1...4)
    func successThreshold(_ threshold: Int) {
        var machine = machine(successes: threshold)
        var now = start
        func step(_ event: ProbeMachine.Event) -> [ProbeMachine.Action] {
            _ = machine.handle(.tick, now: now)
            defer { now = now + .seconds(10) }
            return machine.handle(event, now: now)
        }
        for _ in 1..<max(2, threshold) where threshold > 1 { #expect(!step(.success).contains(.becameHealthy)) }
        if threshold > 1 { #expect(!step(.failure("x")).contains(.becameHealthy)) }
        for count in 1...threshold { #expect(step(.success).contains(.becameHealthy) == (count == threshold)) }
        #expect(machine.isHealthy)
        #expect(!step(.success).contains(.becameHealthy))
    }

    @Test("C7: not ready any more after failure_threshold failures in a row, and says why", arguments: 1...4)
    func failureThreshold(_ threshold: Int) {
        var machine = machine(healthy: true, failures: threshold)
        for round in 0..<2 where threshold > 1 {
            for _ in 1..<threshold {
                _ = machine.handle(.tick, now: start)
                #expect(machine.handle(.failure("no \(round)"), now: start).count == 1)
            }
            _ = machine.handle(.tick, now: start)
            _ = machine.handle(.success, now: start)
            #expect(machine.lastFailure == nil)
        }
        for count in 1...threshold {
            _ = machine.handle(.tick, now: start)
            let actions = machine.handle(.failure("it refuses"), now: start)
            #expect(actions.contains(.becameUnhealthy(reason: "it refuses")) == (count == threshold))
        }
        #expect(!machine.isHealthy)
        #expect(machine.lastFailure == "it refuses")
    }

    @Test("C7: checks begin a period apart, however long they take, and never overlap")
    func pace() {
        var machine = machine(period: 10)
        #expect(machine.handle(.tick, now: start) == [.check])
        #expect(machine.handle(.tick, now: start + .seconds(1)) == [])
        #expect(machine.handle(.failure("x"), now: start + .seconds(3)) == [.wait(until: start + .seconds(10))])
        #expect(machine.handle(.tick, now: start + .seconds(10)) == [.check])
        #expect(machine.handle(.failure("x"), now: start + .seconds(25)) == [.wait(until: start + .seconds(25))])
    }

    @Test("C7: thresholds and periods of zero neither make a pod healthy for ever nor busy")
    func zeroes() {
        var machine = machine(period: 0, successes: 0, failures: 0)
        _ = machine.handle(.tick, now: start)
        #expect(!machine.isHealthy)
        #expect(machine.handle(.success, now: start) == [.becameHealthy, .wait(until: start + .milliseconds(100))])
        _ = machine.handle(.tick, now: start)
        #expect(machine.handle(.failure("x"), now: start).first == .becameUnhealthy(reason: "x"))
    }
}
