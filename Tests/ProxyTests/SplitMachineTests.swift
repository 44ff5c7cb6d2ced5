import Core
import TestSupport
import Testing

@testable import Proxy

private func splitter(
    _ weights: KeyValuePairs<String, Int>, shadow: (String, Int)? = nil, matches: [SplitterSpecification.Match] = [],
    allowsOverride: Bool = false, hasFallback: Bool = true
) -> SplitterSpecification {
    var targets = weights.map { SplitterSpecification.Target(api: $0.key, weight: $0.value) }
    if let shadow { targets.append(.init(api: shadow.0, weight: shadow.1, isShadow: true)) }
    return SplitterSpecification(
        targets: targets, matches: matches, allowsOverride: allowsOverride, hasFallback: hasFallback)
}

private let keys = (0..<100_000).map { StableHash.of("user-\($0)") }

@Suite("The choice of a target")
struct SplitMachineTests {
    private func counts(_ names: some Sequence<String>) -> [String: Int] {
        names.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }

    @Test(
        "X3: every block of 100 requests has exactly the shares, in random order; weight 0 gets none", arguments: 1...5)
    func blocks(seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        var machine = SplitMachine(splitter(["a": 89, "b": 10, "c": 1, "d": 0]))
        var orders: Set<[String]> = []
        for _ in 0..<200 {
            let block = (0..<100).map { _ in machine.next(using: &generator) }
            #expect(counts(block) == ["a": 89, "b": 10, "c": 1])
            orders.insert(block)
        }
        #expect(orders.count == 200)
    }

    @Test("X3: each place of a block is equally likely for each target")
    func fairOrder() {
        var generator = SeededGenerator(seed: 9)
        var machine = SplitMachine(splitter(["a": 80, "b": 20]))
        var places = Array(repeating: 0, count: 100)
        for _ in 0..<5000 {
            for place in 0..<100 where machine.next(using: &generator) == "b" { places[place] += 1 }
        }
        // 1000 are expected, with a standard deviation of 28.
        #expect(places.allSatisfy { abs($0 - 1000) < 150 })
    }

    @Test("X3: changed weights hold for the next request, which begins a new block")
    func newBlock() {
        var generator = SeededGenerator(seed: 4)
        var machine = SplitMachine(splitter(["a": 50, "b": 50]))
        for _ in 0..<37 { _ = machine.next(using: &generator) }
        machine = SplitMachine(splitter(["a": 0, "b": 100]), owners: machine.bucketOwners)
        #expect(counts((0..<100).map { _ in machine.next(using: &generator) }) == ["b": 100])
    }

    @Test("X4: equal keys get the same target, and each target its share of the keys within 1 %")
    func stickyShares() {
        let machine = SplitMachine(splitter(["a": 70, "b": 25, "c": 5, "d": 0]))
        let first = keys.map { machine.target(of: $0) }
        let again = SplitMachine(splitter(["a": 70, "b": 25, "c": 5, "d": 0]))
        #expect(first == keys.map { again.target(of: $0) })
        let counts = counts(first)
        for (name, share) in [("a", 70), ("b", 25), ("c", 5), ("d", 0)] {
            #expect(abs(counts[name, default: 0] - share * 1000) < 1000)
        }
    }

    @Test("X4: when w percent move from one target to another, the keys of those w percent change, and no others")
    func stickyMoves() {
        let steps: [KeyValuePairs<String, Int>] = [
            ["a": 50, "b": 30, "c": 20], ["a": 40, "b": 40, "c": 20], ["a": 40, "b": 10, "c": 50],
            ["a": 65, "b": 10, "c": 25], ["a": 64, "b": 10, "c": 26], ["a": 0, "b": 74, "c": 26],
        ]
        var machine = SplitMachine(splitter(steps[0]))
        var targets = keys.map { machine.target(of: $0) }
        for (old, new) in zip(steps, steps.dropFirst()) {
            machine = SplitMachine(splitter(new), owners: machine.bucketOwners)
            let moved = keys.map { machine.target(of: $0) }
            var pairs: Set<[String]> = []
            var count = 0
            for (before, after) in zip(targets, moved) where before != after {
                count += 1
                pairs.insert([before, after])
            }
            let weight = zip(old, new).reduce(0) { $0 + max(0, $1.0.value - $1.1.value) }
            #expect(abs(count - weight * 1000) < 1000, "\(count) keys changed for \(weight) percent")
            #expect(pairs.count == 1, "\(pairs)")
            targets = moved
        }
    }

