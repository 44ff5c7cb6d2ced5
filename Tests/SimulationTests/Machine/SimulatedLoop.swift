import Dispatch
import NIOCore
import NIOEmbedded

/// An event loop whose jobs the schedule runs, so that a worker on it is part of the world. Its futures are those of
/// the world's embedded loop.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class SimulatedLoop: EventLoop, @unchecked Sendable {
    private let schedule: Schedule
    private let embedded: EmbeddedEventLoop

    init(_ schedule: Schedule, _ embedded: EmbeddedEventLoop) {
        self.schedule = schedule
        self.embedded = embedded
    }

    var inEventLoop: Bool { true }

    func execute(_ task: @escaping @Sendable () -> Void) { schedule.enqueue(on: self, task) }

    func scheduleTask<T>(deadline: NIODeadline, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        embedded.scheduleTask(deadline: deadline, task)
    }

    func scheduleTask<T>(in delay: TimeAmount, _ task: @escaping @Sendable () throws -> T) -> Scheduled<T> {
        embedded.scheduleTask(in: delay, task)
    }

    func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        callback(nil)
    }

    func preconditionInEventLoop(file: StaticString, line: UInt) {}
}
