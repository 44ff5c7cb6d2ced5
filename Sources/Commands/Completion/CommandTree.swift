import ArgumentParser
import Core
import Foundation

/// The commands with their flags and arguments, as the parser itself describes them: what can be typed is what is
/// completed.
struct CommandTree: Decodable, Sendable {
    struct Name: Decodable, Sendable {
        /// `long`, `short` or `longWithSingleDash`.
        var kind: String
        var name: String

        /// As it is typed.
        var text: String { (kind == "long" ? "--" : "-") + name }
    }

    struct Argument: Decodable, Sendable {
        enum Kind: String, Decodable, Sendable {
            case positional, option, flag
        }

        /// Values that the parser knows of; anything else is found by the argument's name.
        enum Completion: Decodable, Sendable {
            case list([String])
            case files([String])
            case folders
            case other

            private enum CodingKeys: String, CodingKey {
                case list, file, directory
            }
            private struct Values: Decodable { var values: [String] }
            private struct Extensions: Decodable { var extensions: [String] }

            init(from decoder: any Decoder) throws {
                let container = try decoder.container(keyedBy: CodingKeys.self)
                if let list = try container.decodeIfPresent(Values.self, forKey: .list) {
                    self = .list(list.values)
                } else if let file = try container.decodeIfPresent(Extensions.self, forKey: .file) {
                    self = .files(file.extensions)
                } else {
                    self = container.contains(.directory) ? .folders : .other
                }
            }
        }

        var kind: Kind
        var shouldDisplay: Bool
        var isRepeating: Bool
        var names: [Name]?
        var valueName: String?
        var abstract: String?
        var completionKind: Completion?

        func isNamed(_ word: String) -> Bool { names?.contains { $0.text == word } ?? false }
    }

    var commandName: String
    var shouldDisplay: Bool?
    var abstract: String?
    var subcommands: [CommandTree]?
    var arguments: [Argument]?

    var isShown: Bool { shouldDisplay ?? true }

    private struct Dump: Decodable { var command: CommandTree }

    /// The tree of `cortex`.
    static func cortex() throws -> CommandTree {
        try JSONDecoder().decode(Dump.self, from: Data(CortexCommand._dumpHelp().utf8)).command
    }
}
