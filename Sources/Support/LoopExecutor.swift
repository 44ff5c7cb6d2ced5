package import NIOCore

/// Runs an actor, and the child tasks that it starts, on an event loop: what a connection brings is handled without
/// changing threads.
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

/// Runs tasks that belong to no actor on an event loop.
///
/// With ``LoopExecutor`` each call of an asynchronous function would go through the event loop's queue once more: the
/// runtime would take such a task for one that runs on an actor and has to leave it.
package final class LoopTaskExecutor: TaskExecutor {
    package let loop: any EventLoop

    package init(_ loop: any EventLoop) {
        self.loop = loop
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { [self] in job.runSynchronously(on: asUnownedTaskExecutor()) }
    }
}
