import Core
import Foundation
import Synchronization
import Testing

@testable import EngineDocker

@Suite("Setting up on an engine that refuses", .timeLimit(.minutes(1)))
struct SetUpTests {
    @Test(
        "U5: a start that fails for the platform's own containers tells the engine's reason, without our folders, and leaves nothing"
    )
    func forwarderFails() async throws {
        let folder = Mutex("")
        try await DockerDifferencesTests.withEngine(version: StubDaemon.podman) { request in
            let path = request.path
            if path.contains("/images/") { return .json("{}") }
            if path.hasSuffix("/networks/cortex-abc") {
                return .json(#"{"Name":"cortex-abc","IPAM":{"Config":[{"Subnet":"10.9.0.0/20"}]}}"#)
            }
            if path.hasSuffix("/containers/create") { return .json(#"{"Id":"forwarder"}"#, status: 201) }
            if path.hasSuffix("/start") {
                let text = "IPAM error: 10.9.0.2 is already allocated (\(folder.withLock { $0 }))"
                return .json(#"{"message":"\#(text)"}"#, status: 500)
            }
            return request.method == "DELETE" ? .status(204) : nil
        } _: { (engine, daemon) async throws in
            folder.withLock { $0 = engine.configuration.dataDirectory }
            let error = await #expect(throws: PlatformError.self) { try await engine.setUp() }
            #expect(error?.code == .engineUnavailable)
            #expect(error?.message.contains("10.9.0.2 is already allocated (…)") == true, "\(error?.message ?? "")")
            #expect(!daemon.requests("DELETE", "/containers/forwarder").isEmpty)
        }
    }
}
