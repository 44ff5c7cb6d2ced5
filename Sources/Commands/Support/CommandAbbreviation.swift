import ArgumentParser

/// Command names may be shortened to a prefix that only one of them has: `cortex desc hello` (reference: cortex.md §9.1).
enum CommandAbbreviation {
    static func expand(_ arguments: [String], root: any ParsableCommand.Type) -> [String] {
        var arguments = arguments
        var parent: any ParsableCommand.Type = root
        for index in arguments.indices {
            let word = arguments[index]
            let children = parent.configuration.subcommands
            guard !children.isEmpty, !word.isEmpty, !word.hasPrefix("-") else { break }
            let names = children.map { ($0._commandName, $0) } + [("help", nil)] as [(String, (any ParsableCommand.Type)?)]
            let matches =
                names.filter { $0.0 == word }.isEmpty ? names.filter { $0.0.hasPrefix(word) } : names.filter { $0.0 == word }
            guard matches.count == 1, let match = matches.first else { break }
            arguments[index] = match.0
            guard let child = match.1 else { break }
            parent = child
        }
        return arguments
    }
}
