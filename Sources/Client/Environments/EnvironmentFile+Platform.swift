import Core

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
