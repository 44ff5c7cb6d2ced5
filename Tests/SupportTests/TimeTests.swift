import Core
import Support
import Synchronization
import TestSupport
import Testing

@Suite("Time limits and sleeps", .timeLimit(.minutes(1)))
struct TimeTests {
    @Test("U4: a time limit holds although the operation ignores its cancellation")
    func ignoredCancellation() async throws {
        let clock = ManualClock()
        let (stuck, continuation) = AsyncStream.makeStream(of: Void.self)
        defer { continuation.finish() }
        let limited = Task {
            try await withTimeLimit(.seconds(5), clock: clock) {
                // Not a child of this task: cancelling does not reach the wait.
                await Task { for await _ in stuck {} }.value
            }
        }
        try await expectEventually { clock.sleepers == 1 }
        clock.advance(by: .seconds(5))
        let error = await #expect(throws: PlatformError.self) { try await limited.value }
        #expect(error?.code == .timedOut)
    }

    @Test("U4: a caller that is cancelled returns at once although the operation ignores it")
    func cancelledCaller() async throws {
        let (stuck, continuation) = AsyncStream.makeStream(of: Void.self)
        defer { continuation.finish() }
        let limited = Task {
            try await withTimeLimit(.seconds(600)) { await Task { for await _ in stuck {} }.value }
        }
        limited.cancel()
        await #expect(throws: CancellationError.self) { try await limited.value }
    }

    @Test("An operation that ends in time gives its result or its error, and its timer ends")
    func inTime() async throws {
        let clock = ManualClock()
        #expect(try await withTimeLimit(.seconds(5), clock: clock) { 7 } == 7)
        await #expect(throws: PlatformError.self) {
            try await withTimeLimit(.seconds(5), clock: clock) { throw PlatformError(.notFound, "no") }
        }
        try await expectEventually { clock.sleepers == 0 }
    }

    @Test("U4: a sleep lasts as long as asked, ends at once when its task is cancelled, and thousands sleep together")
    func sleeps() async throws {
        let clock = SystemClock()
        let start = clock.instant()
        try await clock.sleep(for: .milliseconds(20))
        #expect(clock.instant() - start >= .milliseconds(20))
        let long = Task { try await clock.sleep(for: .seconds(100_000_000_000)) }
        let short = Task { try await clock.sleep(for: .seconds(600)) }
        long.cancel()
        short.cancel()
        await #expect(throws: CancellationError.self) { try await long.value }
        await #expect(throws: CancellationError.self) { try await short.value }
        try await clock.sleep(for: .zero)
        try await clock.sleep(for: .seconds(-1))
        await withTaskGroup(of: Bool.self) { group in
            for number in 0..<4000 {
                group.addTask {
                    (try? await clock.sleep(for: number.isMultiple(of: 2) ? .milliseconds(5) : .seconds(600))) != nil
                }
            }
            var woken = 0
            for await isWoken in group {
                if isWoken { woken += 1 }
                if woken == 2000 { group.cancelAll() }
            }
            #expect(woken == 2000)
        }
    }

    @Test("U4: operations under way are listed, the oldest first, and leave on every path")
    func registry() async throws {
        let registry = OperationRegistry()
        await withOperation("stop pod", "a", in: registry) {
            try? await SystemClock().sleep(for: .milliseconds(1))
            await withOperation("pull image", "b", in: registry) {
                #expect(registry.underWay().map(\.name) == ["stop pod", "pull image"])
                #expect(registry.underWay().map(\.subject) == ["a", "b"])
            }
        }
        await #expect(throws: PlatformError.self) {
            try await withOperation("x", "y", in: registry) { throw PlatformError(.internal, "no") }
        }
        #expect(registry.underWay().isEmpty)
    }
}
