import Core
import LocalOrchestrator
import Logging
import ServiceLifecycle
import Support
import Synchronization
import TestSupport
import Testing

@testable import Platform

@Suite("N7: reserve of free disk", .timeLimit(.minutes(1)))
struct DiskReserveTests {
    @Test("N7: the default is the larger of 1 GiB and 5 %")
    func standard() {
        #expect(DiskReserve.standard.bytes(of: 10 << 30) == 1 << 30)
        #expect(DiskReserve.standard.bytes(of: 100 << 30) == 5 << 30)
        #expect(DiskReserve.standard.bytes(of: nil) == 1 << 30)
    }

    @Test("N7: a reserve is a size in a usual spelling, or a share of the disk")
    func sizes() {
        for (text, bytes) in [
            ("0", 0), ("500", 500), ("2Gi", 2 << 30), ("2GiB", 2 << 30), ("500M", 500_000_000), ("0%", 0), ("5%", 50),
            ("99%", 990),
        ] as [(String, Int64)] {
            #expect(DiskReserve(text)?.bytes(of: 1000) == bytes, "\(text)")
        }
        for text in ["", "%", "x", "-1", "-1%", "100%", "1.5%", "5 %"] { #expect(DiskReserve(text) == nil, "\(text)") }
    }

    @Test("N7: the space is measured every second, and a measurement that fails changes nothing")
    func watch() async throws {
        let clock = ManualClock()
        let free = Mutex<Int64?>(1500)
        let watch = DiskWatch(
            reserve: try #require(DiskReserve("1000")), clock: clock,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) {
            guard let free = free.withLock({ $0 }) else { throw PlatformError(.internal, "the file system is away") }
            return [DiskSpace(free: free, total: 5000)]
        }
        #expect(watch.spare == .max && watch.state == nil)
        let group = ServiceGroup(services: [watch], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let run = Task { try await group.run() }
        try await expectEventually { watch.spare == 500 && clock.sleepers == 1 }
        for (next, spare) in [(999, 0), (nil, 0), (1000, 0), (1001, 1)] as [(Int64?, Int64)] {
            free.withLock { $0 = next }
            clock.advance(by: DiskWatch.period)
            try await expectEventually { watch.spare == spare && clock.sleepers == 1 }
        }
        #expect(watch.state?.space == DiskSpace(free: 1001, total: 5000) && watch.state?.reserve == 1000)
        await group.triggerGracefulShutdown()
        try await run.value
    }

    @Test("N7: the fuller disk counts for submissions, the data directory's for pods, and an unknown one is ignored")
    func severalDisks() async throws {
        let spaces = Mutex<[DiskSpace]?>([DiskSpace(free: 3000, total: 5000), DiskSpace(free: 1200, total: 5000)])
        let watch = DiskWatch(
            reserve: try #require(DiskReserve("1000")), clock: ManualClock(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        ) {
            guard let spaces = spaces.withLock({ $0 }) else { throw PlatformError(.internal, "the disk is away") }
            return spaces
        }
        #expect(watch.pods == nil)
        await watch.measure()
        #expect(watch.spare == 200 && watch.pods == DiskMargin(free: 3000, reserve: 1000))
        spaces.withLock { $0 = nil }
        await watch.measure()
        #expect(watch.spare == 200 && watch.pods == nil)
    }

    @Test("N7: the disk of an existing or a future folder is measured")
    func measure() async throws {
        let watch = DiskWatch(
            reserve: try #require(DiskReserve("0")), folders: ["/", "/does/not/exist"], clock: SystemClock(),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        await watch.measure()
        let space = try #require(watch.state?.space)
        #expect(space.total > 0 && space.free <= space.total && watch.spare == space.free)
    }
}
