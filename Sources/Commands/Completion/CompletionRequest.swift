import Platform

/// What the word at the cursor can be: a pure function of the command tree and the words before the cursor.
struct CompletionRequest: Sendable, Equatable {
    enum Expectation: Sendable, Equatable {
        /// These, and nothing else.
        case candidates([Candidate])
        case files(extensions: [String])
        case folders
        /// Names that only the cluster or `cli.yaml` knows.
        case names(Names)
        case nothing
    }

    enum Names: Sendable, Equatable {
        case environments
        case apis
        case replicas(api: String)
        case containers(api: String)
        case versions(api: String)
        /// `statuses`: only ids of requests that the command can do something with; empty for all.
        case requests(api: String, statuses: [String])
    }

    struct Candidate: Sendable, Equatable {
        var value: String
        var description: String

        init(_ value: String, _ description: String = "") {
            self.value = value
            self.description = description
        }
    }

    var expectation: Expectation
    /// What the word begins with and a candidate must begin with.
    var prefix: String
    /// What stands in the word before the part that is completed: `--output=`, or `@`.
    var lead: String
    /// The value of `--env` in the line.
    var environment: String?

    /// - Parameter words: all words up to the cursor, the program's name first; the last one is the one to complete,
    ///   and may be empty.
    init(words: [String], tree: CommandTree) {
        var line = CompletionLine(tree: tree)
        for word in words.dropFirst().dropLast() { line.take(word) }
        let word = words.count > 1 ? words[words.count - 1] : ""
        self.environment = line.environment
        self.lead = ""
        self.prefix = word
        // `--wait` may stand alone: what follows is more likely a name than a number.
        if let option = line.pending, !option.isNamed("--wait") {
            self.expectation = Self.values(of: option, in: line, word: prefix)
        } else if !line.isAfterTerminator, word.hasPrefix("--"), let equals = word.firstIndex(of: "="),
            let option = line.option(String(word[..<equals]))
        {
            self.lead = String(word[...equals])
            self.prefix = String(word[word.index(after: equals)...])
            self.expectation = Self.values(of: option, in: line, word: prefix)
        } else if !line.isAfterTerminator, word.hasPrefix("-") {
            self.expectation = .candidates(line.flags)
        } else if !line.children.isEmpty {
            self.expectation = .candidates(line.children.map { Candidate($0.commandName, $0.abstract ?? "") })
        } else if let argument = line.nextPositional {
            self.expectation = Self.values(of: argument, in: line, word: word)
        } else {
            self.expectation = .candidates(word.isEmpty ? [] : line.flags)
        }
        if case .files = expectation, prefix.hasPrefix("@") {
            self.lead += "@"
            self.prefix.removeFirst()
        }
    }

    /// What an argument's value can be: the parser's own list, else what its name says.
    private static func values(of argument: CommandTree.Argument, in line: CompletionLine, word: String) -> Expectation
    {
        switch argument.completionKind {
        case .list(let values): return .candidates(values.map { Candidate($0) })
        case .files(let extensions): return .files(extensions: extensions)
        case .folders: return .folders
        case .other, nil: break
        }
        let api = line.positionals.first ?? ""
        switch argument.valueName {
        case "data": return word.hasPrefix("@") ? .files(extensions: []) : .nothing
        case "directory", "folder": return .folders
        case "path": return .files(extensions: [])
        case "engine": return .candidates(PlatformSettings.EngineChoice.allCases.map { Candidate($0.rawValue) })
        case "level": return .candidates(PlatformSettings.Durability.allCases.map { Candidate($0.rawValue) })
        case "api": return .names(.apis)
        case "environment": return .names(.environments)
        case "id": return .names(.requests(api: api, statuses: line.statusesOfUse))
        case "replica": return .names(.replicas(api: api))
        case "container": return .names(.containers(api: api))
        case "version": return .names(.versions(api: api))
        case "subcommands": return .candidates(line.root.visible.map { Candidate($0.commandName, $0.abstract ?? "") })
        default: return .nothing
        }
    }
}

/// The words of a line, read one by one as the parser would.
struct CompletionLine {
    let root: CommandTree
    private var command: CommandTree
    private(set) var positionals: [String] = []
    /// The option whose value comes next.
    private(set) var pending: CommandTree.Argument?
    private(set) var environment: String?
    private(set) var isAfterTerminator = false
    private var used: [String] = []

    init(tree: CommandTree) {
        self.root = tree
        self.command = tree
    }

    mutating func take(_ word: String) {
        if let option = pending {
            pending = nil
            // `--wait` may stand alone.
            guard option.isNamed("--wait"), WaitLimit(argument: word) == nil else {
                return record(option, value: word)
            }
        }
        if isAfterTerminator { return positionals.append(word) }
        if word == "--" {
            isAfterTerminator = true
        } else if word.hasPrefix("--"), let equals = word.firstIndex(of: "=") {
            let name = String(word[..<equals])
            used.append(name)
            if let option = option(name) { record(option, value: String(word[word.index(after: equals)...])) }
        } else if word.hasPrefix("-"), word.count > 1 {
            used.append(word)
            pending = option(word)
        } else if let child = child(word) {
            command = child
        } else {
            positionals.append(word)
        }
    }

    /// Commands that can come next.
    var children: [CommandTree] { positionals.isEmpty ? command.visible : [] }

    /// The positional argument that comes next.
    var nextPositional: CommandTree.Argument? {
        let arguments = command.arguments?.filter { $0.kind == .positional && $0.shouldDisplay } ?? []
        if positionals.count < arguments.count { return arguments[positionals.count] }
        guard let last = arguments.last, last.isRepeating else { return nil }
        return last
    }

    /// Flags and options that can still be given.
    var flags: [CompletionRequest.Candidate] {
        (command.arguments ?? []).flatMap { argument -> [CompletionRequest.Candidate] in
            guard argument.kind != .positional, argument.shouldDisplay, let names = argument.names else { return [] }
            guard argument.isRepeating || !names.contains(where: { used.contains($0.text) }) else { return [] }
            return names.filter { $0.kind == "long" }.map { .init($0.text, argument.abstract ?? "") }
        }
    }

    /// The option of that name that takes a value.
    func option(_ name: String) -> CommandTree.Argument? {
        command.arguments?.first { $0.kind == .option && $0.isNamed(name) }
    }

    /// Requests that the command can do something with.
    var statusesOfUse: [String] {
        switch command.commandName {
        case "cancel": ["in_queue", "in_progress"]
        case "retry": ["failed"]
        default: []
        }
    }

    private func child(_ word: String) -> CommandTree? {
        guard positionals.isEmpty, let children = command.subcommands else { return nil }
        if let exact = children.first(where: { $0.commandName == word }) { return exact }
        let matches = command.visible.filter { $0.commandName.hasPrefix(word) }
        return matches.count == 1 ? matches[0] : nil
    }

    private mutating func record(_ option: CommandTree.Argument, value: String) {
        if option.valueName == "environment" { environment = value }
    }
}

extension CommandTree {
    /// Commands that are shown in help.
    var visible: [CommandTree] { subcommands?.filter(\.isShown) ?? [] }
}
