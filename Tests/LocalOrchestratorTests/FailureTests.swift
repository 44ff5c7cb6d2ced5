import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

/// What happens to replicas when something fails: the table of docs/failures.md, on an engine that fails on request.
@Suite("Failures of pods")
struct FailureTests {
    private func replica(_ fixture: OrchestratorFixture, _ index: Int = 0) async -> ReplicaStatus? {
        guard let replicas = await fixture.orchestrator.status(api: "echo")?.replicas, replicas.indices.contains(index)
        else { return nil }
        return replicas[index]
    }

    @Test("C14: a crash loop waits 1 s, 2 s, 4 s …, says how it ended and what it wrote last")
    func crashLoop() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.listenAtStart([])
            fixture.engine.change("echo-p1", hint: false) { $0.listening = [] }
            fixture.engine.setLog(["loading", "Traceback: no weights"], of: "main", pod: "echo-p1")
            var waits: [Duration] = []
            for round in 1...4 {
                fixture.engine.change("echo-p1") { $0.containers["main"] = .exited(ContainerExit(code: 3)) }
                try await expectEventually { await self.replica(fixture)?.restarts == round }
                let exited = fixture.clock.now()
                #expect(await replica(fixture)?.state == .failed)
                // R21: what `Retry-After` is made of.
                #expect(await replica(fixture)?.nextStart == .seconds(1 << (round - 1)))
                #expect(await replica(fixture)?.exitsInRow == round)
                try await expectEventually {
                    await self.replica(fixture)?.lastLines == ["loading", "Traceback: no weights"]
                }
                try await fixture.advance(by: .milliseconds(250)) {
                    fixture.engine.calls.count { $0 == "restart main of echo-p1" } == round
                }
                waits.append(fixture.clock.now() - exited)
                try await expectEventually { await self.replica(fixture)?.state == .notReady }
            }
            // The clock moves in steps, and a step may pass before the restart is seen.
            for (wait, least) in zip(waits, [1, 2, 4, 8]) { #expect(wait >= .seconds(least), "\(waits)") }
            // While it runs again and does not listen, both reasons are shown.
            try await fixture.advance() {
                let reason = await self.replica(fixture)?.reason ?? ""
                return reason.contains("port 8080") && reason.contains("exited with code 3")
            }
            #expect(fixture.engine.calls.count { $0.hasPrefix("start ") } == 1, "always in the same pod")
        }
    }

    @Test(
        "N7: a pod that stores more than compute.disk is replaced, its requests go back to the queue, and describe says why",
        arguments: [
            (DiskUsage.bytes(201 << 20), "more than its compute.disk of 200 MiB"), (.unknown, "cannot be measured"),
        ])
    func disk(_ usage: DiskUsage, _ reason: String) async throws {
        try await OrchestratorFixture.with { fixture async throws in
            // The limits of both containers are added up.
            await fixture.orchestrator.apply(OrchestratorFixture.api(containers: 2, disk: "100Mi"), replicas: 1)
            let activity = await fixture.ready { $0.count == 1 }[0].activity
            fixture.engine.setDiskUsage(.bytes(200 << 20), of: "echo-p1")
            try await fixture.advance() { fixture.engine.calls.count { $0 == "disk of echo-p1" } >= 2 }
            #expect(fixture.engine.calls.count { $0.hasPrefix("stop ") } == 0)
            #expect(activity.begin(upTo: 1, maxConcurrency: 1) == 1)
            fixture.engine.setDiskUsage(usage, of: "echo-p1")
            try await fixture.advance() { activity.isCut }
            guard case .diskLimit(let text) = activity.cutReason else {
                Issue.record("cut for \(String(describing: activity.cutReason))")
                return
            }
            #expect(text.contains(reason) && text.contains("compute.disk"))
            activity.end()
            _ = await fixture.ready { $0.map(\.id) == ["echo-p2"] }
            try await fixture.advance() { fixture.engine.pods["echo-p1"] == nil }
            #expect(await fixture.orchestrator.status(api: "echo")?.reason == "replica echo-p1 \(text)")
        }
    }

    @Test(
        "C14: liveness by http_get, tcp_socket and exec: the container is stopped and restarted, and the probe is named",
        arguments: [
            Probe.Handler.httpGet(HTTPGet(port: 9000, path: "/live")), .tcpSocket(port: 9000),
            .exec(command: ["/bin/alive"]),
        ])
    func liveness(_ handler: Probe.Handler) async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.setExec(ExecResult(exitCode: 1, output: "sick\n"))
            let probe = Probe(handler: handler, period: .seconds(1), failureThreshold: 2)
            await fixture.orchestrator.apply(OrchestratorFixture.api(liveness: probe), replicas: 1)
            try await fixture.advance() { fixture.engine.calls.contains("stop main of echo-p1") }
            try await fixture.advance() { fixture.engine.calls.contains("restart main of echo-p1") }
            try await expectEventually { await self.replica(fixture)?.restarts ?? 0 >= 1 }
            try await fixture.advance() {
                await self.replica(fixture)?.reason?.contains("liveness probe of main failed") == true
            }
        }
    }

    @Test("S3: a program that cannot be executed shows as failed with the engine's words, and is tried again")
    func notExecutable() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.failNextStart(with: PlatformError(.containerFailed, "main: permission denied"))
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await expectEventually { await self.replica(fixture)?.state == .failed }
            #expect(await replica(fixture)?.reason == "main: permission denied")
            try await fixture.advance() { await self.replica(fixture)?.state == .ready }
            #expect(fixture.engine.pods.count == 1)
        }
    }

    @Test("C7: a port that is never bound shows as not ready and names the port")
    func portNeverBound() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.listenAtStart([])
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await fixture.advance() {
                let status = await self.replica(fixture)
                return status?.state == .notReady && status?.reason?.contains("port 8080") == true
            }
            #expect(await fixture.latest().isEmpty)
        }
    }

    @Test(
        "U4: while the engine does not answer, nothing is replaced; what was lost meanwhile is replaced when it answers again"
    )
    func engineRestarts() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 2)
            _ = await fixture.ready { $0.count == 2 }
            fixture.engine.failList(with: PlatformError(.engineUnavailable, "the engine sleeps"))
            fixture.engine.change("echo-p1") { $0.isAlive = false }
            try await fixture.advance(by: .seconds(5)) {
                await fixture.orchestrator.status(api: "echo")?.reason == "the engine sleeps"
            }
            #expect(!fixture.engine.calls.contains { $0.hasPrefix("stop") })
            fixture.engine.failList(with: nil)
            try await fixture.advance(by: .seconds(5)) { fixture.engine.calls.contains("stop echo-p1") }
            let replicas = await fixture.ready { $0.count == 2 && $0.contains { $0.id == "echo-p3" } }
            #expect(Set(replicas.map(\.id)) == ["echo-p2", "echo-p3"])
            #expect(await fixture.orchestrator.status(api: "echo")?.reason == nil)
        }
    }

    @Test("U4: after a reboot of the machine every pod is dead: all are removed and as many started, none is offered")
    func reboot() async throws {
        let api = OrchestratorFixture.api()
        try await OrchestratorFixture.with(
            prepare: { fixture async throws in
                for index in 1...3 {
                    let id = "echo-before\(index)"
                    fixture.engine.insert(
                        PodPlan(of: api, id: id, createdAt: fixture.clock.now(), clientConfiguration: ""))
                    fixture.engine.change(id) { $0.isAlive = false }
                }
                await fixture.orchestrator.apply(api, replicas: 3)
            },
            body: { fixture async throws in
                let replicas = await fixture.ready { $0.count == 3 }
                #expect(Set(replicas.map(\.id)) == ["echo-p1", "echo-p2", "echo-p3"])
                try await expectEventually { fixture.engine.pods.count == 3 }
                #expect(Set(fixture.engine.pods.keys) == ["echo-p1", "echo-p2", "echo-p3"], "nothing leaks")
            })
    }

    @Test("S4: a container that ended while the platform was away is restarted in its adopted pod")
    func endedMeanwhile() async throws {
        let api = OrchestratorFixture.api()
        try await OrchestratorFixture.with(
            prepare: { fixture async throws in
                fixture.engine.insert(
                    PodPlan(of: api, id: "echo-before", createdAt: fixture.clock.now(), clientConfiguration: ""))
                fixture.engine.change("echo-before") { $0.containers["main"] = .exited(ContainerExit(code: 9)) }
                await fixture.orchestrator.apply(api, replicas: 1)
            },
            body: { fixture async throws in
                try await fixture.advance() { fixture.engine.calls.contains("restart main of echo-before") }
                try await fixture.advance() { await fixture.latest().map(\.id) == ["echo-before"] }
                #expect(!fixture.engine.calls.contains { $0.hasPrefix("start ") })
            })
    }

    @Test("C14: a clock that is set back by an hour does not put a restart off by an hour", arguments: [-3600, 3600])
    func clockJump(_ seconds: Int) async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.change("echo-p1") { $0.containers["main"] = .exited(ContainerExit(code: 3)) }
            try await expectEventually { await self.replica(fixture)?.restarts == 1 }
            fixture.clock.jump(by: .seconds(seconds))
            let begin = fixture.clock.now()
            try await fixture.advance() { fixture.engine.calls.contains("restart main of echo-p1") }
            try await fixture.advance() { await self.replica(fixture)?.state == .ready }
            #expect(fixture.clock.now() - begin < .seconds(600))
        }
    }

    @Test("S3: a version that never gets ready leaves the old one serving, and its replica says why")
    func brokenVersion() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.listenAtStart([])
            await fixture.orchestrator.apply(OrchestratorFixture.api(version: "2"), replicas: 1)
            try await expectEventually { fixture.engine.pods["echo-p2"] != nil }
            fixture.engine.setLog(["ImportError: no module named torch"], of: "main", pod: "echo-p2")
            fixture.engine.change("echo-p2") { $0.containers["main"] = .exited(ContainerExit(code: 1)) }
            try await fixture.advance() {
                let broken = await self.replica(fixture, 1)
                return broken?.reason?.contains("exited with code 1") == true
                    && broken?.lastLines == ["ImportError: no module named torch"]
            }
            for _ in 0..<200 { fixture.clock.advance(by: .seconds(1)) }
            #expect(await fixture.latest().map(\.id) == ["echo-p1"])
            #expect(!fixture.engine.calls.contains("stop echo-p1"))
            // Going back: the old replica is current again, the broken one goes, and nothing is restarted.
            fixture.engine.forgetCalls()
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await fixture.advance() { fixture.engine.pods["echo-p2"] == nil }
            #expect(await fixture.latest().map(\.id) == ["echo-p1"])
            #expect(!fixture.engine.calls.contains { $0.hasPrefix("start ") || $0 == "stop echo-p1" })
        }
    }

    @Test(
        "S3, S4: a forced third version turns an update around midway: what never served goes at once, the serving one stays"
    )
    func turnsAround() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.listenAtStart([])
            await fixture.orchestrator.apply(OrchestratorFixture.api(version: "2"), replicas: 1)
            try await expectEventually { fixture.engine.pods["echo-p2"] != nil }
            fixture.engine.listenAtStart([8080])
            await fixture.orchestrator.apply(OrchestratorFixture.api(version: "3"), replicas: 1)
            let replicas = await fixture.ready { $0.map(\.id) == ["echo-p3"] }
            #expect(replicas.count == 1)
            try await expectEventually { Set(fixture.engine.pods.keys) == ["echo-p3"] }
        }
    }

    @Test("S4: refresh replaces every replica, a request inside first comes to its end")
    func refresh() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 3)
            let before = await fixture.ready { $0.count == 3 }
            for replica in before { #expect(replica.activity.begin(upTo: 1, maxConcurrency: 1) == 1) }
            await fixture.orchestrator.apply(OrchestratorFixture.api(deployment: "d2"), replicas: 3)
            let ids = Set(before.map(\.id))
            _ = await fixture.ready { $0.count == 3 && ids.isDisjoint(with: $0.map(\.id)) }
            #expect(before.allSatisfy { $0.activity.isClosed && !$0.activity.isCut })
            #expect(fixture.engine.pods.count == 6, "busy ones are not stopped")
            for replica in before { replica.activity.end() }
            try await expectEventually { fixture.engine.pods.count == 3 }
            #expect(before.allSatisfy { !$0.activity.isCut })
        }
    }

    @Test("S2: scale-down takes the idle replica, and of busy ones the one whose youngest request began first")
    func victims() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 3)
            let replicas = await fixture.ready { $0.count == 3 }.sorted { $0.id < $1.id }
            for (replica, ago) in [(replicas[0], 10), (replicas[2], 50)] {
                #expect(replica.activity.begin(upTo: 1, maxConcurrency: 1) == 1)
                replica.activity.started(at: fixture.clock.instant() - .seconds(ago))
            }
            await fixture.orchestrator.scale(api: "echo", replicas: 2)
            _ = await fixture.ready { Set($0.map(\.id)) == ["echo-p1", "echo-p3"] }
            await fixture.orchestrator.scale(api: "echo", replicas: 1)
            _ = await fixture.ready { $0.map(\.id) == ["echo-p1"] }
            #expect(!replicas[2].activity.isCut, "it drains")
            for replica in [replicas[0], replicas[2]] { replica.activity.end() }
        }
    }
}
