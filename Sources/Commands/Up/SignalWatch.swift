import Foundation
import ServiceLifecycle
import UnixSignals

/// SIGTERM and Ctrl-C: the first drains, a second one exits at once (contract U4).
struct SignalWatch: Sendable {
    let group: ServiceGroup

    /// Listens until the task is cancelled.
    func run() async {
        var count = 0
        for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
            count += 1
            if count > 1 {
                StandardError.write("exiting at once; pods that still run are found by the next start\n")
                exit(130)
            }
            StandardError.write("stopping: requests inside containers may finish; press Ctrl-C again to exit at once\n")
            await group.triggerGracefulShutdown()
        }
    }
}

/// Where words for people go that are no data.
enum StandardError {
    static func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
