import Core
import NIOCore
import NIOHTTP1
import NIOPosix
import Support
import Synchronization
import Testing

@testable import HTTPServing

@Suite("What waits for a connection's task")
struct ConnectionPartsTests {
    /// Runs `step` before each job of the task, on the event loop: at each place where the task's way to its wait can be
    /// interrupted.
    private final class SteppingExecutor: TaskExecutor, SerialExecutor {
        private let loop: any EventLoop
        private let count = Atomic(0)
        private let step: @Sendable (_ number: Int) -> Void

        init(_ loop: any EventLoop, step: @escaping @Sendable (Int) -> Void) {
            self.loop = loop
            self.step = step
        }

        func enqueue(_ job: consuming ExecutorJob) {
            let job = UnownedJob(job)
            loop.execute { [self] in
                step(count.add(1, ordering: .relaxed).oldValue)
                // As on an actor: every call of an asynchronous function then goes through the queue.
                job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
            }
        }
    }

    @Test(
        "N6: a fault that comes while the connection's task is on its way to wait for more reaches it",
        .timeLimit(.minutes(1)), arguments: 0..<4)
    func faultOnTheWay(_ moment: Int) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let parts = try await loop.submit {
            NIOLoopBound(ConnectionParts(capacity: ServerCapacity()), eventLoop: loop)
        }.get()
        let executor = SteppingExecutor(loop) { number in
            if number == moment { parts.value.refuse(ServerCapacity.bodiesFault) }
        }
        // Where the way has fewer steps, the fault comes while it waits.
        let late = loop.scheduleTask(in: .milliseconds(200)) { parts.value.refuse(ServerCapacity.bodiesFault) }
        let fault = await withTaskExecutorPreference(executor) {
            await #expect(throws: HTTPFault.self) { _ = try await parts.value.next() }
        }
        #expect(fault?.status == ServerCapacity.bodiesFault.status)
        try await late.futureResult.get()
    }
}
