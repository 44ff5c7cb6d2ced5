import Autoscaler
import Core
import Dequeuer
import EngineDocker
import EngineSandbox
import Foundation
import Gateway
import HTTPServing
import LocalOrchestrator
import Logging
import Operator
import ServiceLifecycle
import StoreSQLite

/// Puts the platform together: the only file that names the concrete store and orchestrator (the engine: `EngineSelection`).
///
/// The services stand in the order of dependency, so that shutdown closes the gateway first and the store last.
struct Assembly {
    let settings: UpSettings
    let environment: [String: String]
    let logger: Logger

    /// Runs until a signal; returns after a graceful shutdown.
    ///
    /// - Throws: ``PlatformError`` `setup` when it cannot start here: one line that says what to do.
    func run() async throws {
        let clock = SystemClock()
        let directory = try PlatformDirectory.prepare(settings.dataDirectory)
        let store = try await openStore(clock)
        do {
            try directory.removeStale()
            try PortCheck.check(host: settings.host, ports: [settings.gatewayPort, settings.operatorPort])
            try await run(directory, store, clock)
        } catch {
            try? await store.close()
            throw error
        }
        try await store.close()
    }
}
