import Synchronization

/// What several tasks did, in order.
final class Recorder: Sendable {
    private let state = Mutex<[Int]>([])
    var values: [Int] { state.withLock { $0 } }
    func add(_ value: Int) { state.withLock { $0.append(value) } }
}
