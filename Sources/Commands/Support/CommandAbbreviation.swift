import APIConfiguration
import ArgumentParser
import Core
import Support

/// Command names may be shortened to a prefix that only one of them has: `cortex desc hello`. Contract O2 demands it
/// (reference: cortex.md §9.1), and the argument parser knows only whole names.
enum CommandAbbreviation {
    /// - Throws: ``PlatformError`` `usage` for a name that no command has, or more than one.
    static func expand(_ arguments: [String], root: any ParsableCommand.Type) throws -> [String] {
        var arguments = arguments
        var parent: any ParsableCommand.Type = root
        var path = root._commandName
        for index in arguments.indices {
            let word = arguments[index]
            let children = parent.configuration.subcommands
            guard !children.isEmpty, !word.isEmpty, !word.hasPrefix("-") else { break }
            let names = children.map { $0._commandName } + ["help"]
            let matches = names.contains(word) ? [word] : names.filter { $0.hasPrefix(word) }
            guard let match = matches.first else {
                let near = NearestKey.find(word, among: names)
                throw PlatformError(
                    .usage,
                    "there is no command \"\(path) \(word.inOneLine)\"; "
                        + (near.map { "did you mean \($0)?" } ?? "see: \(path) --help"))
            }
            guard matches.count == 1 else {
                throw PlatformError(
                    .usage, "\"\(word)\" could be \(matches.sorted().joined(separator: ", ")); write more of it")
            }
            arguments[index] = match
            // `help` is followed by names that may be shortened too, but by no command of its own.
            if match != "help" {
                parent = children.first { $0._commandName == match } ?? parent
                path += " \(match)"
            }
        }
        return arguments
    }
}
