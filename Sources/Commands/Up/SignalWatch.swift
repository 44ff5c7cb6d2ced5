import Foundation
import ServiceLifecycle
import UnixSignals

/// SIGTERM and Ctrl-C: the first drains, a second one exits at once (contract U4).
struct SignalWatch: Sendable {
    let group: ServiceGroup
    let console: Console

    /// Listens until the task is cancelled.
    func run() async {
        var count = 0
        for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
            count += 1
            if count > 1 {
                console.note("exiting at once; pods that still run are found by the next start")
                exit(130)
            }
            console.note("stopping: requests inside containers may finish; press Ctrl-C again to exit at once")
            await group.triggerGracefulShutdown()
        }
    }
}
