import Core
import Support

/// The hidden command behind the completion scripts: `cortex __complete …` prints what the word at the cursor can
/// become.
///
/// The first line says how the rest is meant: `values`, `files` (with the extensions that fit) or `folders`. Then a
/// candidate a line, with its description after a tab.
enum CompletionAnswer {
    static let command = "__complete"

    /// - Parameter arguments: what follows `__complete`: `words WORD…` or, from bash, `line LINE POINT WORD`.
    static func run(_ arguments: [String], context: CommandContext) async throws {
        let (words, cut) = Self.words(of: arguments)
        let request = CompletionRequest(words: words, tree: try .cortex())
        var lines: [String]
        switch request.expectation {
        case .files(let extensions): lines = [(["files"] + extensions).joined(separator: " ")]
        case .folders: lines = ["folders"]
        case .candidates(let candidates): lines = Self.lines(candidates, request, cut)
        case .names(let names):
            let source = CompletionNames(context: context, environment: request.environment)
            lines = Self.lines(await source.candidates(for: names), request, cut)
        case .nothing: lines = ["values"]
        }
        try context.console.print(lines.joined(separator: "\n"))
    }

    /// - Parameter cut: characters at the beginning of the word that the shell takes for another word.
    private static func lines(
        _ candidates: [CompletionRequest.Candidate], _ request: CompletionRequest, _ cut: Int
    ) -> [String] {
        ["values"]
            + candidates.filter { $0.value.hasPrefix(request.prefix) }.map { candidate in
                let value = String((request.lead + candidate.value).inOneLine.dropFirst(cut))
                return candidate.description.isEmpty ? value : "\(value)\t\(candidate.description.inOneLine)"
            }
    }

    private static func words(of arguments: [String]) -> (words: [String], cut: Int) {
        guard arguments.first == "line", arguments.count == 4, let point = Int(arguments[2]) else {
            return (Array(arguments.dropFirst()), 0)
        }
        let bytes = Array(arguments[1].utf8.prefix(max(0, point)))
        let words = ShellWords.split(String(decoding: bytes, as: UTF8.self))
        let (word, part) = (words.last ?? "", arguments[3])
        // bash ends words at `=`, `@` and `:` too, and replaces only what follows.
        let isBreak = !part.isEmpty && part.allSatisfy { "=@:".contains($0) }
        let rest = isBreak ? "" : part
        return (words, word.hasSuffix(rest) ? word.count - rest.count : 0)
    }
}

/// A command line cut into words, as far as it has been typed.
enum ShellWords {
    /// The last word is the one being typed: empty after a space. Quotes and backslashes are taken away; nothing is
    /// expanded.
    static func split(_ line: String) -> [String] {
        var words: [String] = []
        var word = ""
        var hasWord = false
        var quote: Character?
        var isEscaped = false
        for character in line {
            if isEscaped {
                word.append(character)
                isEscaped = false
            } else if character == "\\", quote != "'" {
                isEscaped = true
                hasWord = true
            } else if let open = quote {
                if character == open { quote = nil } else { word.append(character) }
            } else if character == "'" || character == "\"" {
                quote = character
                hasWord = true
            } else if character.isWhitespace {
                if hasWord { words.append(word) }
                (word, hasWord) = ("", false)
            } else {
                word.append(character)
                hasWord = true
            }
        }
        return words + [word]
    }
}
