/// A pattern for URLs (contract B4): `*` and `?` do not match `/`, `**` does; `[abc]`, `[a-z]` and `[!abc]` are sets of
/// characters, `{a,b}` alternatives. A backslash takes the next character as it is.
struct Glob: Sendable {
    /// Why a pattern is none.
    struct Problem: Error, Sendable, Hashable {
        var reason: String
    }

    private enum Token: Sendable {
        case character(Character)
        case anyCharacter
        /// `*`
        case anyInSegment
        /// `**`
        case anything
        case set(Set<Character>, [ClosedRange<Character>], isNegated: Bool)
        case alternatives([[Token]])
    }

    /// The longest pattern, and the most patterns that alternatives may make.
    private static let longest = 4096
    private static let alternatives = 1024

    private let sequences: [[Token]]

    init(_ text: String) throws(Problem) {
        guard text.utf8.count <= Self.longest else { throw Problem(reason: "a glob has at most \(Self.longest) bytes") }
        var characters = Array(text)[...]
        let tokens = try Self.parse(&characters, depth: 0)
        sequences = try Self.expand(tokens)
    }

    func matches(_ text: String) -> Bool {
        let characters = Array(text)
        return sequences.contains { Self.matches($0, characters) }
    }

    // MARK: Parsing

    private static func parse(_ rest: inout ArraySlice<Character>, depth: Int) throws(Problem) -> [Token] {
        var tokens: [Token] = []
        while let character = rest.first {
            if depth > 0, character == "," || character == "}" { return tokens }
            rest.removeFirst()
            switch character {
            case "\\":
                guard let next = rest.popFirst() else { throw Problem(reason: "it ends with a backslash") }
                tokens.append(.character(next))
            case "?": tokens.append(.anyCharacter)
            case "*":
                if rest.first == "*" {
                    while rest.first == "*" { rest.removeFirst() }
                    tokens.append(.anything)
                } else {
                    tokens.append(.anyInSegment)
                }
            case "[": tokens.append(try set(&rest))
            case "{":
                guard depth < 8 else { throw Problem(reason: "braces are nested too deeply") }
                var choices: [[Token]] = []
                repeat {
                    choices.append(try parse(&rest, depth: depth + 1))
                } while rest.first == "," && rest.popFirst() != nil
                guard rest.popFirst() == "}" else { throw Problem(reason: "a { has no }") }
                tokens.append(.alternatives(choices))
            default: tokens.append(.character(character))
            }
        }
        return tokens
    }

    private static func set(_ rest: inout ArraySlice<Character>) throws(Problem) -> Token {
        var isNegated = false
        if rest.first == "!" || rest.first == "^" {
            isNegated = true
            rest.removeFirst()
        }
        var characters: Set<Character> = []
        var ranges: [ClosedRange<Character>] = []
        var isFirst = true
        while let character = rest.popFirst() {
            if character == "]", !isFirst { return .set(characters, ranges, isNegated: isNegated) }
            isFirst = false
            if rest.first == "-", let last = rest.dropFirst().first, last != "]" {
                guard character <= last else { throw Problem(reason: "a range of characters runs backwards") }
                ranges.append(character...last)
                rest = rest.dropFirst(2)
            } else {
                characters.insert(character)
            }
        }
        throw Problem(reason: "a [ has no ]")
    }

    /// All sequences without alternatives.
    private static func expand(_ tokens: [Token]) throws(Problem) -> [[Token]] {
        var sequences: [[Token]] = [[]]
        for token in tokens {
            guard case .alternatives(let choices) = token else {
                for index in sequences.indices { sequences[index].append(token) }
                continue
            }
            var expanded: [[Token]] = []
            for choice in choices {
                for ending in try expand(choice) {
                    for sequence in sequences { expanded.append(sequence + ending) }
                    guard expanded.count <= Self.alternatives else {
                        throw Problem(reason: "its braces make more than \(Self.alternatives) patterns")
                    }
                }
            }
            sequences = expanded
        }
        return sequences
    }

    // MARK: Matching

    /// Whether the whole text matches. The time is at most the product of both lengths.
    private static func matches(_ tokens: [Token], _ text: [Character]) -> Bool {
        // The positions in the text up to which the tokens so far match.
        var reached = [Bool](repeating: false, count: text.count + 1)
        reached[0] = true
        for token in tokens {
            var next = [Bool](repeating: false, count: text.count + 1)
            switch token {
            case .anyInSegment, .anything:
                let crosses = if case .anything = token { true } else { false }
                var isOpen = false
                for position in 0...text.count {
                    isOpen = isOpen || reached[position]
                    next[position] = isOpen
                    if position < text.count, text[position] == "/", !crosses { isOpen = false }
                }
            case .character, .anyCharacter, .set:
                for position in text.indices where reached[position] {
                    next[position + 1] = accepts(token, text[position])
                }
            case .alternatives: return false
            }
            reached = next
        }
        return reached[text.count]
    }

    private static func accepts(_ token: Token, _ character: Character) -> Bool {
        switch token {
        case .character(let wanted): character == wanted
        case .anyCharacter: character != "/"
        case .set(let characters, let ranges, let isNegated):
            character != "/"
                && (characters.contains(character) || ranges.contains { $0.contains(character) }) != isNegated
        case .anyInSegment, .anything, .alternatives: false
        }
    }
}
