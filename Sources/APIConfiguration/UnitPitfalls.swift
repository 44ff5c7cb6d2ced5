import Core

/// Frequent wrong units, and the correct ones.
enum UnitPitfalls {
    // MARK: Durations

    private static let timeWords: [(words: [String], unit: String, factor: Int64)] = [
        (["s", "sec", "secs", "second", "seconds"], "s", 1), (["m", "min", "mins", "minute", "minutes"], "m", 1),
        (["h", "hr", "hrs", "hour", "hours"], "h", 1), (["d", "day", "days"], "d", 1),
        (["w", "wk", "week", "weeks"], "d", 7), (["ms", "msec", "millisecond", "milliseconds"], "ms", 1),
        (["month", "months", "mo"], "d", 30), (["y", "yr", "year", "years"], "d", 365),
    ]

    static func duration(_ scalar: YAMLScalar, _ range: ClosedRange<Duration>) -> String? {
        switch scalar.value {
        case .integer, .number: return scalar.text.utf8.count <= 20 ? "add the unit, such as \(scalar.text)s" : nil
        case .boolean(let value): return !value && range.contains(.zero) ? "for no time at all write 0s" : nil
        case .null: return nil
        case .string(let text):
            if let (number, unit) = split(text), let count = Int64(number),
                let known = timeWords.first(where: { $0.words.contains(unit.lowercased()) })
            {
                let (value, overflow) = count.multipliedReportingOverflow(by: known.factor)
                let text = "\(value)\(known.unit)"
                return !overflow && DurationSyntax.parse(text).map(range.contains) == true ? "write \(text)" : nil
            }
            if Double(text) != nil { return "add the unit, such as \(text.shortened(to: 20))s" }
            return "the units are ns, us, ms, s, m, h and d, without spaces"
        }
    }

    // MARK: Quantities

    static func quantity(_ scalar: YAMLScalar, isBytes: Bool, _ kind: ConfigurationProblem.Kind) -> String? {
        switch scalar.value {
        case .null, .boolean: return nil
        case .integer(let value):
            guard isBytes, value > 0, kind == .outOfRange else { return nil }
            return "a number without unit is bytes; for mebibytes write \(value)Mi"
        case .number(let value):
            guard isBytes, value >= 1, value < 1e15 else { return isBytes ? "add a unit, such as 512Mi" : nil }
            return value == value.rounded()
                ? "write it without the fraction: \(Int64(value))" : "add a unit, such as \(scalar.text)Gi"
        case .string(let text): return isBytes ? bytes(text, kind) : cores(text)
        }
    }

    private static func bytes(_ text: String, _ kind: ConfigurationProblem.Kind) -> String? {
        guard let (number, unit) = split(text) else { return nil }
        if kind == .outOfRange {
            return unit == "m" ? "m means thousandths of a byte; for mebibytes write \(number)Mi" : nil
        }
        let lower = unit.lowercased()
        guard let letter = lower.first, "kmgtp".contains(letter),
            ["", "b", "i", "ib"].contains(String(lower.dropFirst()))
        else { return "the units are k, M, G, T and Ki, Mi, Gi, Ti, without spaces" }
        let decimal = letter == "k" ? "k" : letter.uppercased()
        let binary = letter.uppercased() + "i"
        if lower.contains("i") { return "write \(number)\(binary)" }
        return "write \(number)\(binary) (by 1024) or \(number)\(decimal) (by 1000)"
    }

    private static func cores(_ text: String) -> String? {
        guard let (number, unit) = split(text) else { return nil }
        switch unit.lowercased() {
        case "core", "cores", "cpu", "cpus", "vcpu", "vcpus": return "write the number of cores alone: \(number)"
        case "%":
            guard let percent = Double(number), percent < 1e6 else { return nil }
            return "write thousandths of a core: \(Int(percent * 10))m"
        case "m", "mcpu", "millicores", "millicpu": return Quantity(text) == nil ? "write \(number)m" : nil
        default: return nil
        }
    }

    /// A number and the unit after it, with or without a space between them.
    private static func split(_ text: String) -> (number: String, unit: String)? {
        let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = text.dropFirst(number.count).drop { $0 == " " }
        guard !number.isEmpty, !unit.isEmpty, Double(number) != nil, text.utf8.count <= 30 else { return nil }
        return (String(number), String(unit))
    }
}
