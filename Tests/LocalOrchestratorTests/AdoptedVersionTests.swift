import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

/// A restart of the platform in the middle of an update: each pod is handled by the version from which it was started.
@Suite("S3: pods of several versions after a restart")
struct AdoptedVersionTests {
    /// Serves on port 8080; its replacement listens on another port, with another command.
    private let old = OrchestratorFixture.api(grace: .seconds(40))
    private let new: DeployedAPI = {
        var api = OrchestratorFixture.api(version: "2")
        api.specification.pod.port = 9090
        api.specification.pod.maxConcurrency = 7
        api.specification.pod.containers[0].command = ["new"]
        return api
    }()

    private func insert(_ api: DeployedAPI, _ id: String, into fixture: OrchestratorFixture) {
        fixture.engine.insert(PodPlan(of: api, id: id, createdAt: fixture.clock.now(), clientConfiguration: ""))
    }

    @Test("S3: the old version serves on after two restarts in a row, also after one of its containers has exited")
    func midUpdate() async throws {
        let engine = FakeEngine()
        let (old, new) = (old, new)
        for round in 1...2 {
            try await OrchestratorFixture.with(
                engine: engine,
                prepare: { fixture async throws in
                    if round == 1 { insert(old, "echo-before", into: fixture) }
                    await fixture.orchestrator.recall([new, old])
                    await fixture.orchestrator.apply(new, replicas: 1)
                },
                body: { fixture async throws in
                    let replicas = await fixture.ready { $0.count == 1 }
                    #expect(replicas.map(\.id) == ["echo-before"])
                    // Port, concurrency, grace period, timeouts and retries of its deliveries are those of its version.
                    #expect(replicas.first?.api == old)
                    fixture.engine.change("echo-before") { $0.containers["main"] = .exited(ContainerExit(code: 3)) }
                    _ = await fixture.ready { $0.isEmpty }
                    try await fixture.advance() { await fixture.latest().map(\.id) == ["echo-before"] }
                    #expect(fixture.engine.restarted.last?.containers.first?.command == nil, "its own plan")
                    #expect(
                        fixture.engine.restarted.last?.containers.first?.environment.contains(
                            EnvironmentVariable("CORTEX_PORT", "8080")) == true)
                    // Long after everything unready counts as broken.
                    for _ in 0..<40 {
                        fixture.clock.advance(by: .seconds(5))
                        #expect(await fixture.latest().map(\.id) == ["echo-before"])
                    }
                    #expect(!fixture.engine.calls.contains("stop echo-before"))
                })
        }
    }

    @Test("S3: once the new version is ready the adopted old one drains with its own grace period")
    func finishesUpdate() async throws {
        let (old, new) = (old, new)
        try await OrchestratorFixture.with(
            prepare: { fixture async throws in
                insert(old, "echo-before", into: fixture)
                await fixture.orchestrator.recall([new, old])
                await fixture.orchestrator.apply(new, replicas: 1)
            },
            body: { fixture async throws in
                let replica = try #require(await fixture.ready { $0.count == 1 }.first)
                #expect(replica.activity.begin(upTo: 1, maxConcurrency: 1) == 1)
                replica.activity.onCut { replica.activity.end() }
                let started = try await eventually { fixture.engine.pods["echo-p1"] != nil }
                #expect(started)
                fixture.engine.change("echo-p1") { $0.listening = [9090] }
                try await fixture.advance(by: .milliseconds(200)) { replica.activity.isClosed }
                let began = fixture.clock.instant()
                try await fixture.advance() { replica.activity.isCut }
                #expect(fixture.clock.instant() - began >= .seconds(39), "not the 60 s of the new version")
            })
    }

    @Test("S3: a pod whose version is not recorded any more serves on its port and is not taken for broken")
    func unknownVersion() async throws {
        let (old, new) = (old, new)
        try await OrchestratorFixture.with(
            prepare: { fixture async throws in
                insert(old, "echo-before", into: fixture)
                // The declared version listens elsewhere: the guess is wrong.
                await fixture.orchestrator.apply(new, replicas: 1)
            },
            body: { fixture async throws in
                try await expectEventually { fixture.engine.pods["echo-p1"] != nil }
                for _ in 0..<60 {
                    fixture.clock.advance(by: .seconds(5))
                    _ = await fixture.orchestrator.status(api: "echo")
                }
                #expect(!fixture.engine.calls.contains("stop echo-before"))
                #expect(fixture.engine.pods["echo-before"] != nil)
                fixture.engine.change("echo-before") { $0.listening = [9090] }
                try await fixture.advance() { await fixture.latest().map(\.id) == ["echo-before"] }
                fixture.engine.change("echo-p1") { $0.listening = [9090] }
                try await fixture.advance() { await fixture.latest().map(\.id) == ["echo-p1"] }
                try await fixture.advance() { fixture.engine.pods["echo-before"] == nil }
            })
    }

    @Test("S3: a version that changed nothing about pods holds for the pods of the one before it")
    func laterVersionOfTheSamePod() async throws {
        let old = old
        var changed = old
        changed.id = "api-later"
        changed.specification.requests.maxQueueLength = 5
        let (later, new) = (changed, new)
        try await OrchestratorFixture.with(
            prepare: { fixture async throws in
                insert(old, "echo-before", into: fixture)
                await fixture.orchestrator.recall([new, later, old])
                await fixture.orchestrator.apply(new, replicas: 1)
            },
            body: { fixture async throws in
                #expect(await fixture.ready { $0.count == 1 }.first?.api == later)
            })
    }
}
