import Core
import Foundation
import TestSupport
import Testing

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
                #expect(try await fixture.leftovers(plan.id) == [])
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
                #expect(try await fixture.leftovers(plan.id) == [])
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
