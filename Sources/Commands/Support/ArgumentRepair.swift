/// `--wait` may stand without a number; the parser would take a name that follows it for one.
enum ArgumentRepair {
    static func repair(_ arguments: [String]) -> [String] {
        guard let verb = arguments.first, verb == "submit" || verb == "result" else { return arguments }
        var repaired: [String] = []
        for (index, argument) in arguments.enumerated() {
            if argument == "--" { return repaired + arguments[index...] }
            let next = index + 1 < arguments.count ? arguments[index + 1] : nil
            let isBare = argument == "--wait" && (next.map { WaitLimit(argument: $0) == nil } ?? true)
            repaired.append(isBare ? "--wait=\(WaitLimit.forever)" : argument)
        }
        return repaired
    }
}
