import Core
import Foundation
import Support
import Synchronization
import TestSupport
import Testing

@Suite("Blocking work has threads of its own", .timeLimit(.minutes(1)))
struct BlockingPoolTests {
    /// Holds a thread until it is opened.
    private final class Door: Sendable {
        private let isOpen = Mutex(false)
        let entered = Mutex(0)

        func open() { isOpen.withLock { $0 = true } }

        func pass() {
            entered.withLock { $0 += 1 }
            while !isOpen.withLock({ $0 }) { usleep(1000) }
        }
    }

    @Test("U4: no more than the stated number of calls block at once; others wait and then run")
    func width() async throws {
        let pool = BlockingPool(threads: 2)
        let door = Door()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<5 {
                group.addTask {
                    try await pool.run {
                        door.pass()
                        return number
                    }
                }
            }
            try await expectEventually { door.entered.withLock { $0 } == 2 }
            door.open()
            var numbers: Set<Int> = []
            for try await number in group { numbers.insert(number) }
            #expect(numbers == [0, 1, 2, 3, 4])
        }
    }

    @Test("U4: a cancelled caller leaves the queue at once, even though no thread is free, and its work never runs")
    func cancellation() async throws {
        let pool = BlockingPool(threads: 1)
        let door = Door()
        let ran = Mutex(false)
        let holder = Task { try await pool.run { door.pass() } }
        try await expectEventually { door.entered.withLock { $0 } == 1 }
        let waiting = Task { try await pool.run { ran.withLock { $0 = true } } }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        // One that has begun ends, and its caller gets what it returned.
        holder.cancel()
        door.open()
        try await holder.value
        try await pool.run {}
        #expect(!ran.withLock { $0 })
    }

    @Test("Work beyond the limit of the queue is refused with a named error")
    func limit() async throws {
        let pool = BlockingPool(threads: 1, limit: 1)
        let door = Door()
        let holder = Task { try await pool.run { door.pass() } }
        try await expectEventually { door.entered.withLock { $0 } == 1 }
        let waiting = Task { try await pool.run {} }
        try await expectEventually {
            do {
                // Cancelled in the queue, or refused.
                try await withTimeLimit(.milliseconds(20)) { try await pool.run {} }
                return false
            } catch let error as PlatformError {
                return error.code == .unavailable
            }
        }
        door.open()
        try await holder.value
        try await waiting.value
    }
}
