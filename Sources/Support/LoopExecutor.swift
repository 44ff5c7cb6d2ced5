package import NIOCore

/// Runs tasks, an actor, and the child tasks that it starts, on an event loop: what a connection brings is handled
/// without changing threads.
package final class LoopExecutor: SerialExecutor, TaskExecutor {
    package let loop: any EventLoop

    package init(_ loop: any EventLoop) {
        self.loop = loop
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { [self] in
            job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
        }
    }

    package func checkIsolated() {
        loop.preconditionInEventLoop()
    }
}
