import Core
import NIOHTTP1
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Operator

@Suite("Rolling back")
struct RollbackTests {
    private static let second = Fixture.yaml.replacing("iris:1", with: "iris:2")

    /// Two versions, a minute apart, and a third that only scales otherwise.
    private func withVersions(_ body: (Fixture, [DeployedAPI]) async throws -> Void) async throws {
        try await Fixture.with { fixture in
            for yaml in [Fixture.yaml, Self.second, Self.second + "\n  autoscaling:\n    max_replicas: 7"] {
                try await fixture.deploy(yaml)
                fixture.orchestrator.setStatus(.of(.ready), of: "iris")
                fixture.clock.advance(by: .seconds(60))
            }
            let versions = try await fixture.store.versions(of: "iris")
            #expect(versions.count == 3)
            try await body(fixture, versions)
        }
    }

    @Test("S3: without a version it goes back to the one before; what touches no pod keeps the pods' identifiers")
    func before() async throws {
        try await withVersions { fixture, versions in
            let reply = try await fixture.call(.POST, "/rollback/iris")
            #expect(reply.status == 200, "\(reply.body)")
            #expect(reply.body.contains("rolling iris (AsyncAPI) back to \(versions[1].id)"))
            let present = try await fixture.store.deployedAPIs()[0]
            #expect(present.specID == versions[1].specID && present.podID == versions[0].podID)
            #expect(present.deploymentID == versions[0].deploymentID, "no replica restarts")
            #expect(present.id != versions[1].id && present.initialDeployment == versions[0].initialDeployment)
            #expect(try await fixture.store.versions(of: "iris").map(\.id).first == present.id)
            #expect(fixture.orchestrator.applied.last?.id == present.id)
            // Again: back to what it came from.
            #expect(try await fixture.call(.POST, "/rollback/iris").status == 200)
            #expect(try await fixture.store.deployedAPIs()[0].specID == versions[0].specID)
        }
    }

    @Test("S3: a version is named by its id or the beginning of it; the one that is present already changes nothing")
    func named() async throws {
        try await withVersions { fixture, versions in
            let oldest = versions[2]
            let reply = try await fixture.call(.POST, "/rollback/iris?version=\(oldest.id.prefix(16))")
            #expect(reply.status == 200, "\(reply.body)")
            let present = try await fixture.store.deployedAPIs()[0]
            #expect(present.specification == oldest.specification && present.submitted == oldest.submitted)
            let applied = fixture.orchestrator.applied.count
            let again = try await fixture.call(.POST, "/rollback/iris?version=\(oldest.id)")
            #expect(again.body.contains("is at \(oldest.id) already"))
            #expect(fixture.orchestrator.applied.count == applied)
        }
    }

    @Test("S3: an unknown version is refused with those that are kept; so is the first version without a word")
    func unknown() async throws {
        try await withVersions { fixture, versions in
            let reply = try await fixture.call(.POST, "/rollback/iris?version=nonsense")
            #expect(reply.status == 404)
            let message = try reply.error.message
            #expect(versions.allSatisfy { message.contains($0.id) }, "\(message)")
            #expect(try await fixture.call(.POST, "/rollback/lily").status == 404)
        }
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let error = try await fixture.call(.POST, "/rollback/iris").error
            #expect(error.kind == "not_found" && error.message.contains("no earlier version"))
        }
    }

    @Test("S3: while it is updating, and where it does not fit any more, a rollback is refused")
    func refused() async throws {
        try await withVersions { fixture, versions in
            fixture.orchestrator.setStatus(.of(.creating), of: "iris")
            let updating = try await fixture.call(.POST, "/rollback/iris")
            #expect(updating.status == 409)
            #expect(try updating.error.kind == "asyncapi.api_updating")
            #expect(try await fixture.call(.POST, "/rollback/iris?force=true").status == 200)
            fixture.orchestrator.setStatus(.of(.ready), of: "iris")
            fixture.orchestrator.state.withLock { $0.problems["iris"] = ["pod.containers[0].image: not here"] }
            let rejected = try await fixture.call(.POST, "/rollback/iris")
            #expect(rejected.status == 400)
            #expect(try rejected.error.problems?.count == 1)
        }
    }
}
