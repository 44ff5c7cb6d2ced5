import Core
import Synchronization
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("LocalOrchestrator")
struct LocalOrchestratorTests {
    @Test("S4: brings replicas to the declared number and offers them once their port accepts")
    func starts() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 3)
            let replicas = await fixture.ready { $0.count == 3 }
            #expect(Set(replicas.map(\.id)) == ["echo-p1", "echo-p2", "echo-p3"])
            let status = await fixture.orchestrator.status(api: "echo")
            #expect(status?.requested == 3 && status?.ready == 3 && status?.upToDate == 3)
        }
    }

    @Test("C7: a replica whose port does not accept is not offered, and is offered when it does")
    func waitsForPort() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.listenAtStart([])
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await expectEventually { fixture.engine.pods["echo-p1"] != nil }
            try await expectEventually {
                await fixture.orchestrator.status(api: "echo")?.replicas.first?.state == .notReady
            }
            fixture.engine.change("echo-p1") { $0.listening = [8080] }
            try await expectEventually {
                fixture.clock.advance(by: .seconds(1))
                return await fixture.orchestrator.status(api: "echo")?.ready == 1
            }
        }
    }

    @Test("C14: a container that exits is restarted after its backoff, in the same pod")
    func restarts() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.change("echo-p1") { $0.containers["main"] = .exited(ContainerExit(code: 3)) }
            _ = await fixture.ready { $0.isEmpty }
            let status = await fixture.orchestrator.status(api: "echo")
            #expect(status?.replicas.first?.state == .failed)
            #expect(status?.replicas.first?.reason?.contains("exited with code 3") == true)
            #expect(!fixture.engine.calls.contains("restart main of echo-p1"))
            try await expectEventually {
                fixture.clock.advance(by: .milliseconds(200))
                return fixture.engine.calls.contains("restart main of echo-p1")
            }
            try await expectEventually {
                fixture.clock.advance(by: .milliseconds(200))
                return await fixture.orchestrator.status(api: "echo")?.ready == 1
            }
            #expect(await fixture.orchestrator.status(api: "echo")?.replicas.first?.restarts == 1)
        }
    }

    @Test(
        "S4: exit codes of signals are `killed`, lack of memory is `killed_oom`",
        arguments: [
            (137, false, ReplicaState.killed), (143, false, .killed), (137, true, .killedOOM), (1, false, .failed),
        ])
    func exitStates(code: Int, outOfMemory: Bool, state: ReplicaState) async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.change("echo-p1") {
                $0.containers["main"] = .exited(ContainerExit(code: code, outOfMemory: outOfMemory))
            }
            _ = await fixture.ready { $0.isEmpty }
            #expect(await fixture.orchestrator.status(api: "echo")?.replicas.first?.state == state)
        }
    }

    @Test("U4: a pod whose PodInit died is removed and replaced")
    func replacesLostPod() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.change("echo-p1") { $0.isAlive = false }
            let replicas = await fixture.ready { $0.first?.id == "echo-p2" }
            #expect(replicas.count == 1)
            #expect(fixture.engine.calls.contains("stop echo-p1"))
        }
    }

    @Test("S4, U4: pods of an earlier process are adopted, not restarted; those of no deployed API are removed")
    func adopts() async throws {
        let api = OrchestratorFixture.api()
        try await OrchestratorFixture.with(
            prepare: { fixture async throws in
                fixture.engine.insert(
                    PodPlan(of: api, id: "echo-before", createdAt: fixture.clock.now(), clientConfiguration: ""))
                fixture.engine.insert(
                    PodPlan(
                        of: OrchestratorFixture.api("gone"), id: "gone-before", createdAt: fixture.clock.now(),
                        clientConfiguration: ""))
                await fixture.orchestrator.apply(api, replicas: 1)
            },
            body: { fixture async throws in
                let replicas = await fixture.ready { $0.count == 1 }
                #expect(replicas.map(\.id) == ["echo-before"])
                try await expectEventually { fixture.engine.calls.contains("stop gone-before") }
                #expect(!fixture.engine.calls.contains { $0.hasPrefix("start") || $0 == "stop echo-before" })
            })
    }

    @Test("C13: a stopped replica gets no request, and is removed only when those inside have ended")
    func drains() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            let replicas = await fixture.ready { $0.count == 1 }
            let replica = try #require(replicas.first)
            #expect(replica.activity.begin(upTo: 1, maxConcurrency: 1) == 1)
            await fixture.orchestrator.delete(api: "echo")
            _ = await fixture.ready { $0.isEmpty }
            #expect(replica.activity.isClosed && !replica.activity.isCut)
            #expect(fixture.engine.pods.count == 1)
            replica.activity.end()
            try await expectEventually { fixture.engine.pods.isEmpty }
            #expect(!replica.activity.isCut)
        }
    }

    @Test("C13: when the grace period ends, the requests inside are cut off and the replica is removed")
    func cuts() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(grace: .seconds(30)), replicas: 1)
            let replicas = await fixture.ready { $0.count == 1 }
            let replica = try #require(replicas.first)
            #expect(replica.activity.begin(upTo: 1, maxConcurrency: 1) == 1)
            replica.activity.onCut { replica.activity.end() }
            await fixture.orchestrator.delete(api: "echo")
            _ = await fixture.ready { $0.isEmpty }
            try await expectEventually {
                fixture.clock.advance(by: .seconds(5))
                return fixture.engine.pods.isEmpty
            }
            #expect(replica.activity.isCut)
        }
    }

    @Test("C13: pre_stop runs after the drain and before the stop")
    func preStop() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            let api = OrchestratorFixture.api(preStop: .exec(command: ["/bin/bye"]))
            await fixture.orchestrator.apply(api, replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            await fixture.orchestrator.delete(api: "echo")
            try await expectEventually { fixture.engine.pods.isEmpty }
            #expect(fixture.engine.calls.suffix(2) == ["exec /bin/bye in main of echo-p1", "stop echo-p1"])
        }
    }

    @Test("S3: a new version starts beside the old one and takes over when it is ready")
    func updates() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.listenAtStart([])
            await fixture.orchestrator.apply(OrchestratorFixture.api(version: "2"), replicas: 1)
            try await expectEventually { fixture.engine.pods["echo-p2"] != nil }
            #expect(await fixture.latest().map(\.id) == ["echo-p1"])
            #expect(await fixture.orchestrator.status(api: "echo")?.replicas.first?.state == .readyOutOfDate)
            fixture.engine.change("echo-p2") { $0.listening = [8080] }
            try await expectEventually {
                fixture.clock.advance(by: .milliseconds(500))
                return fixture.engine.pods["echo-p1"] == nil
            }
            #expect(await fixture.latest().map(\.id) == ["echo-p2"])
        }
    }

    @Test("S3: a change that does not touch the pod restarts nothing and reaches the running replicas")
    func policyChange() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            var api = OrchestratorFixture.api()
            await fixture.orchestrator.apply(api, replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            api.specification.requests.timeout = .seconds(7)
            await fixture.orchestrator.apply(api, replicas: 1)
            let replicas = await fixture.ready { $0.first?.api.specification.requests.timeout == .seconds(7) }
            #expect(replicas.map(\.id) == ["echo-p1"])
            #expect(fixture.engine.calls.count { $0.hasPrefix("start") } == 1)
        }
    }

    @Test("S4: an image that cannot be pulled shows as err_image_pull with the reason, and is tried again")
    func imageError() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.failNextPrepare(with: PlatformError(.imageUnavailable, "no such image: x"))
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            try await expectEventually {
                await fixture.orchestrator.status(api: "echo")?.replicas.first?.state == .errImagePull
            }
            #expect(await fixture.orchestrator.status(api: "echo")?.replicas.first?.reason == "no such image: x")
            try await expectEventually {
                fixture.clock.advance(by: .milliseconds(500))
                return await fixture.orchestrator.status(api: "echo")?.ready == 1
            }
        }
    }

    @Test("Decision 11: an engine that does not answer changes nothing and is named in the status")
    func engineDown() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.failList(with: PlatformError(.engineUnavailable, "the engine sleeps"))
            try await expectEventually {
                fixture.clock.advance(by: .seconds(5))
                return await fixture.orchestrator.status(api: "echo")?.reason == "the engine sleeps"
            }
            #expect(await fixture.latest().count == 1)
            #expect(!fixture.engine.calls.contains { $0.hasPrefix("stop") })
        }
    }

    @Test("C14: a failing liveness probe stops the container, which is then restarted")
    func liveness() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            let probe = Probe(handler: .tcpSocket(port: 9000), period: .seconds(1), failureThreshold: 2)
            fixture.engine.listenAtStart([8080, 9000])
            await fixture.orchestrator.apply(OrchestratorFixture.api(liveness: probe), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.change("echo-p1", hint: false) { $0.listening = [8080] }
            try await expectEventually {
                fixture.clock.advance(by: .milliseconds(500))
                return fixture.engine.calls.contains("stop main of echo-p1")
            }
            try await expectEventually {
                fixture.clock.advance(by: .milliseconds(500))
                return fixture.engine.calls.contains("restart main of echo-p1")
            }
        }
    }

    @Test("O4: logs of all replicas and containers, each line with its origin; filters by replica and container; tail")
    func logs() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(containers: 2), replicas: 2)
            _ = await fixture.ready { $0.count == 2 }
            for pod in ["echo-p1", "echo-p2"] {
                fixture.engine.setLog(["one", "two"], of: "main", pod: pod)
                fixture.engine.setLog(["three"], of: "side1", pod: pod)
            }
            func read(_ options: LogOptions) async throws -> [String] {
                var lines: [String] = []
                for try await line in try await fixture.orchestrator.logs(api: "echo", options: options).lines {
                    lines.append("\(line.replica) \(line.container) \(line.text)")
                }
                return lines.sorted()
            }
            #expect(try await read(LogOptions()).count == 6)
            #expect(
                try await read(LogOptions(tail: 1, replica: "echo-p2")) == ["echo-p2 main two", "echo-p2 side1 three"])
            #expect(try await read(LogOptions(replica: "echo-p1", container: "side1")) == ["echo-p1 side1 three"])
            await #expect(throws: PlatformError.self) { try await read(LogOptions(replica: "nope")) }
            await #expect(throws: PlatformError.self) { try await read(LogOptions(container: "nope")) }
            await #expect(throws: PlatformError.self) {
                _ = try await fixture.orchestrator.logs(api: "nope", options: LogOptions())
            }
        }
    }

    @Test("O4: a log that fails ends alone with a line that says so; new replicas are picked up without any wait")
    func followedLogs() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(containers: 2), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.failLog(of: "side1", pod: "echo-p1", with: PlatformError(.engineUnavailable, "disk broken"))
            fixture.engine.setLog(["one"], of: "main", pod: "echo-p1")
            fixture.engine.setLog((1...9).map { "new \($0)" }, of: "main", pod: "echo-p2")
            let stream = try await fixture.orchestrator.logs(
                api: "echo", options: LogOptions(follow: true, tail: 1)
            ).lines
            let seen = Mutex<Set<String>>([])
            let reader = Task {
                for try await line in stream { seen.withLock { _ = $0.insert("\(line.replica) \(line.text)") } }
            }
            let failure = "echo-p1 [cortex] this log ends here, because it cannot be read: disk broken"
            try await expectEventually { seen.withLock { $0 } == ["echo-p1 one", failure] }
            // The clock does not advance: only the change brings the new replica's lines, and all of them.
            await fixture.orchestrator.scale(api: "echo", replicas: 2)
            try await expectEventually {
                seen.withLock { $0.isSuperset(of: (1...9).map { "echo-p2 new \($0)" }) }
            }
            await fixture.orchestrator.delete(api: "echo")
            reader.cancel()
            _ = await reader.result
            try await expectEventually { await fixture.orchestrator.logFollowers.isEmpty }
        }
    }

    @Test("O4: a log that is not followed and cannot be read is an error, after what the others wrote")
    func failedLog() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(containers: 2), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            fixture.engine.failLog(of: "main", pod: "echo-p1", with: PlatformError(.engineUnavailable, "disk broken"))
            fixture.engine.setLog(["one"], of: "side1", pod: "echo-p1")
            let lines = Mutex<[String]>([])
            let error = await #expect(throws: PlatformError.self) {
                try await fixture.orchestrator.logs(api: "echo", options: LogOptions()).read { batch in
                    lines.withLock { $0 += batch.lines.logLines }
                }
            }
            #expect(error?.message == "disk broken")
            #expect(lines.withLock { $0 } == ["one"])
        }
    }

    @Test("N8: the last lines of a pod that is not ready are read again only when it wrote something")
    func lastLines() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.listenAtStart([])
            fixture.engine.setLog(["loading"], of: "main", pod: "echo-p1")
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            @Sendable func looks(_ suffix: String = "") -> Int {
                fixture.engine.calls.count { $0 == "last lines of main of echo-p1" + suffix }
            }
            @Sendable func shown() async -> [String]? {
                await fixture.orchestrator.status(api: "echo")?.replicas.first?.lastLines
            }
            try await expectEventually {
                fixture.clock.advance(by: .seconds(1))
                return looks(" unchanged") >= 2
            }
            #expect(looks() == 1)
            #expect(await shown() == ["loading"])
            fixture.engine.setLog(["loading", "still loading"], of: "main", pod: "echo-p1")
            try await expectEventually {
                fixture.clock.advance(by: .seconds(1))
                return await shown() == ["loading", "still loading"]
            }
            #expect(looks() == 2)
        }
    }

    @Test(
        "S2: a replica that is asked for starts at once, without a look at the engine, and no clock has to move for it")
    func wakes() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            await fixture.orchestrator.scale(api: "echo", replicas: 0)
            try await expectEventually { fixture.engine.pods.isEmpty }
            let begin = fixture.clock.now()
            // From here on the list is never answered.
            fixture.engine.holdLists()
            await fixture.orchestrator.scale(api: "echo", replicas: 1)
            _ = await fixture.ready { $0.map(\.id) == ["echo-p2"] }
            #expect(fixture.clock.now() == begin)
            fixture.engine.releaseLists()
        }
    }

    @Test("U4: before the engine has told what runs, nothing is started beside it", .timeLimit(.minutes(1)))
    func adoptsBeforeItScales() async throws {
        let api = OrchestratorFixture.api()
        try await OrchestratorFixture.with(
            prepare: { fixture async throws in
                fixture.engine.insert(
                    PodPlan(of: api, id: "echo-before", createdAt: fixture.clock.now(), clientConfiguration: ""))
                fixture.engine.holdLists()
                await fixture.orchestrator.apply(api, replicas: 0)
                await fixture.orchestrator.scale(api: "echo", replicas: 1)
            },
            body: { fixture async throws in
                fixture.engine.releaseLists()
                _ = await fixture.ready { $0.map(\.id) == ["echo-before"] }
                #expect(!fixture.engine.calls.contains { $0.hasPrefix("start ") })
            })
    }

    @Test(
        "C7: a port is looked at every 10 ms at first, and never waits longer than a twentieth of what its program took",
        arguments: [(0, 10), (100, 10), (1000, 50), (2000, 100), (60_000, 100), (-5000, 10)])
    func pause(elapsed: Int, pause: Int) {
        #expect(
            LocalOrchestrator.pause(after: .milliseconds(elapsed), upTo: .milliseconds(100)) == .milliseconds(pause))
    }
}
