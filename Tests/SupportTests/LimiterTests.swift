import Core
import Synchronization
import TestSupport
import Testing

@testable import Support

@Suite("Limits of concurrent work", .timeLimit(.minutes(1)))
struct LimiterTests {
    @Test("U4: as many pieces of work run at once as the limiter is wide, and the others begin in order")
    func width() async throws {
        let limiter = Limiter(width: 2, waitingLimit: 10, of: "calls")
        let running = Locked(0)
        let most = Locked(0)
        let order = Locked<[Int]>([])
        let isOpen = Locked(false)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<6 {
                group.addTask {
                    try await limiter.run {
                        let now = running.withLock { running in
                            running += 1
                            return running
                        }
                        most.withLock { $0 = max($0, now) }
                        order.withLock { $0.append(number) }
                        try await expectEventually { isOpen.withLock { $0 } }
                        running.withLock { $0 -= 1 }
                    }
                }
                // Each runs or waits before the next begins.
                try await expectEventually { running.withLock { $0 } + limiter.waitingCount == number + 1 }
            }
            try await expectEventually { running.withLock { $0 } == 2 }
            #expect(order.withLock { $0 } == [0, 1])
            isOpen.withLock { $0 = true }
            try await group.waitForAll()
        }
        #expect(most.withLock { $0 } == 2)
        let all = order.withLock { $0 }
        #expect(all.count == 6)
        #expect(Set(all.prefix(4).suffix(2)) == [2, 3])
    }

    @Test("U4: work that fails or is cancelled makes its place free")
    func failures() async throws {
        let limiter = Limiter(width: 1, waitingLimit: 10, of: "calls")
        await #expect(throws: PlatformError.self) {
            try await limiter.run { throw PlatformError(.notFound, "no") }
        }
        let isInside = Locked(false)
        let task = Task {
            try await limiter.run {
                isInside.withLock { $0 = true }
                try await Task.sleep(for: .seconds(100))
            }
        }
        try await expectEventually { isInside.withLock { $0 } }
        let waiting = Task { try await limiter.run { 1 } }
        task.cancel()
        #expect(try await waiting.value == 1)
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test("U4: callers that ask while work is done share its result, and the next one does it anew")
    func singleFlight() async throws {
        let flight = SingleFlight<Int>()
        let runs = Locked(0)
        let isOpen = Locked(false)
        let work: @Sendable () async throws -> Int = {
            let run = runs.withLock { runs in
                runs += 1
                return runs
            }
            try await expectEventually { isOpen.withLock { $0 } }
            return run
        }
        let first = Task { try await flight.run(work) }
        try await expectEventually { runs.withLock { $0 } == 1 }
        let others = (0..<5).map { _ in Task { try await flight.run(work) } }
        // The result is the others' too: a caller that leaves does not end the work.
        first.cancel()
        isOpen.withLock { $0 = true }
        for other in others {
            let run = try await other.value
            #expect(run <= 2)
        }
        #expect(try await first.value == 1)
        let last = try await flight.run(work)
        let count = runs.withLock { $0 }
        #expect(last == count)
    }
}

/// A value that closures share.
private final class Locked<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func withLock<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result {
        value.withLock { body(&$0) }
    }
}
