import Core
import Logging
import NIOHTTP1
import Operator
import Reconciler
import Synchronization
import TestSupport
import Testing
import Wire

@Suite("Refreshing, deleting, restoring")
struct LifecycleTests {
    @Test("S4: refresh rolls the same specification out anew and keeps the number of replicas")
    func refresh() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let before = try await fixture.store.deployedAPIs()[0]
            fixture.orchestrator.setStatus(.of(.ready), of: "iris")
            try await fixture.store.saveRequestedReplicas(5, of: "iris")
            let reply = try await fixture.call(.POST, "/refresh/iris")
            #expect(reply.status == 200)
            #expect(reply.body == #"{"message":"updating iris (AsyncAPI)"}"# + "\n")
            let after = try await fixture.store.deployedAPIs()[0]
            #expect(after.specID == before.specID)
            #expect(after.podID == before.podID)
            #expect(after.deploymentID != before.deploymentID)
            #expect(after.initialDeployment == before.initialDeployment)
            #expect(fixture.orchestrator.applied.last?.replicas == 5)
            #expect(fixture.orchestrator.applied.last?.deploymentID == after.deploymentID)
        }
    }

    @Test("S4: refresh of an updating API is a conflict unless forced")
    func refreshUpdating() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let refused = try await fixture.call(.POST, "/refresh/iris")
            #expect(refused.status == 409)
            #expect(try refused.error.kind == "asyncapi.api_updating")
            #expect(try await fixture.call(.POST, "/refresh/iris?force=true").status == 200)
            #expect(try await fixture.call(.POST, "/refresh/iris?force").status == 200)
            #expect(try await fixture.call(.POST, "/refresh/iris?force=1").status == 400)
        }
    }

    @Test(
        "A13: delete forgets the API and removes its replicas; its requests stay with keepCache",
        arguments: [true, false])
    func delete(keep: Bool) async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let id = try #require(RequestID("01890a5d-ac96-774b-bcce-b302099a8057"))
            _ = try await fixture.store.submit(
                Submission(id: id, api: "iris", payload: .empty), maxQueueLength: nil, now: fixture.clock.now())
            let reply = try await fixture.call(.DELETE, "/delete/iris\(keep ? "?keepCache=true" : "")")
            #expect(reply.body == #"{"message":"deleting iris"}"# + "\n")
            #expect(fixture.orchestrator.deleted == ["iris"])
            #expect(try await fixture.store.deployedAPIs().isEmpty)
            #expect(try await fixture.call(.GET, "/get/iris").status == 404)
            try await fixture.deploy()
            let record = try await fixture.store.read(id, api: "iris", now: fixture.clock.now())
            #expect(record?.status == (keep ? .cancelled : nil))
        }
    }

    @Test("O1: delete of an unknown API is 404, and what still runs under its name is removed all the same")
    func deleteUnknown() async throws {
        try await Fixture.with { fixture in
            let reply = try await fixture.call(.DELETE, "/delete/ghost")
            #expect(reply.status == 404)
            #expect(fixture.orchestrator.deleted == ["ghost"])
        }
    }

    @Test("A4: when the store is down a delete is 503 and removes no replica")
    func deleteWithoutStore() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            fixture.store.faults.withLock { $0.reading = true }
            let reply = try await fixture.call(.DELETE, "/delete/iris")
            #expect(reply.status == 503)
            #expect(reply.headers.first(name: "Retry-After") != nil)
            #expect(try reply.error.kind == "store_unavailable")
            #expect(fixture.orchestrator.deleted.isEmpty)
        }
    }

    @Test("S4: at a restart every API is declared with its last number of replicas, within its bounds")
    func restore() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy(Fixture.yaml + "\n" + Fixture.yaml.replacing("iris", with: "lily"))
            try await fixture.store.saveRequestedReplicas(9, of: "iris")
            try await fixture.store.saveRequestedReplicas(1000, of: "lily")
            let declared = fixture.orchestrator.applied.count
            // The next process.
            try await Reconciler(
                store: fixture.store, orchestrator: fixture.orchestrator, clock: fixture.clock,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            ).restore()
            let restored = fixture.orchestrator.applied.dropFirst(declared)
            #expect(restored.map(\.api) == ["iris", "lily"])
            #expect(restored.map(\.replicas) == [9, 100])
        }
    }
}
