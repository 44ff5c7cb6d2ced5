import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The system's unpredictable random numbers, fetched many at a time, because `SystemRandomNumberGenerator` makes a
/// system call for each.
///
/// May be used from any task.
final class SystemRandom: RandomNumberGenerator, Sendable {
    /// The largest number of bytes that the system returns in one call: 256.
    private static let stock = 32

    private let words = Mutex<[UInt64]>([])

    init() {}

    func next() -> UInt64 {
        words.withLock { words in
            if let word = words.popLast() { return word }
            words = Self.fetch()
            return words.popLast() ?? Self.fetchOne()
        }
    }

    /// Empty if the system refuses, as old kernels do.
    private static func fetch() -> [UInt64] {
        [UInt64](unsafeUninitializedCapacity: stock) { buffer, count in
            count = getentropy(buffer.baseAddress, stock * MemoryLayout<UInt64>.size) == 0 ? stock : 0
        }
    }

    private static func fetchOne() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }
}
