import Core

/// Times in bins whose width grows with the time: 16 bins for each doubling. A value that is read from it differs by at
/// most 3.1 % from the one that was recorded.
///
/// The range is 0 … 19 hours in microseconds; longer times count as 19 hours.
struct LatencyHistogram: Sendable {
    static let binCount = 528
    /// Bits of a time that choose the bin within its doubling.
    private static let precision = 4
    private static let longest: Int64 = (1 << 36) - 1

    private var bins = [UInt32](repeating: 0, count: binCount)
    private var total = 0

    static func bin(of microseconds: Int64) -> Int {
        let time = UInt64(max(0, min(microseconds, longest)))
        let shift = max(0, 63 - time.leadingZeroBitCount - precision)
        return shift << precision + Int(time >> UInt64(shift))
    }

    /// The time for which a bin stands, in microseconds: as many percent above its smallest as below its largest.
    static func time(of bin: Int) -> Double {
        let shift = max(0, bin >> precision - 1)
        guard shift > 0 else { return Double(bin) }
        let first = Double((bin - shift << precision) << shift)
        let end = first + Double(1 << shift)
        return 2 * first * end / (first + end)
    }

    mutating func add(_ count: UInt32, bin: Int) {
        bins[bin] += count
        total += Int(count)
    }

    /// The smallest time that is not exceeded by a share of all times, in milliseconds; `nil` without times.
    ///
    /// - Parameter share: 0 … 1.
    func quantile(_ share: Double) -> Double? {
        guard total > 0 else { return nil }
        let rank = max(1, Int((share * Double(total)).rounded(.up)))
        var seen = 0
        for bin in bins.indices where bins[bin] > 0 {
            seen += Int(bins[bin])
            if seen >= rank { return Self.time(of: bin) / 1000 }
        }
        return nil
    }
}
