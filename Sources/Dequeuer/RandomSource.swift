import Synchronization

/// A random number generator that many tasks share.
final class RandomSource: Sendable {
    private let generator: Mutex<any RandomNumberGenerator & Sendable>

    init(_ generator: any RandomNumberGenerator & Sendable) {
        self.generator = Mutex(generator)
    }

    /// Evenly from 0 up to 1.
    func next() -> Double {
        generator.withLock { Double($0.next() >> 11) * 0x1p-53 }
    }
}
