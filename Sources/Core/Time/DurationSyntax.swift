/// Go's duration syntax (`60s`, `1h30m`, `1.5h`, `300ms`), with `d` for days of 24 hours.
package enum DurationSyntax {
    private static let units: [(name: String, nanoseconds: Int64)] = [
        ("ns", 1), ("us", 1000), ("µs", 1000), ("μs", 1000), ("ms", 1_000_000), ("s", 1_000_000_000),
        ("m", 60_000_000_000), ("h", 3_600_000_000_000), ("d", 86_400_000_000_000),
    ]

    /// `nil` if `text` is not a duration or exceeds 64 bits of nanoseconds.
    package static func parse(_ text: String) -> Duration? {
        guard text.utf8.count <= 100 else { return nil }
        var rest = Substring(text)
        let isNegative = rest.first == "-"
        if isNegative || rest.first == "+" { rest = rest.dropFirst() }
        if rest == "0" { return .zero }
        guard !rest.isEmpty else { return nil }
        var total: Int64 = 0
        while !rest.isEmpty {
            guard let part = takePart(&rest) else { return nil }
            let (sum, overflow) = total.addingReportingOverflow(part)
            guard !overflow else { return nil }
            total = sum
        }
        return .nanoseconds(isNegative ? -total : total)
    }

    /// Removes one number with its unit from the front; returns nanoseconds, rounded down.
    private static func takePart(_ rest: inout Substring) -> Int64? {
        let whole = rest.prefix { $0.isASCII && $0.isNumber }
        rest = rest.dropFirst(whole.count)
        var fraction: Substring = ""
        if rest.first == "." {
            rest = rest.dropFirst()
            fraction = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(fraction.count)
        }
        guard !whole.isEmpty || !fraction.isEmpty else { return nil }
        let name = rest.prefix { !($0.isASCII && $0.isNumber) && $0 != "." }
        rest = rest.dropFirst(name.count)
        guard let unit = units.first(where: { $0.name == name })?.nanoseconds,
            let count = whole.isEmpty ? 0 : Int64(whole)
        else { return nil }
        let (value, overflow) = count.multipliedReportingOverflow(by: unit)
        guard !overflow else { return nil }
        var part: Int64 = 0
        var place = unit
        for digit in fraction.utf8 {
            // Digits below a nanosecond add nothing; dividing first keeps the sum within 64 bits.
            part += Int64(digit - 48) * (place / 10) + Int64(digit - 48) * (place % 10) / 10
            place /= 10
        }
        let (sum, overflow2) = value.addingReportingOverflow(part)
        return overflow2 ? nil : sum
    }

    /// The shortest usual form: `1h30m`, `7d`, `300ms`, `0s`.
    package static func format(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        var nanoseconds = seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue
        nanoseconds = nanoseconds.addingReportingOverflow(attoseconds / 1_000_000_000).partialValue
        guard nanoseconds != 0 else { return "0s" }
        var rest = nanoseconds.magnitude
        var text = nanoseconds < 0 ? "-" : ""
        for unit in units.reversed() where unit.name != "µs" && unit.name != "μs" {
            let count = rest / unit.nanoseconds.magnitude
            guard count > 0 else { continue }
            text += "\(count)\(unit.name)"
            rest -= count * unit.nanoseconds.magnitude
        }
        return text
    }
}
