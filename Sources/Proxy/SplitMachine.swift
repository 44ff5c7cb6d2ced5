import Core

/// Chooses the target of each request of a TrafficSplitter (contract X3 … X7). Pure: chance is an argument.
///
/// Without stickiness the shares are exact in every block of 100 requests. With it, the keys are divided into 100
/// buckets that belong to targets. A change of weights moves as few buckets as possible. With three or more targets
/// that depends on who owns them now, so the owners are part of a splitter's stored state.
struct SplitMachine: Sendable {
    /// Where a request goes.
    enum Route: Sendable, Hashable {
        case target(String)
        /// The caller named a target that does not exist (contract X5).
        case unknown(String)
    }

    static let bucketCount = 100

    private(set) var specification: SplitterSpecification
    /// The targets but the shadow, in the order of the declaration.
    let names: [String]
    /// The declared weights, in the order of `names`.
    let declared: [Int]
    /// The weights in force.
    private(set) var weights: [Int]
    /// The target that was rolled back.
    private(set) var rolledBack: String?
    /// The owner of each bucket under the declared weights, as an index of `names`.
    private let base: [Int]
    /// The same under the weights in force.
    private var owners: [Int]
    /// How many requests of the current block each target still gets.
    private var block: [Int] = []
    private var blockLeft = 0
    /// Whether ``route(override:values:)`` may decide.
    let hasRules: Bool
    /// The targets that get requests, in the order in which they take one that another has refused (contract X6);
    /// empty where that is not permitted.
    private(set) var ranked: [String]
    private let shadow: SplitterSpecification.Target?
    /// How many requests of the current block are still copied, and how many are left of it.
    private var copies = 0
    private var copyBlockLeft = 0

    /// - Parameter owners: of the buckets before, from which as few as possible move; `nil` for a new splitter.
    init(_ specification: SplitterSpecification, owners: [String]? = nil) {
        self.specification = specification
        let targets = specification.targets.filter { !$0.isShadow }
        names = targets.map(\.api)
        declared = targets.map(\.weight)
        weights = declared
        ranked = specification.hasFallback ? Self.ranked(names, declared) : []
        hasRules = !specification.matches.isEmpty || specification.allowsOverride
        shadow = specification.targets.first(where: \.isShadow)
        let names = names
        if let owners, owners.count == Self.bucketCount {
            base = Self.reassign(owners.map { names.firstIndex(of: $0) }, weights: declared)
        } else {
            base = Self.initialOwners(declared)
        }
        self.owners = base
    }

    /// The owner of each bucket under the declared weights.
    var bucketOwners: [String] { base.map { names[$0] } }

    /// Whether ``bucketOwners`` follow from the weights alone.
    var hasInitialOwners: Bool { base == Self.initialOwners(declared) }

    // MARK: Choice

    /// Decides by the caller's `X-Cortex-Target` and by the rules of `match`; `nil` when weights decide.
    ///
    /// - Parameters:
    ///   - override: the value of `X-Cortex-Target`.
    ///   - values: the values of a header field, by its name in any case.
    func route(override: String?, values: (String) -> [String]) -> Route? {
        if let override, specification.allowsOverride {
            return names.contains(override) ? .target(override) : .unknown(override)
        }
        for match in specification.matches {
            let matches = values(match.header).contains { value in
                switch match.rule {
                case .value(let expected): value == expected
                case .prefix(let prefix): value.utf8.starts(with: prefix.utf8)
                }
            }
            if matches { return .target(match.api) }
        }
        return nil
    }

    /// The target of a sticky request.
    ///
    /// - Parameter key: a ``StableHash``.
    func target(of key: UInt64) -> String {
        names[owners[Int(key.multipliedFullWidth(by: UInt64(Self.bucketCount)).high)]]
    }

    /// The target of the next request without a key.
    mutating func next(using generator: inout some RandomNumberGenerator) -> String {
        if blockLeft == 0 {
            block = weights
            blockLeft = block.reduce(0, +)
        }
        var number = Int.random(in: 0..<blockLeft, using: &generator)
        blockLeft -= 1
        for index in block.indices {
            if number < block[index] {
                block[index] -= 1
                return names[index]
            }
            number -= block[index]
        }
        return names[0]
    }

