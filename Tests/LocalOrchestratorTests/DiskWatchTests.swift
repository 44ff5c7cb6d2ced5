import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("When the disk use of pods is measured")
struct DiskWatchTests {
    private let now = Instant(seconds: 1000)

    @Test("N7: measurements follow each other after the period, or after twice the time that the last one took")
    func spacing() {
        var watch = DiskWatch()
        #expect(watch.isMeasurementDue(now: now) { _ in true })
        watch.measurementBegan()
        #expect(!watch.isMeasurementDue(now: now + Limits.diskPeriod) { _ in true })
        watch.measurementEnded(began: now, now: now + .seconds(1))
        #expect(!watch.isMeasurementDue(now: now + .seconds(1)) { _ in true })
        let quick = now + .seconds(1) + Limits.diskPeriod
        #expect(watch.isMeasurementDue(now: quick) { _ in true })
        watch.measurementBegan()
        watch.measurementEnded(began: quick, now: quick + Limits.diskPeriod)
        #expect(!watch.isMeasurementDue(now: quick + Limits.diskPeriod * 2) { _ in true })
        #expect(watch.isMeasurementDue(now: quick + Limits.diskPeriod * 3) { _ in true })
    }

    @Test("N7: after a pod was erased, the free space is measured again before another one is stopped")
    func erased() {
        var watch = DiskWatch()
        watch.stopped("api-1", of: "api", because: "full", now: now)
        #expect(watch.isErasing)
        #expect(watch.isMeasurementDue(now: now) { _ in true })
        #expect(watch.isErasing)
        #expect(!watch.isMeasurementDue(now: now) { _ in false })
        #expect(!watch.isErasing)
        #expect(watch.isMeasurementDue(now: now + Limits.diskPeriod) { _ in false })
    }

    @Test("N7: describe says for an hour why a replica was stopped, and during a shortage until it ends")
    func problems() {
        var watch = DiskWatch()
        watch.stopped("api-1", of: "api", because: "it stored too much", now: now)
        #expect(watch.problem(of: "api", now: now) == "it stored too much")
        #expect(watch.problem(of: "other", now: now) == nil)
        #expect(watch.problem(of: "api", now: now + Limits.diskProblemShown) == nil)
        let reserve: Int64 = 1 << 30
        let first = watch.note(DiskMargin(free: 0, reserve: reserve))
        #expect(first.hasBegun && !first.hasEnded)
        watch.hold("api", because: "the disk is full")
        #expect(watch.hold(of: "api")?.hasPrefix("the disk is full; ") == true)
        #expect(watch.problem(of: "api", now: now + Limits.diskProblemShown) == watch.hold(of: "api"))
        let second = watch.note(DiskMargin(free: reserve * 2, reserve: reserve))
        #expect(!second.hasBegun && second.hasEnded)
        #expect(watch.hold(of: "api") == nil)
        watch.stopped("api-2", of: "api", because: "again", now: now)
        watch.forget(api: "api")
        #expect(watch.problem(of: "api", now: now) == nil)
    }
}
