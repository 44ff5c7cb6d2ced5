import Core
import Logging
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

@testable import Platform

@Suite("U1: memory of a long-running platform", .timeLimit(.minutes(1)))
struct MemoryTrimTests {
    @Test("Free memory is released every minute until the platform stops")
    func everyMinute() async throws {
        let clock = ManualClock()
        let count = Counter()
        let service = MemoryTrim(clock: clock) { count.add() }
        let group = ServiceGroup(services: [service], logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let run = Task { try await group.run() }
        for minute in 0..<3 {
            try await expectEventually { clock.sleepers == 1 }
            #expect(count.value == minute)
            clock.advance(by: MemoryTrim.period - .microseconds(1))
            #expect(clock.sleepers == 1)
            clock.advance(by: .microseconds(1))
            try await expectEventually { count.value == minute + 1 }
        }
        await group.triggerGracefulShutdown()
        try await run.value
    }

    @Test("The C library of this machine has malloc_trim", .enabled(if: isGlibc))
    func system() throws {
        let trim = try #require(MemoryTrim.system)
        trim()
    }

    private static var isGlibc: Bool {
        #if canImport(Glibc)
            true
        #else
            false
        #endif
    }
}

private final class Counter: Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock { $0 } }
    func add() { count.withLock { $0 += 1 } }
}