    @Test("X4: a key that moved to the growing target never moves back while it grows")
    func growing() {
        for names in [["a", "b"], ["a", "b", "c"]] {
            var machine = SplitMachine(splitter(["a": 60, "b": 0, "c": 40]), owners: nil)
            if names.count == 2 { machine = SplitMachine(splitter(["a": 100, "b": 0])) }
            var moved: Set<UInt64> = []
            for weight in stride(from: 0, through: 100, by: 5) {
                // It takes from one target, then from the other.
                let specification =
                    names.count == 2
                    ? splitter(["a": 100 - weight, "b": weight])
                    : splitter(["a": max(0, 60 - weight), "b": weight, "c": min(40, 100 - weight)])
                machine = SplitMachine(specification, owners: machine.bucketOwners)
                let now = Set(keys.prefix(20_000).filter { machine.target(of: $0) == "b" })
                #expect(moved.isSubset(of: now))
                moved = now
            }
            #expect(moved.count == 20_000)
        }
    }

    @Test("X4: two targets divide the keys by their weights alone, whatever came before")
    func twoTargets() {
        var machine = SplitMachine(splitter(["a": 90, "b": 10]))
        for weight in [50, 20, 100, 0, 10] {
            machine = SplitMachine(splitter(["a": 100 - weight, "b": weight]), owners: machine.bucketOwners)
            #expect(machine.hasInitialOwners)
        }
    }

