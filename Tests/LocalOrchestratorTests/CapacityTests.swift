import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("Capacity: replicas that wait for room")
struct CapacityTests {
    private func api(_ name: String, mem: String, version: String = "1") -> DeployedAPI {
        var api = OrchestratorFixture.api(name, version: version)
        api.specification.pod.containers[0].compute.mem = Quantity(mem)
        return api
    }

    @Test("C12: what does not fit is pending with the reason, and starts when room comes")
    func pending() async throws {
        try await OrchestratorFixture.with(
            prepare: { $0.engine.setCapacity(ComputeAmount(cpu: 2000, memory: 100 << 20)) },
            body: { fixture async throws in
                await fixture.orchestrator.apply(api("first", mem: "60Mi"), replicas: 1)
                _ = await fixture.ready { $0.count == 1 }
                await fixture.orchestrator.apply(api("second", mem: "60Mi"), replicas: 1)
                try await expectEventually {
                    let replica = await fixture.orchestrator.status(api: "second")?.replicas.first
                    return replica?.state == .pending
                        && replica?.reason
                            == "waits for room: it declares 60Mi of mem, 60Mi of this machine's 100Mi are taken"
                }
                let capacity = await fixture.orchestrator.capacity()
                #expect(capacity?.total.memory == 100 << 20 && capacity?.reserved.memory == 60 << 20)
                // Room is not there before the first is really gone.
                await fixture.orchestrator.delete(api: "first")
                _ = await fixture.ready { $0.first?.api.name == "second" }
                #expect(
                    fixture.engine.calls.filter { $0.hasPrefix("st") } == [
                        "start first-p1", "stop first-p1", "start second-p2",
                    ])
                #expect(await fixture.orchestrator.capacity()?.reserved.memory == 60 << 20)
            })
    }

    @Test("C12, S3: an update without room for its surge waits and says so; the old version serves on")
    func surgeWithoutRoom() async throws {
        try await OrchestratorFixture.with(
            prepare: { $0.engine.setCapacity(ComputeAmount(cpu: 2000, memory: 100 << 20)) },
            body: { fixture async throws in
                await fixture.orchestrator.apply(api("echo", mem: "60Mi"), replicas: 1)
                _ = await fixture.ready { $0.count == 1 }
                await fixture.orchestrator.apply(api("echo", mem: "60Mi", version: "2"), replicas: 1)
                try await expectEventually {
                    await fixture.orchestrator.status(api: "echo")?.replicas.map(\.state) == [
                        .readyOutOfDate, .pending,
                    ]
                }
                // Scaling down takes what only waits.
                await fixture.orchestrator.scale(api: "echo", replicas: 0)
                try await expectEventually { await fixture.orchestrator.status(api: "echo")?.replicas.isEmpty == true }
                #expect(!fixture.engine.calls.contains("start echo-p2"))
            })
    }

    @Test("C12: an engine that finds too little free shows as pending, not as failed, and is asked again")
    func engineRefuses() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            fixture.engine.failNextStart(with: PlatformError(.unavailable, "the pod asks for 9 MiB, 3 are free"))
            await fixture.orchestrator.apply(api("echo", mem: "9Mi"), replicas: 1)
            try await expectEventually {
                let replica = await fixture.orchestrator.status(api: "echo")?.replicas.first
                return replica?.state == .pending && replica?.reason?.contains("3 are free") == true
            }
            try await expectEventually {
                fixture.clock.advance(by: .milliseconds(500))
                return await fixture.orchestrator.status(api: "echo")?.ready == 1
            }
        }
    }

    @Test("§11: who waits for more than fifteen minutes is stalled")
    func stalled() async throws {
        try await OrchestratorFixture.with(
            prepare: { $0.engine.setCapacity(ComputeAmount(cpu: 2000, memory: 100 << 20)) },
            body: { fixture async throws in
                await fixture.orchestrator.apply(api("first", mem: "60Mi"), replicas: 2)
                _ = await fixture.ready { $0.count == 1 }
                fixture.clock.advance(by: .seconds(901))
                #expect(await fixture.orchestrator.status(api: "first")?.count(.stalled) == 1)
            })
    }
}
