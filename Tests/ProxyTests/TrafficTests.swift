import Core
import TestSupport
import Testing

@testable import Proxy

private let start = Instant(seconds: 1_000_000)

@Suite("Traffic figures")
struct TrafficTests {
    @Test("R24: every time from 1 µs to 19 h is read back with an error below 5 %")
    func bins() {
        var generator = SeededGenerator(seed: 7)
        var last = -1
        for time in 0..<100_000 as Range<Int64> {
            let bin = LatencyHistogram.bin(of: time)
            #expect(bin == last || bin == last + 1)
            last = bin
        }
        for _ in 0..<100_000 {
            let time = Int64(pow2(Double.random(in: 0..<36, using: &generator)))
            let bin = LatencyHistogram.bin(of: time)
            guard bin < LatencyHistogram.binCount else {
                Issue.record("\(time) has no bin")
                continue
            }
            #expect(abs(LatencyHistogram.time(of: bin) - Double(time)) <= 0.032 * Double(time))
        }
        #expect(LatencyHistogram.bin(of: -5) == 0)
        #expect(LatencyHistogram.bin(of: .max) == LatencyHistogram.binCount - 1)
    }

    private func pow2(_ exponent: Double) -> Double {
        let whole = exponent.rounded(.down)
        return (1 + (exponent - whole)) * Double(Int64(1) << Int64(whole))
    }

    @Test("R24: p50, p90 and p99 differ by less than 5 % from those of the sorted times", arguments: 1...5)
    func quantiles(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        var ring = TrafficRing()
        var all: [Int64] = []
        for number in 0..<20_000 {
            // Two groups of very different times.
            let time =
                number % 10 == 0
                ? Int64.random(in: 200_000...3_000_000, using: &generator)
                : Int64.random(in: 30...9000, using: &generator)
            all.append(time)
            ring.record(
                status: 200, isByPlatform: false, microseconds: time, now: start + .milliseconds(number * 2))
        }
        all.sort()
        let figures = ring.figures(now: start + .seconds(40))
        for share in [0.5, 0.9, 0.99] {
            let exact = Double(all[Int((share * 20_000).rounded(.up)) - 1]) / 1000
            let found = try #require(figures.times.quantile(share))
            #expect(abs(found - exact) < 0.05 * exact, "\(share): \(found) instead of \(exact)")
        }
    }

    @Test("R24: responses are counted by their cause; failures of the platform are 5xx that it wrote")
    func classes() {
        var ring = TrafficRing()
        for (status, isByPlatform) in [
            (200, false), (204, false), (101, false), (302, false), (404, false), (413, true), (500, false),
            (503, false), (503, true), (504, true), (502, true),
        ] {
            ring.record(status: status, isByPlatform: isByPlatform, microseconds: 1, now: start)
        }
        let counts = ring.figures(now: start).counts
        #expect(
            counts
                == TrafficReport.Counts(success2xx: 2, client4xx: 2, server5xx: 2, platformErrors: 3, other: 2))
        #expect(counts.total == 11 && counts.failures == 5)
    }

    @Test("R24: what is older than the window no longer counts, with and without later responses")
    func expiry() {
        var ring = TrafficRing()
        for second in 0..<100 {
            ring.record(
                status: second < 50 ? 500 : 200, isByPlatform: false, microseconds: 1000,
                now: start + .seconds(second))
        }
        func counts(at second: Int) -> TrafficReport.Counts { ring.figures(now: start + .seconds(second)).counts }
        #expect(counts(at: 99) == .init(success2xx: 50, server5xx: 10))
        #expect(counts(at: 129) == .init(success2xx: 30))
        #expect(counts(at: 158) == .init(success2xx: 1))
        #expect(counts(at: 159) == .init())
        #expect(ring.figures(now: start + .seconds(159)).times.quantile(0.5) == nil)
        // A thread whose clock reading is a little old does not lose its response.
        ring.record(status: 404, isByPlatform: false, microseconds: 1, now: start + .seconds(98))
        #expect(counts(at: 99).client4xx == 1)
        // A long pause, after which a place of the ring is used again.
        ring.record(status: 200, isByPlatform: false, microseconds: 1, now: start + .seconds(100 + 60 * 50))
        #expect(counts(at: 100 + 60 * 50) == .init(success2xx: 1))
    }

    @Test("X8: slow responses are counted exactly")
    func slow() {
        var ring = TrafficRing(slowLimit: .milliseconds(100))
        for time in [99_999, 100_000, 100_001, 5_000_000] as [Int64] {
            ring.record(status: 200, isByPlatform: false, microseconds: time, now: start)
        }
        #expect(ring.figures(now: start).slow == 2)
    }

    @Test("X8: a window of an hour has 60 steps of a minute")
    func longWindow() {
        var ring = TrafficRing(window: .seconds(3600))
        for minute in 0..<70 {
            ring.record(status: 200, isByPlatform: false, microseconds: 1, now: start + .seconds(minute * 60))
        }
        #expect(ring.figures(now: start + .seconds(69 * 60)).counts.total == 60)
    }

    @Test("R24: a gate reports rates and quantiles of the API and of its replicas, and null without requests")
    func report() throws {
        let gate = Gate(api: "api", maxConcurrency: 2, maxQueueLength: 10)
        let replicas = [TestReplica("r0"), TestReplica("r1")]
        gate.update(replicas: replicas.map(\.ready), now: start)
        var report = gate.report(now: start)
        #expect(report.perSecond == nil && report.p50 == nil && report.counts.total == 0)
        #expect(report.replicas == ["r0": .init(), "r1": .init()])
        for number in 0..<120 {
            let arrival = start + .milliseconds(number * 100)
            let now = arrival + .milliseconds(10)
            let slot = try #require(
                gate.enter(TestWaiter(), key: nil, mayWait: true, now: arrival + .milliseconds(5)).slot)
            gate.record(
                status: slot.replica.id == "r0" ? 200 : 500, isByPlatform: false, slot: slot, arrival: arrival,
                now: now)
            gate.end(slot, now: now)
        }
        gate.record(status: 503, isByPlatform: true, slot: nil, arrival: start, now: start + .milliseconds(1))
        let slot = try #require(gate.enter(TestWaiter(), key: nil, mayWait: true, now: start).slot)
        gate.upgraded(slot)
        report = gate.report(now: start + .seconds(13))
        #expect(report.perSecond == 121.0 / 60)
        #expect(report.counts == .init(success2xx: 60, server5xx: 60, platformErrors: 1))
        let p50 = try #require(report.p50)
        #expect(abs(p50 - 10) < 0.5)
        #expect(report.inside == 1 && report.upgraded == 1 && report.waiting == 0)
        #expect(report.replicas["r0"]?.success2xx == 60 && report.replicas["r1"]?.server5xx == 60)
        let p99 = try #require(report.replicas["r1"]?.p99)
        #expect(abs(p99 - 5) < 0.25)
        #expect((report.replicas["r0"]?.inside ?? 0) + (report.replicas["r1"]?.inside ?? 0) == 1)
    }
}
