import Core
import Foundation
import Logging
import Subprocess
import Support

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// What an engine hands to a registry.
struct RegistryCredentials: Sendable, Hashable {
    var username = ""
    var password = ""
    /// Instead of a password, where the registry gave one.
    var identityToken = ""
    var registry = ""

    static let anonymous = RegistryCredentials()

    /// The value of `X-Registry-Auth`: JSON in URL-safe base64.
    var header: String {
        guard self != .anonymous else { return "e30=" }
        var members: [String: String] = ["serveraddress": registry]
        if !identityToken.isEmpty {
            members["identitytoken"] = identityToken
        } else {
            members["username"] = username
            members["password"] = password
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings always encode.
        let data = (try? encoder.encode(members)) ?? Data("{}".utf8)
        return data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_")
    }
}

/// The part of Docker's `config.json` that says where credentials are.
struct DockerConfigurationFile: Sendable, Decodable {
    struct Entry: Sendable, Decodable {
        var auth: String?
        var username: String?
        var password: String?
        var identitytoken: String?
    }
    var auths: [String: Entry]?
    var credHelpers: [String: String]?
    var credsStore: String?

    /// The helper program's suffix for a registry, if there is one.
    func helper(for registry: String) -> String? {
        let named = credHelpers?.first { Self.host(of: $0.key) == registry }?.value
        return (named ?? credsStore).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The content of the file itself.
    func credentials(for registry: String) -> RegistryCredentials? {
        // An exact key before one that only means the same host.
        let entries = (auths ?? [:]).sorted { $0.key < $1.key }
        guard
            let entry = entries.first(where: { $0.key == Self.key(for: registry) || $0.key == registry })?.value
                ?? entries.first(where: { Self.host(of: $0.key) == registry })?.value
        else { return nil }
        var result = RegistryCredentials(registry: Self.key(for: registry))
        if let token = entry.identitytoken, !token.isEmpty {
            result.identityToken = token
            return result
        }
        if let auth = entry.auth, !auth.isEmpty {
            guard let data = Data(base64Encoded: auth) else { return nil }
            let text = String(decoding: data, as: UTF8.self)
            guard let colon = text.firstIndex(of: ":") else { return nil }
            result.username = String(text[..<colon])
            // Docker's own writer sometimes leaves NULs at the end.
            result.password = String(text[text.index(after: colon)...]).replacing("\u{0}", with: "")
            return result
        }
        guard let username = entry.username, let password = entry.password else { return nil }
        result.username = username
        result.password = password
        return result
    }

    /// The key under which Docker keeps a registry.
    static func key(for registry: String) -> String {
        registry == "docker.io" ? "https://index.docker.io/v1/" : registry
    }

    /// The host that a key means, with its port: keys may be URLs.
    static func host(of key: String) -> String {
        var rest = key[...]
        for scheme in ["https://", "http://"] where rest.hasPrefix(scheme) { rest = rest.dropFirst(scheme.count) }
        let host = rest.prefix { $0 != "/" }
        return ["index.docker.io", "registry-1.docker.io"].contains(host) ? "docker.io" : String(host)
    }
}

/// Finds the credentials for a registry where `docker login` put them.
struct CredentialStore: Sendable {
    /// The folder of `config.json`.
    let directory: String
    let logger: Logger
    /// Where helper programs are looked for; `nil`: where this process finds its own.
    var searchPath: String?

    /// `nil` when there are none. Never an error: a registry may serve without, and says so if it does not.
    func credentials(for registry: String) async -> RegistryCredentials? {
        guard let file = await read() else { return nil }
        if let helper = file.helper(for: registry) {
            do {
                if let found = try await ask(helper, registry: registry) { return found }
            } catch {
                logger.warning(
                    "credential helper failed",
                    metadata: ["helper": "\(helper)", "registry": "\(registry)", "error": "\(error)"])
            }
        }
        return file.credentials(for: registry)
    }

    private func read() async -> DockerConfigurationFile? {
        let path = directory + "/config.json"
        do {
            return try await blocking {
                guard let data = FileManager.default.contents(atPath: path) else { return nil }
                return try JSONDecoder().decode(DockerConfigurationFile.self, from: data)
            }
        } catch {
            logger.warning("Docker's config.json is not understood", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// Runs `docker-credential-<helper> get`: the registry on its standard input, a JSON document on its standard
    /// output.
    private func ask(_ helper: String, registry: String) async throws -> RegistryCredentials? {
        struct Document: Decodable {
            var username: String?
            var secret: String?
            enum CodingKeys: String, CodingKey {
                case username = "Username"
                case secret = "Secret"
            }
        }
        // It becomes part of a program's name.
        guard
            helper.utf8.allSatisfy({
                (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
                    || [45, 46, 95].contains($0)
            })
        else { return nil }
        let key = DockerConfigurationFile.key(for: registry)
        let output = try await HelperProgram(name: "docker-credential-\(helper)", searchPath: searchPath)
            .run(input: key)
        guard let output else { return nil }
        let document = try JSONDecoder().decode(Document.self, from: Data(output.utf8))
        guard let username = document.username, let secret = document.secret else { return nil }
        var found = RegistryCredentials(registry: key)
        if username == "<token>" {
            found.identityToken = secret
        } else {
            found.username = username
            found.password = secret
        }
        return found
    }
}

/// A credential helper: a program that reads a line and prints a document. It may run for half a minute.
struct HelperProgram {
    let name: String
    /// `nil`: this process's own `PATH`.
    let searchPath: String?

    private static let limit: Duration = .seconds(30)
    private static let outputLimit = 64 * 1024

    /// Runs `<name> get`.
    ///
    /// - Returns: the program's output; `nil` when it is missing or fails, which mostly means that it has no entry for
    ///   the registry.
    /// - Throws: `timed_out` when it does not end; it is killed then.
    func run(input: String) async throws -> String? {
        // Both go through unnamed files. A program that does not read cannot break a pipe, a program that leaves others
        // running does not delay the caller, and no secret stays on the disk.
        let (source, output) = try await blocking { (try Self.file(input), try Self.file("")) }
        let environment =
            searchPath.map { Subprocess.Environment.inherit.updating(["PATH": $0]) } ?? Subprocess.Environment.inherit
        let status: TerminationStatus
        do {
            status = try await withTimeLimit(Self.limit) { [name] in
                try await Subprocess.run(
                    .name(name), arguments: ["get"], environment: environment,
                    input: .fileDescriptor(
                        FileDescriptor(rawValue: source.fileDescriptor), closeAfterSpawningProcess: false),
                    output: .fileDescriptor(
                        FileDescriptor(rawValue: output.fileDescriptor), closeAfterSpawningProcess: false),
                    error: .discarded
                ).terminationStatus
            }
        } catch let error as SubprocessError where error.code == .executableNotFound {
            return nil
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(.timedOut, "The credential helper \(name) did not end.", cause: error)
        }
        guard status.isSuccess else { return nil }
        return try await blocking {
            try output.seek(toOffset: 0)
            return try output.read(upToCount: Self.outputLimit).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    /// An open file without a name that holds `text`, at its beginning.
    private static func file(_ text: String) throws -> FileHandle {
        let folder = FileManager.default.temporaryDirectory.path
        var template = Array((folder + "/cortex-XXXXXX").utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw PlatformError(.setup, "No temporary file can be made.") }
        unlink(template)
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try file.write(contentsOf: Data(text.utf8))
        try file.seek(toOffset: 0)
        return file
    }
}
