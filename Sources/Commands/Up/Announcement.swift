import Client
import Core
import Foundation
import HTTPServing
import Logging
import Operator
import ServiceLifecycle
import Support
import Synchronization

/// The platform's addresses, once they are known.
final class AddressBook: Sendable {
    private let addresses = Mutex<PlatformAddresses?>(nil)

    var known: PlatformAddresses? { addresses.withLock { $0 } }

    func set(_ value: PlatformAddresses) { addresses.withLock { $0 = value } }
}

/// Says where the platform listens once it does: on standard output, in `addresses.json` and in the CLI's environment (contract U2, U3).
struct Announcement: Service {
    let gateway: @Sendable () async throws -> [HTTPListener]
    let `operator`: @Sendable () async throws -> [HTTPListener]
    let directory: PlatformDirectory
    let environments: EnvironmentStore
    let token: Secret
    let engine: String
    let book: AddressBook
    let console: Console
    let format: OutputFormat

    private struct AddressFile: Encodable {
        var gateway: String
        var `operator`: String
    }

    func run() async throws {
        let addresses: PlatformAddresses
        do {
            addresses = PlatformAddresses(
                gateway: Self.url(of: try await gateway()), operator: Self.url(of: try await `operator`()))
        } catch {
            // The server that could not listen says why.
            return
        }
        let (environment, hint) = try registerEnvironment(addresses.operator)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try encoder.encode(AddressFile(gateway: addresses.gateway, operator: addresses.operator))
            .write(to: URL(filePath: directory.addresses), options: .atomic)
        book.set(addresses)
        let document = [
            "gateway": addresses.gateway, "operator": addresses.operator, "engine": engine, "data": directory.path,
            "environment": environment,
        ]
        let text =
            try format.render(document)
                ?? """
                gateway   \(addresses.gateway)  (callers POST here)
                operator  \(addresses.operator)
                engine    \(engine)
                data      \(directory.path)\(environment == "local" ? "" : "\ncli       environment \(environment)")
                ready     \(hint)
                """
        // Whoever started it may have closed the pipe, or not read it: the platform runs all the same.
        try? await withTimeLimit(.seconds(5)) { [console] in
            try await BlockingPool.checks.run { try console.print(text) }
        }
        try? await gracefulShutdown()
    }

    /// Writes the CLI's environment of this platform, as the default if there is none.
    ///
    /// - Returns: its name, and what to do next, in one line.
    private func registerEnvironment(_ operatorEndpoint: String) throws -> (name: String, hint: String) {
        try environments.update { file in
            let name = file.register(
                dataDirectory: directory.path, socket: directory.operatorSocket, operatorEndpoint: operatorEndpoint,
                token: token.revealed)
            let choice = file.defaultEnvironment == name ? "" : " -e \(name)"
            return (name, "deploy an API with: cortex deploy cortex.yaml\(choice)")
        }
    }

    private static func url(of listeners: [HTTPListener]) -> String {
        for case .tcp(let host, let port) in listeners {
            return "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        }
        return ""
    }
}