    /// The shadow, if the next request is copied to it (contract X7): exactly as many of every 100 as its weight.
    mutating func nextCopy(using generator: inout some RandomNumberGenerator) -> String? {
        guard let shadow, shadow.weight > 0 else { return nil }
        if copyBlockLeft == 0 {
            copyBlockLeft = 100
            copies = shadow.weight
        }
        let isCopied = Int.random(in: 0..<copyBlockLeft, using: &generator) < copies
        copyBlockLeft -= 1
        if isCopied { copies -= 1 }
        return isCopied ? shadow.api : nil
    }

    private static func ranked(_ names: [String], _ weights: [Int]) -> [String] {
        names.indices.filter { weights[$0] > 0 }.sorted { (-weights[$0], $0) < (-weights[$1], $1) }.map { names[$0] }
    }

    // MARK: Roll-back

    /// Sets the weight of a target to 0 and gives its share to the others in proportion to theirs, or in equal parts
    /// when they have none.
    ///
    /// - Returns: `false` when there is no other target.
    mutating func rollBack(_ api: String) -> Bool {
        guard let index = names.firstIndex(of: api), names.count > 1 else { return false }
        rolledBack = api
        weights = Self.weights(declared, without: index)
        begin()
        return true
    }

    mutating func resume() {
        rolledBack = nil
        weights = declared
        begin()
    }

    private mutating func begin() {
        blockLeft = 0
        if specification.hasFallback { ranked = Self.ranked(names, weights) }
        owners = rolledBack == nil ? base : Self.reassign(base, weights: weights)
    }

    private static func weights(_ declared: [Int], without index: Int) -> [Int] {
        let others = declared.indices.filter { $0 != index }
        let total = others.reduce(0) { $0 + declared[$1] }
        let parts = others.map { total == 0 ? 1 : declared[$0] }
        let whole = total == 0 ? others.count : total
        var weights = declared.map { _ in 0 }
        for (other, part) in zip(others, parts) { weights[other] = part * 100 / whole }
        // The rest goes to the largest remainders.
        let rest = 100 - weights.reduce(0, +)
        let order = zip(others, parts).sorted { (-($0.1 * 100 % whole), $0.0) < (-($1.1 * 100 % whole), $1.0) }
        for (other, _) in order.prefix(rest) { weights[other] += 1 }
        return weights
    }

    // MARK: Buckets

    private static func initialOwners(_ weights: [Int]) -> [Int] {
        weights.indices.flatMap { Array(repeating: $0, count: weights[$0]) }
    }

    /// Moves as few buckets as possible so that each target owns as many as its weight. A growing target only takes.
    ///
    /// A target that shrinks gives its last buckets to a target that is declared after it, and its first ones to a
    /// target that is declared before it. So there is always one boundary between two targets.
    ///
    /// - Parameter owners: `nil` for a target that is gone.
    private static func reassign(_ owners: [Int?], weights: [Int]) -> [Int] {
        var counts = weights.map { _ in 0 }
        for case let owner? in owners { counts[owner] += 1 }
        var owners = owners
        for growing in weights.indices where counts[growing] < weights[growing] {
            var wanted = weights[growing] - counts[growing]
            func take(_ bucket: Int) { owners[bucket] = growing; wanted -= 1 }
            for bucket in owners.indices where wanted > 0 && owners[bucket] == nil { take(bucket) }
            for shrinking in weights.indices where counts[shrinking] > weights[shrinking] {
                let buckets = shrinking < growing ? Array(owners.indices.reversed()) : Array(owners.indices)
                for bucket in buckets where wanted > 0 && owners[bucket] == shrinking {
                    guard counts[shrinking] > weights[shrinking] else { break }
                    counts[shrinking] -= 1
                    take(bucket)
                }
            }
        }
        return owners.map { $0 ?? 0 }
    }
}
