import Core
import TestSupport
import Testing

@Suite("The clock of the tests")
struct ManualClockTests {
    @Test("Sleepers wake when their time has come, and not before")
    func advance() async throws {
        let clock = ManualClock()
        let start = clock.now()
        let woken = Recorder()
        try await withThrowingTaskGroup { group in
            for seconds in [3, 1, 2] {
                group.addTask {
                    try await clock.sleep(for: .seconds(seconds))
                    woken.add(seconds)
                }
            }
            #expect(try await eventually { clock.sleepers == 3 })
            clock.advance(by: .milliseconds(999))
            #expect(clock.sleepers == 3)
            for expected in 1...3 {
                clock.advance(by: expected == 1 ? .milliseconds(1) : .seconds(1))
                #expect(try await eventually { woken.values.count == expected })
            }
            try await group.waitForAll()
        }
        #expect(woken.values == [1, 2, 3])
        #expect(clock.now() - start == .seconds(3))
    }

    @Test("A cancelled sleeper throws at once, also when it was cancelled before it slept")
    func cancellation() async throws {
        let clock = ManualClock()
        let sleeper = Task { try await clock.sleep(for: .seconds(1)) }
        #expect(try await eventually { clock.sleepers == 1 })
        sleeper.cancel()
        await #expect(throws: CancellationError.self) { try await sleeper.value }
        let early = Task {
            await Task.yield()
            while !Task.isCancelled { await Task.yield() }
            try await clock.sleep(for: .seconds(1))
        }
        early.cancel()
        await #expect(throws: CancellationError.self) { try await early.value }
        #expect(clock.sleepers == 0)
    }

    @Test("Nothing to wait for returns at once")
    func zero() async throws {
        try await ManualClock().sleep(for: .zero)
    }
}