    @Test("X4: a target that leaves gives its keys to the others; random changes of targets keep the shares exact")
    func randomOwners() {
        var generator = SeededGenerator(seed: 12)
        let names = ["a", "b", "c", "d", "e"]
        var machine = SplitMachine(splitter(["a": 100]))
        for _ in 0..<2000 {
            var left = 100
            var targets: [SplitterSpecification.Target] = []
            for name in names.shuffled(using: &generator).prefix(Int.random(in: 1...5, using: &generator)) {
                let weight = Int.random(in: 0...left, using: &generator)
                left -= weight
                targets.append(.init(api: name, weight: weight))
            }
            targets[0].weight += left
            let before = machine.bucketOwners
            machine = SplitMachine(SplitterSpecification(targets: targets), owners: before)
            let after = counts(machine.bucketOwners)
            for target in targets { #expect(after[target.api, default: 0] == target.weight) }
            // As few as possible have moved.
            let moved = zip(before, machine.bucketOwners).count { $0 != $1 }
            let old = counts(before)
            let least = targets.reduce(0) { $0 + max(0, $1.weight - old[$1.api, default: 0]) }
            #expect(moved == least)
        }
    }

    @Test("X5: the first rule that matches decides, before weights; its target may have weight 0")
    func matches() {
        let machine = SplitMachine(
            splitter(
                ["a": 100, "b": 0, "c": 0],
                matches: [
                    .init(header: "X-Group", rule: .value("beta"), api: "b"),
                    .init(header: "User-Agent", rule: .prefix("Test/"), api: "c"),
                    .init(header: "X-Group", rule: .prefix("b"), api: "c"),
                ]))
        func route(_ fields: [String: [String]], override: String? = nil) -> SplitMachine.Route? {
            machine.route(override: override) { fields[$0] ?? [] }
        }
        #expect(route(["X-Group": ["beta"]]) == .target("b"))
        #expect(route(["X-Group": ["other", "beta"]]) == .target("b"))
        #expect(route(["X-Group": ["bet"]]) == .target("c"))
        #expect(route(["X-Group": ["Beta"]]) == nil)
        #expect(route(["User-Agent": ["Test/1"], "X-Group": ["beta"]]) == .target("b"))
        #expect(route(["User-Agent": ["Test/1"]]) == .target("c"))
        #expect(route(["User-Agent": ["MyTest/1"]]) == nil)
        #expect(route([:]) == nil)
        #expect(route([:], override: "b") == nil, "without allow_override it is dropped")
    }

    @Test("X5: with allow_override a caller chooses the target; an unknown name is refused")
    func override() {
        let machine = SplitMachine(
            splitter(
                ["a": 100, "b": 0], shadow: ("s", 10),
                matches: [.init(header: "h", rule: .prefix(""), api: "a")], allowsOverride: true))
        #expect(machine.route(override: "b") { _ in ["x"] } == .target("b"))
        #expect(machine.route(override: "z") { _ in ["x"] } == .unknown("z"))
        #expect(machine.route(override: "s") { _ in ["x"] } == .unknown("s"))
        #expect(machine.route(override: nil) { _ in ["x"] } == .target("a"))
    }

    @Test("X6: the other targets of weight above 0 take a refused request, the largest weight first")
    func fallbacks() {
        let targets: KeyValuePairs = ["a": 20, "b": 0, "c": 50, "d": 10, "e": 20]
        var machine = SplitMachine(splitter(targets, shadow: ("s", 100)))
        #expect(machine.fallbacks(after: "c") == ["a", "e", "d"])
        #expect(machine.fallbacks(after: "d") == ["c", "a", "e"])
        #expect(machine.fallbacks(after: "b") == ["c", "a", "e", "d"])
        _ = machine.rollBack("c")
        #expect(machine.fallbacks(after: "a") == ["e", "d"])
        #expect(SplitMachine(splitter(targets, hasFallback: false)).fallbacks(after: "c").isEmpty)
    }

    @Test("X7: of every 100 requests exactly the shadow's weight is copied")
    func copies() {
        var generator = SeededGenerator(seed: 2)
        for weight in [0, 1, 33, 100] {
            var machine = SplitMachine(splitter(["a": 100], shadow: ("s", weight)))
            for _ in 0..<20 {
                let copies = (0..<100).compactMap { _ in machine.nextCopy(using: &generator) }
                #expect(copies == Array(repeating: "s", count: weight))
            }
        }
        var machine = SplitMachine(splitter(["a": 100]))
        #expect(machine.nextCopy(using: &generator) == nil)
    }

    @Test("X8: a rolled-back target has weight 0, its share goes to the others in proportion, and resume undoes it")
    func rollBack() {
        var generator = SeededGenerator(seed: 5)
        for (weights, name, expected) in [
            (["a": 90, "b": 10], "b", [100, 0]),
            (["a": 60, "b": 10, "c": 30], "b", [67, 0, 33]),
            (["a": 10, "b": 70, "c": 10, "d": 10], "b", [34, 0, 33, 33]),
            (["a": 0, "b": 100, "c": 0], "b", [50, 0, 50]),
            (["a": 1, "b": 97, "c": 2, "d": 0], "b", [33, 0, 67, 0]),
        ] as [(KeyValuePairs<String, Int>, String, [Int])] {
            var machine = SplitMachine(splitter(weights))
            let before = keys.prefix(5000).map { machine.target(of: $0) }
            for _ in 0..<7 { _ = machine.next(using: &generator) }
            let isPossible = machine.rollBack(name)
            #expect(isPossible)
            #expect(machine.weights == expected)
            let block = counts((0..<100).map { _ in machine.next(using: &generator) })
            for (name, weight) in zip(machine.names, expected) { #expect(block[name, default: 0] == weight) }
            let after = keys.prefix(5000).map { machine.target(of: $0) }
            #expect(!after.contains(name))
            #expect(zip(before, after).allSatisfy { $0 == $1 || $0 == name }, "only keys of that target move")
            machine.resume()
            #expect(machine.weights == weights.map(\.value))
            #expect(keys.prefix(5000).map { machine.target(of: $0) } == before)
        }
        var single = SplitMachine(splitter(["a": 100]))
        let isPossible = single.rollBack("a")
        #expect(!isPossible)
        #expect(single.weights == [100])
    }
}

@Suite("The guard's rule")
struct GuardRuleTests {
    private func rule(
        minRequests: Int = 20, maxErrorRate: Double = 0.05, maxP99: Duration? = nil, baselineFactor: Double = 2
    ) -> GuardRule {
        GuardRule(
            rule: .init(
                api: "b", minRequests: minRequests, maxErrorRate: maxErrorRate, maxP99: maxP99,
                baselineFactor: baselineFactor))
    }

    private func isRollBack(_ verdict: GuardRule.Verdict) -> Bool {
        guard case .rollBack = verdict else { return false }
        return true
    }

    @Test("X8: fewer requests than min_requests are no verdict, however many fail")
    func few() {
        #expect(rule().verdict(target: .init(requests: 19, failures: 19), others: .init()) == .noVerdict)
        #expect(isRollBack(rule().verdict(target: .init(requests: 20, failures: 20), others: .init())))
        #expect(rule(minRequests: 1).verdict(target: .init(), others: .init()) == .noVerdict)
    }

    @Test("X8: the share of failures must be greater than max_error_rate, and than baseline_factor times the others'")
    func rates() {
        func verdict(_ failures: Int, of requests: Int, others: Int, of all: Int) -> GuardRule.Verdict {
            rule().verdict(
                target: .init(requests: requests, failures: failures), others: .init(requests: all, failures: others))
        }
        #expect(verdict(5, of: 100, others: 0, of: 1000) == .content, "equal is not greater")
        #expect(isRollBack(verdict(6, of: 100, others: 0, of: 1000)))
        #expect(verdict(6, of: 100, others: 30, of: 1000) == .content, "twice 3 % is not exceeded")
        #expect(isRollBack(verdict(7, of: 100, others: 30, of: 1000)))
        #expect(isRollBack(verdict(6, of: 100, others: 0, of: 0)))
        #expect(verdict(100, of: 100, others: 900, of: 900) == .content, "both are down")
        #expect(
            verdict(6, of: 100, others: 10, of: 1000)
                == .rollBack(
                    "error rate 6.0 % of 100 requests in 60 s, others 1.0 % of 1000; limits 5.0 % and 2.0 times the others"
                ))
    }

    @Test("X8: p99 is over max_p99 when more than one of a hundred responses took longer")
    func slow() {
        let rule = rule(maxP99: .milliseconds(500))
        func verdict(_ slow: Int, of requests: Int) -> GuardRule.Verdict {
            rule.verdict(target: .init(requests: requests, slow: slow, p99: 612.3), others: .init(requests: 1000))
        }
        #expect(verdict(1, of: 100) == .content)
        #expect(verdict(2, of: 100) == .rollBack("p99 612 ms of 100 requests in 60 s; limit 500 ms"))
        #expect(verdict(2, of: 200) == .content)
        #expect(isRollBack(verdict(1, of: 20)))
        #expect(self.rule().verdict(target: .init(requests: 100, slow: 50), others: .init()) == .content)
    }

    @Test(
        "X8: planted failure rates around the limit: 4 % of many requests is content, 7 % is rolled back",
        arguments: 1...20)
    func planted(seed: Int) {
        for (rate, expected) in [(0.035, false), (0.07, true)] {
            var generator = SeededGenerator(seed: UInt64(seed))
            var target = TrafficRing()
            var others = TrafficRing()
            let start = Instant(seconds: 5000)
            for number in 0..<5000 {
                let now = start + .milliseconds(number * 10)
                let fails = Double.random(in: 0..<1, using: &generator) < rate
                target.record(status: fails ? 500 : 200, isByPlatform: false, microseconds: 1000, now: now)
                let othersFail = Double.random(in: 0..<1, using: &generator) < 0.01
                others.record(status: othersFail ? 503 : 200, isByPlatform: true, microseconds: 1000, now: now)
            }
            let now = start + .seconds(50)
            let verdict = rule().verdict(
                target: .init(target.figures(now: now)),
                others: .init(others.figures(now: now)))
            #expect(isRollBack(verdict) == expected)
        }
    }
}

extension SplitMachine {
    /// The targets that an exchange tries behind the first.
    fileprivate func fallbacks(after first: String) -> [String] { ranked.filter { $0 != first } }
}
