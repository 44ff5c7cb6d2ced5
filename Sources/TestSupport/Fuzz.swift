import Foundation

/// Hostile inputs for a parser: mutations of a small corpus, the same ones for the same seed.
///
/// CI runs a bounded number of rounds. `make fuzz` raises it by `CORTEX_FUZZ_ROUNDS` and takes a new seed by
/// `CORTEX_FUZZ_SEED`. A failing test names its seed and round, so the input can be made again.
package struct Fuzz: Sendable {
    /// Rounds for each test; `CORTEX_FUZZ_ROUNDS` replaces `fallback`.
    package static func rounds(_ fallback: Int) -> Int { number("CORTEX_FUZZ_ROUNDS") ?? fallback }
    /// `CORTEX_FUZZ_SEED`, else a fixed one.
    package static var seed: UInt64 { number("CORTEX_FUZZ_SEED").map { UInt64($0) } ?? 1 }

    /// Bytes that parsers treat specially, and numbers at the edges.
    private static let tokens: [[UInt8]] =
        [
            "\r\n", "\n", "\0", "\"", "\\", "{", "}", "[", "]", ":", ",", "-", "--", " ", "\t", "%", "/", "..", ";",
            "=",
            "&a", "*a", "<<", "!!", "|", ">", "0", "-1", "4294967295", "9223372036854775808", "1e999", "\u{FEFF}",
            "\u{202E}", "HTTP/1.1", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "\u{00E9}",
        ].map { Array($0.utf8) } + [
            [0xFF], [0xC3], [0xED, 0xA0, 0x80], [0xF5], [0x80], Array(repeating: 0, count: 64),
        ]

    private let corpus: [[UInt8]]
    private let limit: Int
    private var generator: SeededGenerator

    /// - Parameters:
    ///   - corpus: inputs that the parser knows, at least one.
    ///   - limit: longest input, in bytes.
    package init(corpus: [[UInt8]], limit: Int = 16 * 1024, seed: UInt64 = Fuzz.seed) {
        precondition(!corpus.isEmpty)
        self.corpus = corpus
        self.limit = limit
        self.generator = SeededGenerator(seed: seed)
    }

    package init(texts: [String], limit: Int = 16 * 1024, seed: UInt64 = Fuzz.seed) {
        self.init(corpus: texts.map { Array($0.utf8) }, limit: limit, seed: seed)
    }

    /// The next input: one of the corpus after up to eight mutations, now and then none.
    package mutating func next() -> [UInt8] {
        var input = pick(corpus)
        for _ in 0..<Int.random(in: 0...8, using: &generator) { mutate(&input) }
        return Array(input.prefix(limit))
    }

    /// The input in pieces, as a socket may deliver it; together they are the input.
    package mutating func pieces(of input: [UInt8]) -> [ArraySlice<UInt8>] {
        var pieces: [ArraySlice<UInt8>] = []
        var rest = input[...]
        while !rest.isEmpty {
            let count = Bool.random(using: &generator) ? 1 : Int.random(in: 1...rest.count, using: &generator)
            pieces.append(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        return pieces
    }

    private mutating func mutate(_ input: inout [UInt8]) {
        let place = Int.random(in: 0...input.count, using: &generator)
        let end = Int.random(in: place...min(input.count, place + 32), using: &generator)
        switch Int.random(in: 0..<8, using: &generator) {
        case 0: if place < input.count { input[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator) }
        case 1: if place < input.count { input[place] = UInt8.random(in: .min ... .max, using: &generator) }
        case 2: input.removeSubrange(place..<end)
        case 3: input.insert(contentsOf: input[place..<end], at: place)
        case 4: input.insert(contentsOf: pick(Self.tokens), at: place)
        case 5: input.removeSubrange(place...)
        case 6:
            let other = pick(corpus)
            input.replaceSubrange(place..., with: other.suffix(Int.random(in: 0...other.count, using: &generator)))
        default:
            let count = [2, 16, 300].randomElement(using: &generator) ?? 2
            input.insert(contentsOf: Array(repeating: Array(input[place..<end]), count: count).joined(), at: place)
        }
        if input.count > limit { input.removeSubrange(limit...) }
    }

    private mutating func pick(_ items: [[UInt8]]) -> [UInt8] { items.randomElement(using: &generator) ?? [] }

    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }
}

/// A random number generator that gives the same numbers for the same seed (SplitMix64).
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) {
        self.state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
