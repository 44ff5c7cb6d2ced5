package import Core
import Foundation
import HTTPServing
import Logging
import Operator
import ServiceLifecycle
import Support
import Synchronization

/// The addresses of the platform, when they are known.
final class AddressBook: Sendable {
    private let addresses = Mutex<PlatformAddresses?>(nil)

    var known: PlatformAddresses? { addresses.withLock { $0 } }

    func set(_ value: PlatformAddresses) { addresses.withLock { $0 = value } }
}

/// A platform that listens.
package struct RunningPlatform: Sendable {
    /// Base URLs, without a slash at the end.
    package var gateway: String
    package var `operator`: String
    package var operatorSocket: String
    /// The name of the engine.
    package var engine: String
    package var dataDirectory: String
    /// The token of the admin.
    package var token: Secret
}

/// Reports to the user that a platform has started (contract U2, U3).
package protocol PlatformAnnouncer: Sendable {
    /// Makes the platform known to clients on this machine, before its addresses are published.
    ///
    /// - Returns: the name of the client's environment for it.
    func register(_ platform: RunningPlatform) throws -> String

    /// Reports the addresses of the platform. Must return in bounded time, also when its output is not read.
    func report(_ platform: RunningPlatform, environment: String) async
}

/// Publishes the addresses of the platform: to its announcer and in `addresses.json` (contract U2, U3).
struct Announcement: Service {
    let gateway: @Sendable () async throws -> [HTTPListener]
    let `operator`: @Sendable () async throws -> [HTTPListener]
    let directory: PlatformDirectory
    let token: Secret
    let engine: String
    let book: AddressBook
    let announcer: any PlatformAnnouncer

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
            // The server that could not listen reports the reason.
            return
        }
        let platform = RunningPlatform(
            gateway: addresses.gateway, operator: addresses.operator, operatorSocket: directory.operatorSocket,
            engine: engine, dataDirectory: directory.path, token: token)
        let environment = try announcer.register(platform)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try encoder.encode(AddressFile(gateway: addresses.gateway, operator: addresses.operator))
            .write(to: URL(filePath: directory.addresses), options: .atomic)
        book.set(addresses)
        await announcer.report(platform, environment: environment)
        try? await gracefulShutdown()
    }

    private static func url(of listeners: [HTTPListener]) -> String {
        for case .tcp(let host, let port) in listeners {
            return "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        }
        return ""
    }
}
