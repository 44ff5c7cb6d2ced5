import Core
import Foundation
import Logging
import NIOPosix

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
            return try await NIOThreadPool.singleton.runIfActive {
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
        let searchPath = searchPath
        let output = try await PodFolder.offPool {
            try HelperProgram(name: "docker-credential-\(helper)", searchPath: searchPath).run(input: key)
        }
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
