import Core

/// The content of `cli.yaml` as a value: the environments and which of them is the default (reference: cortex.md §9.2).
package struct EnvironmentFile: Sendable, Hashable {
    /// Name of the default environment; `nil` for none.
    package var defaultEnvironment: String?
    /// In the order of the file. Names are unique.
    package private(set) var environments: [Environment]
    /// The original's switch; kept, and without effect.
    package var telemetry: Bool?

    package init(defaultEnvironment: String? = nil, environments: [Environment] = [], telemetry: Bool? = nil) {
        self.defaultEnvironment = defaultEnvironment
        self.environments = environments
        self.telemetry = telemetry
    }

    /// The environment of that name.
    package subscript(name: String) -> Environment? {
        environments.first { $0.name == name }
    }

    /// Adds an environment, or replaces the one of the same name. The only environment becomes the default; with
    /// `isDefaultIfNone` this one does if there is no default.
    package mutating func put(_ environment: Environment, isDefaultIfNone: Bool = false) {
        if let index = environments.firstIndex(where: { $0.name == environment.name }) {
            environments[index] = environment
        } else {
            environments.append(environment)
        }
        if isDefaultIfNone, defaultEnvironment == nil { defaultEnvironment = environment.name }
        adoptOnlyOne()
    }

    /// Removes an environment. If it was the default, the only remaining one becomes the default.
    ///
    /// - Throws: ``PlatformError`` `not_found`.
    package mutating func remove(_ name: String) throws {
        guard let index = environments.firstIndex(where: { $0.name == name }) else { throw unknown(name) }
        environments.remove(at: index)
        if defaultEnvironment == name { defaultEnvironment = nil }
        adoptOnlyOne()
    }

    /// Renames an environment; the default follows.
    ///
    /// - Throws: ``PlatformError`` `not_found`, or `conflict` when the name is taken.
    package mutating func rename(_ old: String, to new: String) throws {
        guard let index = environments.firstIndex(where: { $0.name == old }) else { throw unknown(old) }
        if let problem = Environment.problem(withName: new) { throw PlatformError(.usage, problem) }
        guard old == new || self[new] == nil else {
            throw PlatformError(
                .conflict, "there already is an environment \"\(new)\"; delete it with: cortex env delete \(new)")
        }
        environments[index].name = new
        if defaultEnvironment == old { defaultEnvironment = new }
    }

    /// - Throws: ``PlatformError`` `not_found`.
    package mutating func setDefault(_ name: String) throws {
        guard self[name] != nil else { throw unknown(name) }
        defaultEnvironment = name
    }

    /// The environment that a command uses: the named one, else the default, else the only one.
    ///
    /// - Throws: ``PlatformError`` `not_found` with what to do.
    package func resolve(_ name: String?) throws -> Environment {
        if let name {
            guard let environment = self[name] else { throw unknown(name) }
            return environment
        }
        if let name = defaultEnvironment, let environment = self[name] { return environment }
        if environments.count == 1 { return environments[0] }
        guard !environments.isEmpty else {
            throw PlatformError(
                .notFound,
                "no environment is configured; start a platform on this machine with: cortex up"
                    + " (or connect to one with: cortex env configure NAME -o URL)")
        }
        throw PlatformError(
            .notFound,
            "there is no default environment; name one with --env (\(names)) or choose one with: cortex env default NAME"
        )
    }

    /// Whether the file's default is missing although there is only one choice.
    package var lacksObviousDefault: Bool {
        environments.count == 1 && defaultEnvironment != environments[0].name
    }

    /// Makes the only environment the default.
    package mutating func adoptOnlyOne() {
        if environments.count == 1, defaultEnvironment == nil || self[defaultEnvironment ?? ""] == nil {
            defaultEnvironment = environments[0].name
        }
    }

    private var names: String { environments.map(\.name).joined(separator: ", ") }

    private func unknown(_ name: String) -> PlatformError {
        let known = environments.isEmpty ? "" : "; there are: \(names)"
        return PlatformError(
            .notFound,
            "there is no environment \"\(name)\"\(known); make it with: cortex env configure \(name) -o URL")
    }
}

extension EnvironmentFile {
    /// Enters the platform of a data directory on this machine, or brings its entry up to date (contract U3).
    ///
    /// The first platform gets the environment `local`. An environment of another data directory is never changed: the
    /// entry is then named after the data directory. The entry becomes the default if there is none.
    ///
    /// - Parameter socket: the platform's unix socket, which identifies its data directory.
    /// - Returns: the environment's name.
    package mutating func register(
        dataDirectory: String, socket: String, operatorEndpoint: String, token: String
    ) -> String {
        let name = nameOfPlatform(dataDirectory: dataDirectory, socket: socket, token: token)
        var environment = self[name] ?? Environment(name: name, operatorEndpoint: operatorEndpoint)
        environment.operatorEndpoint = operatorEndpoint
        environment.token = token
        environment.operatorSocket = socket
        put(environment, isDefaultIfNone: true)
        return name
    }

    private func nameOfPlatform(dataDirectory: String, socket: String, token: String) -> String {
        if let known = environments.first(where: { $0.operatorSocket == socket }) { return known.name }
        guard let local = self["local"] else { return "local" }
        // Versions that wrote no socket are known by the token.
        if local.operatorSocket == nil, local.token == token { return "local" }
        let base = Self.name(from: dataDirectory)
        let names = [base] + (2...(environments.count + 2)).map { "\(base.prefix(Environment.nameLimit - 6))-\($0)" }
        return names.first { self[$0] == nil } ?? base
    }

    /// The last part of a path as the name of an environment.
    private static func name(from path: String) -> String {
        let last = path.split(separator: "/").last.map(String.init) ?? ""
        let plain = last.map { character in
            Environment.problem(withName: "x\(character)") == nil ? character : "-"
        }
        let name = String(plain.drop { $0 == "-" || $0 == "." }.prefix(Environment.nameLimit))
        return name.isEmpty ? "platform" : name
    }
}
