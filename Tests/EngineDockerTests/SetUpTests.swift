import Core
import Foundation
import Synchronization
import Testing

@testable import EngineDocker

@Suite("Setting up on an engine that refuses", .timeLimit(.minutes(1)))
struct SetUpTests {
    @Test("N10: a network with the platform's name that it did not make is not used")
    func foreignNetwork() async throws {
        try await DockerDifferencesTests.withEngine { request in
            if request.path.contains("/images/") { return .json(#"{"Id":"sha256:1"}"#) }
            guard request.path.hasSuffix("/networks/cortex-abc.pods") else { return nil }
            return .json(
                #"{"Name":"cortex-abc.pods","Labels":{"cortex.installation":"abc"},"IPAM":{"Config":[{"Subnet":"10.9.0.0/20"}]}}"#
            )
        } _: { (engine, daemon) async throws in
            let error = await #expect(throws: PlatformError.self) { try await engine.setUp() }
            #expect(error?.code == .setup)
            #expect(error?.message.contains("cortex-abc.pods") == true, "\(error?.message ?? "")")
            #expect(daemon.requests("POST", "/networks").isEmpty)
        }
    }

    @Test("N10: the image of PodInit is found by its id; a foreign image with its tag is not run")
    func foreignImage() async throws {
        let isLoaded = Mutex(false)
        let tried = Mutex<[String]>([])
        try await DockerDifferencesTests.withEngine { request in
            if request.path.hasSuffix("/images/load") {
                isLoaded.withLock { $0 = true }
                return .json("{}")
            }
            if request.path.contains("/images/") {
                tried.withLock { $0.append(request.path) }
                // The tag is there from the start; what has the id comes with the load.
                let isTag = request.path.contains("cortex-pod-init")
                return isTag || isLoaded.withLock { $0 } ? .json(#"{"Id":"sha256:foreign"}"#) : nil
            }
            return request.path.hasSuffix("/networks/cortex-abc.pods") ? .json(DockerDifferencesTests.network) : nil
        } _: { (engine, daemon) async throws in
            try await engine.setUp()
            #expect(daemon.requests("POST", "/images/load").count == 1)
            #expect(tried.withLock { $0.first }?.contains("sha256") == true)
            let image = try #require(engine.state.platform?.podInitImage)
            #expect(image.hasPrefix("sha256:") && image != "sha256:foreign")
        }
    }
}
