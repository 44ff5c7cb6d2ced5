import Core
import Foundation
import Synchronization
import TestSupport
import Testing

extension EngineCheck {
    static let lifecycle: [EngineCheck] = [
        EngineCheck("U4: a pod is listed with its plan, and nothing is left after it is stopped") {
            fixture in
            let plan = fixture.plan([fixture.agent(), fixture.shell("side", "exec sleep 1000")])
            try await fixture.engine.prepare(plan) { _ in }
            try await fixture.engine.start(plan)
            let pod = try #require(try await fixture.observe(plan.id))
            #expect(pod.isAlive)
            #expect(
                pod.owner
                    == .api(.init(name: "hello", apiID: "api-1", podID: "pod-1", deploymentID: "deployment-1")))
            #expect(pod.createdAt == plan.createdAt)
            #expect(Set(pod.containers.map(\.name)) == ["api", "side"])
            #expect(pod.containers.allSatisfy { $0.state == .running })
            try await fixture.engine.stop(pod: plan.id, grace: .seconds(1))
            #expect(try await fixture.observe(plan.id) == nil)
            try await fixture.expectNothingLeft(of: plan.id)
            await #expect(throws: PlatformError.self) {
                let descriptor = try await fixture.engine.connector(pod: plan.id).connect(port: 8080)
                close(descriptor)
            }
        },
        EngineCheck("U4: stopping an unknown or stopped pod is no error") { fixture in
            try await fixture.engine.stop(pod: "hello-unknown", grace: .seconds(1))
            let plan = fixture.plan([fixture.shell("side", "exec sleep 1000")])
            try await fixture.engine.prepare(plan) { _ in }
            try await fixture.engine.start(plan)
            try await fixture.engine.stop(pod: plan.id, grace: .zero)
            try await fixture.engine.stop(pod: plan.id, grace: .zero)
        },
        EngineCheck("C14: the end of a container is listed, and there is a hint") { fixture in
            let hinted = Mutex<Set<String>>([])
            let hints = fixture.engine.hints()
            let listener = Task { for await hint in hints { hinted.withLock { _ = $0.insert(hint) } } }
            defer { listener.cancel() }
            try await fixture.withPod([
                fixture.shell("side", "exit 7"), fixture.shell("other", "sh -c 'kill -9 $$'; exit $?"),
            ]) {
                (plan) async throws in
                #expect(
                    try await eventually {
                        let first = try await fixture.exit(of: "side", in: plan.id)
                        let second = try await fixture.exit(of: "other", in: plan.id)
                        return first?.code == 7 && second?.code == 137
                    })
                #expect(try await fixture.exit(of: "side", in: plan.id)?.outOfMemory == false)
                #expect(try await eventually { hinted.withLock { $0 }.contains(plan.id) })
            }
        },
        EngineCheck("C14: a restarted container has the same network and /mnt") { fixture in
            let once = "if [ -e /mnt/again ]; then exec sleep 1000; fi; touch /mnt/again; exit 3"
            try await fixture.withPod([fixture.agent(), fixture.shell("side", once)]) { (plan) async throws in
                let space = "import os; result = os.readlink('/proc/self/ns/net')"
                let before = try await Agent.run(space, in: plan.id, of: fixture.engine)
                #expect(try await eventually { try await fixture.exit(of: "side", in: plan.id)?.code == 3 })
                try await fixture.engine.restart(container: "side", of: plan)
                #expect(
                    try await eventually {
                        let state = try await fixture.observe(plan.id)?.containers.first { $0.name == "side" }?.state
                        return state == .running
                    })
                let inside = try await fixture.engine.exec(
                    ["readlink", "/proc/self/ns/net"], container: "side", pod: plan.id, timeout: .seconds(20))
                #expect(try await Agent.run(space, in: plan.id, of: fixture.engine) == before)
                #expect(.string(inside.output.trimmingCharacters(in: .whitespacesAndNewlines)) == before)
            }
        },
        EngineCheck("C13: every container gets SIGTERM at once, and SIGKILL after the grace period") {
            fixture in
            let polite =
                "trap 'echo term > /evidence/polite; exit 0' TERM; touch /mnt/polite; while :; do sleep 0.05; done"
            let stubborn =
                "trap 'echo term > /evidence/stubborn' TERM; touch /mnt/stubborn; while :; do sleep 0.05; done"
            let folder = try evidence(fixture)
            var containers = [fixture.shell("polite", polite), fixture.shell("stubborn", stubborn), fixture.agent()]
            for index in 0...1 { containers[index].volumes = [.init(source: folder.path, target: "/evidence")] }
            let plan = fixture.plan(containers)
            try await fixture.engine.prepare(plan) { _ in }
            try await fixture.engine.start(plan)
            let both = "import os; result = len(os.listdir('/mnt'))"
            #expect(try await eventually { try await Agent.run(both, in: plan.id, of: fixture.engine) == 2 })
            try await fixture.engine.stop(pod: plan.id, grace: .seconds(1))
            for name in ["polite", "stubborn"] {
                #expect(try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8) == "term\n")
            }
            try await fixture.expectNothingLeft(of: plan.id)
        },
        EngineCheck("C14: one container is stopped and started again") { fixture in
            let script = "trap '' TERM; touch /mnt/deaf; while :; do sleep 0.05; done"
            try await fixture.withPod([fixture.agent(), fixture.shell("side", script)]) { (plan) async throws in
                let deaf = "import os; result = os.path.exists('/mnt/deaf')"
                #expect(
                    try await eventually { try await Agent.run(deaf, in: plan.id, of: fixture.engine) == .bool(true) })
                try await fixture.engine.stop(container: "side", of: plan.id, grace: .milliseconds(200))
                #expect(try await fixture.exit(of: "side", in: plan.id)?.code == 137)
                #expect(try await fixture.exit(of: "api", in: plan.id) == nil)
                try await fixture.engine.restart(container: "side", of: plan)
                #expect(try await fixture.exit(of: "side", in: plan.id) == nil)
                try await fixture.engine.stop(container: "api", of: plan.id, grace: .seconds(5))
                #expect(try await fixture.exit(of: "api", in: plan.id) != nil)
            }
        },
        EngineCheck("C12: a missing command fails the start and leaves nothing", needs: .startFailure) {
            fixture in
            let plan = fixture.plan([fixture.agent(), fixture.container("side", ["no-such-command-anywhere"])])
            try await fixture.engine.prepare(plan) { _ in }
            let error = await #expect(throws: PlatformError.self) { try await fixture.engine.start(plan) }
            #expect(error?.code == .containerFailed)
            #expect(error?.message.contains("no-such-command-anywhere") == true)
            #expect(try await fixture.observe(plan.id) == nil)
            try await fixture.expectNothingLeft(of: plan.id)
        },
        EngineCheck("C12: a file that is not executable fails the start and leaves nothing", needs: .startFailure) {
            fixture in
            let plan = fixture.plan([fixture.agent(), fixture.container("side", ["/etc/hosts"])])
            try await fixture.engine.prepare(plan) { _ in }
            let error = await #expect(throws: PlatformError.self) { try await fixture.engine.start(plan) }
            #expect(error?.code == .containerFailed)
            #expect(error?.message.lowercased().contains("permission denied") == true, "\(error?.message ?? "")")
            #expect(try await fixture.observe(plan.id) == nil)
            try await fixture.expectNothingLeft(of: plan.id)
        },
        EngineCheck("U4: a start removes the remains of an earlier start of the same id") { fixture in
            let plan = fixture.plan([fixture.agent()])
            try await fixture.engine.prepare(plan) { _ in }
            try await fixture.engine.start(plan)
            let write = "result = open('/mnt/id', 'w').write('x')"
            #expect(try await Agent.run(write, in: plan.id, of: fixture.engine) == 1)
            try await fixture.killInit(plan.id)
            #expect(try await eventually { try await fixture.observe(plan.id)?.isAlive == false })
            // By the same engine and by one that does not know it.
            for engine in [fixture.engine, try await fixture.anotherEngine()] {
                try await engine.setUp()
                try await engine.start(plan)
                let pod = try #require(try await fixture.observe(plan.id))
                #expect(pod.isAlive && pod.containers.map(\.state) == [.running])
                let look = "import os; result = os.listdir('/mnt')"
                #expect(try await Agent.run(look, in: plan.id, of: fixture.engine) == [])
                try await fixture.killInit(plan.id)
                #expect(try await eventually { try await fixture.observe(plan.id)?.isAlive == false })
            }
            try await fixture.engine.stop(pod: plan.id, grace: .zero)
            try await fixture.expectNothingLeft(of: plan.id)
        },
        EngineCheck("U4: a start that is cancelled at any moment leaves nothing and can be repeated") { fixture in
            let plan = fixture.plan([fixture.agent(), fixture.shell("side", "exec sleep 1000")])
            try await fixture.engine.prepare(plan) { _ in }
            for delay in [0, 5, 20, 60, 150] {
                let start = Task { try await fixture.engine.start(plan) }
                try await Task.sleep(for: .milliseconds(delay))
                start.cancel()
                // It may have been faster than its cancellation.
                if case .success = await start.result { try await fixture.engine.stop(pod: plan.id, grace: .zero) }
                try await fixture.expectNothingLeft(of: plan.id)
            }
            try await fixture.engine.start(plan)
            try await fixture.engine.stop(pod: plan.id, grace: .zero)
            try await fixture.expectNothingLeft(of: plan.id)
        },
        EngineCheck("U4: several pods start and stop at once without affecting each other") { fixture in
            let plans = (0..<4).map { _ in fixture.plan([fixture.agent()]) }
            try await withThrowingTaskGroup { group in
                for plan in plans {
                    group.addTask {
                        try await fixture.engine.prepare(plan) { _ in }
                        try await fixture.engine.start(plan)
                        let write = "result = open('/mnt/id', 'w').write('x')"
                        #expect(try await Agent.run(write, in: plan.id, of: fixture.engine) == 1)
                        try await fixture.engine.stop(pod: plan.id, grace: .seconds(5))
                    }
                }
                try await group.waitForAll()
            }
            for plan in plans { try await fixture.expectNothingLeft(of: plan.id) }
        },
    ]

    /// A folder of the server for what outlives a pod.
    private static func evidence(_ fixture: EngineFixture) throws -> URL {
        let folder = fixture.folder.appendingPathComponent("evidence-\(UInt32.random(in: .min ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder.path)
        return folder
    }
}

