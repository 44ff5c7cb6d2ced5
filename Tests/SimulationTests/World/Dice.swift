import Core
import TestSupport

/// The random numbers of a world, in the order of their use.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class Dice: @unchecked Sendable {
    private var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    func chance(_ probability: Double) -> Bool {
        guard probability > 0 else { return false }
        return Double(generator.next() >> 11) * 0x1p-53 < probability
    }

    func int(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(generator.next() % UInt64(range.count))
    }

    func pick<Element>(_ elements: [Element]) -> Element { elements[int(0...elements.count - 1)] }

    /// A uniform value between two numbers of seconds.
    func seconds(_ range: ClosedRange<Double>) -> Duration {
        let part = Double(generator.next() >> 11) * 0x1p-53
        return .microseconds(Int64((range.lowerBound + (range.upperBound - range.lowerBound) * part) * 1_000_000))
    }

    func id(now: Timestamp) -> RequestID { RequestID(now: now, using: &generator) }

    /// A generator for the code under test.
    func split() -> SeededGenerator { SeededGenerator(seed: generator.next()) }
}
