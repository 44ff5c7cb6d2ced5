import Core
import Foundation
import TestSupport
import Testing

extension EngineCheck {
    /// What the pods of job workers have besides.
    static let workers: [EngineCheck] = [
        EngineCheck("J8, T6: a worker's containers read the job's files and share a folder that begins empty") {
            fixture in
            let plan = fixture.workerPlan([fixture.agent(), fixture.shell("side", "exec sleep 1000")])
            try await fixture.withPod(plan) {
                let look = """
                    import os
                    def refused():
                        try:
                            open('/cortex/spec/job.json', 'a')
                            return False
                        except OSError:
                            return True
                    result = [open('/cortex/spec/job.json').read(), str(os.listdir('/cortex/artifacts')), str(refused())]
                    """
                #expect(
                    try await Agent.run(look, in: plan.id, of: fixture.engine).strings
                        == ["{\n  \"job_id\": \"j\"\n}\n", "[]", "True"])
                let write = """
                    import os
                    os.makedirs('/cortex/artifacts/a b')
                    result = open('/cortex/artifacts/a b/text', 'w').write('kept')
                    """
                #expect(try await Agent.run(write, in: plan.id, of: fixture.engine) == 4)
                let inside = try await fixture.engine.exec(
                    ["cat", "/cortex/artifacts/a b/text"], container: "side", pod: plan.id, timeout: .seconds(20))
                #expect(inside == ExecResult(exitCode: 0, output: "kept"))
                let folder = try #require(try await fixture.engine.artifactsFolder(pod: plan.id))
                #expect(try String(contentsOfFile: "\(folder)/a b/text", encoding: .utf8) == "kept")
            }
            #expect(try await fixture.engine.artifactsFolder(pod: plan.id) == nil)
        },
        EngineCheck("J8, B12: a worker's container that was started again has the job's files and what it wrote") {
            fixture in
            var plan = fixture.workerPlan([fixture.agent(), fixture.shell("side", "exec sleep 1000")])
            plan.restart = .always
            try await fixture.withPod(plan) { [plan] in
                let look = "result = open('/cortex/spec/job.json').read() + open('/cortex/artifacts/kept', 'a+').mode"
                let before = try await Agent.run(look, in: plan.id, of: fixture.engine)
                try await fixture.engine.stop(container: "api", of: plan.id, grace: .zero)
                try await fixture.engine.restart(container: "api", of: plan)
                #expect(before == "{\n  \"job_id\": \"j\"\n}\na+")
                #expect(
                    try await eventually {
                        (try? await Agent.run(look, in: plan.id, of: fixture.engine)) == before
                    })
                let list = "import os; result = os.listdir('/cortex/artifacts')"
                #expect(try await Agent.run(list, in: plan.id, of: fixture.engine).strings == ["kept"])
            }
        },
        EngineCheck("J8: a pod of an API has neither") { fixture in
            try await fixture.withPod([fixture.agent()]) { (plan) async throws in
                let look = "import os; result = sorted(os.listdir('/cortex'))"
                let names = try await Agent.run(look, in: plan.id, of: fixture.engine).strings
                #expect(names.contains("client") && !names.contains("spec") && !names.contains("artifacts"))
                #expect(try await fixture.engine.artifactsFolder(pod: plan.id) == nil)
            }
        },
        EngineCheck("T2, T10: a worker's pod stays listed with exit codes and times until it is stopped") { fixture in
            let began = Timestamp.present
            let plan = fixture.workerPlan([
                fixture.shell("main", "echo done > /cortex/artifacts/result; echo said; exit 3"),
                fixture.shell("side", "trap 'exit 9' TERM; touch /mnt/deaf; while :; do sleep 0.05; done"),
            ])
            try await fixture.withPod(plan) {
                #expect(try await eventually { try await fixture.exit(of: "main", in: plan.id)?.code == 3 })
                let pod = try #require(try await fixture.observe(plan.id))
                let end = try #require(pod.containers.first { $0.name == "main" }?.endedAt)
                #expect(began - .seconds(1) <= end && end <= .present + .seconds(1))
                #expect(pod.containers.first { $0.name == "side" }?.endedAt == nil)
                let isReady = ["test", "-e", "/mnt/deaf"]
                try await expectEventually {
                    try await fixture.engine.exec(isReady, container: "side", pod: plan.id, timeout: .seconds(20))
                        .exitCode == 0
                }
                try await fixture.engine.stop(container: "side", of: plan.id, grace: .seconds(20))
                let over = try #require(try await fixture.observe(plan.id))
                #expect(over.isAlive && over.owner == plan.owner)
                #expect(over.containers.first { $0.name == "main" } == pod.containers.first { $0.name == "main" })
                let side = over.containers.first { $0.name == "side" }
                #expect(side?.state == .exited(ContainerExit(code: 9)) && (side?.endedAt).map { $0 >= end } == true)
                // By a later run of the platform just the same.
                let other = try await fixture.anotherEngine()
                try await other.setUp()
                #expect(try await fixture.observe(plan.id, by: other) == over)
                #expect(try await lines(of: "main", in: plan.id, other) == ["said"])
                let folder = try #require(try await other.artifactsFolder(pod: plan.id))
                #expect(try String(contentsOfFile: "\(folder)/result", encoding: .utf8) == "done\n")
            }
            #expect(try await fixture.observe(plan.id) == nil)
            try await fixture.expectNothingLeft(of: plan.id)
        },
        EngineCheck("T3, T10: when PodInit is killed, an earlier exit is still known, and the others have no time") {
            fixture in
            let plan = fixture.workerPlan([
                fixture.shell("main", "exit 4"), fixture.shell("side", "exec sleep 1000"),
            ])
            try await fixture.withPod(plan) {
                #expect(try await eventually { try await fixture.exit(of: "main", in: plan.id)?.code == 4 })
                let main = try await fixture.observe(plan.id)?.containers.first { $0.name == "main" }
                let end = try #require(main?.endedAt)
                // What ends within a second before its pod may have ended with it.
                #expect(try await eventually { Timestamp.present - end > .seconds(2) })
                try await fixture.killInit(plan.id)
                #expect(try await eventually { try await fixture.observe(plan.id)?.isAlive == false })
                for engine in [fixture.engine, try await fixture.anotherEngine()] {
                    let pod = try #require(try await fixture.observe(plan.id, by: engine))
                    #expect(pod.containers.first { $0.name == "main" } == main)
                    #expect(pod.containers.first { $0.name == "side" }?.endedAt == nil)
                }
            }
            try await fixture.expectNothingLeft(of: plan.id)
        },
    ]
}

extension EngineFixture {
    /// A plan for a run of a task.
    fileprivate func workerPlan(_ containers: [ContainerPlan]) -> PodPlan {
        var plan = plan(containers)
        plan.id = "t-j-0-\(UInt64.random(in: .min ... .max))"
        plan.owner = .worker(.init(set: "t-j", jobID: "j", version: plan.owner.version, index: 7, attempt: 2))
        plan.files = [PodFile(name: "job.json", text: "{\n  \"job_id\": \"j\"\n}\n")]
        plan.hasArtifacts = true
        plan.restart = .never
        return plan
    }
}

extension Timestamp {
    fileprivate static var present: Timestamp {
        Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000))
    }
}