extension EngineCheck {
    static let adoption: [EngineCheck] = [
        EngineCheck(
            "U4: another instance on the same data finds the pods, the ends of containers, and every connection"
        ) {
            fixture in
            try await fixture.withPod([fixture.agent(), fixture.shell("side", "echo kept; exit 5")]) {
                (plan) async throws in
                let before = "open('/mnt/mark', 'w').write('here'); result = 1"
                #expect(try await Agent.run(before, in: plan.id, of: fixture.engine) == 1)
                #expect(try await eventually { try await fixture.exit(of: "side", in: plan.id)?.code == 5 })
                let other = try await fixture.anotherEngine()
                try await other.setUp()
                let pod = try #require(try await fixture.observe(plan.id, by: other))
                #expect(try await fixture.observe(plan.id) == pod)
                #expect(pod.isAlive)
                #expect(pod.containers.first { $0.name == "side" }?.state == .exited(ContainerExit(code: 5)))
                let after = "result = open('/mnt/mark').read()"
                #expect(try await Agent.run(after, in: plan.id, of: other) == "here")
                let result = try await other.exec(
                    ["echo", "hi"], container: "api", pod: plan.id, timeout: .seconds(20))
                #expect(result == ExecResult(exitCode: 0, output: "hi\n"))
                #expect(try await lines(of: "side", in: plan.id, other) == ["kept"])
                try await other.restart(container: "side", of: plan)
                #expect(try await eventually { try await lines(of: "side", in: plan.id, other) == ["kept", "kept"] })
                try await other.stop(pod: plan.id, grace: .seconds(5))
                try await fixture.expectNothingLeft(of: plan.id)
                #expect(try await fixture.observe(plan.id) == nil)
            }
        },
        EngineCheck("U4: a pod whose PodInit was killed is not alive, and is removed completely") { fixture in
            try await fixture.withPod([fixture.agent(), fixture.shell("side", "exec sleep 1000")]) {
                (plan) async throws in
                _ = try await Agent.run("result = 1", in: plan.id, of: fixture.engine)
                try await fixture.killInit(plan.id)
                #expect(try await eventually { try await fixture.observe(plan.id)?.isAlive == false })
                await #expect(throws: PlatformError.self) {
                    let descriptor = try await fixture.engine.connector(pod: plan.id).connect(port: 8080)
                    close(descriptor)
                }
                try await fixture.engine.stop(pod: plan.id, grace: .seconds(5))
                #expect(try await fixture.observe(plan.id) == nil)
                try await fixture.expectNothingLeft(of: plan.id)
            }
        },
    ]

    static func lines(of container: String, in pod: String, _ engine: any Engine, tail: Int? = nil) async throws
        -> [String]
    {
        var lines: [String] = []
        for try await line in try await engine.logs(container: container, pod: pod, follow: false, tail: tail).lines {
            lines.append(line)
        }
        return lines
    }
}
