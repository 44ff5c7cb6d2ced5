import Core
import Testing

@testable import LocalOrchestrator

@Suite("Restart policy of a pod")
struct RestartPolicyTests {
    @Test(
        "C14: a container that exited is started again as the policy of its pod says; its exit code is kept",
        arguments: [
            (.always, 0, true), (.always, 1, true), (.onFailure, 0, false), (.onFailure, 137, true),
            (.never, 0, false), (.never, 1, false),
        ] as [(RestartPolicy, Int, Bool)])
    func policy(_ policy: RestartPolicy, code: Int, restarts: Bool) {
        let start = Instant(microseconds: 0)
        var container = Pod.Container(state: .running, startedAt: start)
        let exit = ContainerExit(code: code)
        container.exited(exit, policy, now: start + .seconds(3))
        #expect(container.state == .exited(exit))
        // The first wait is one second.
        #expect(container.restartAt == (restarts ? start + .seconds(4) : nil))
    }

    @Test("C14: pods of APIs are always restarted")
    func apis() {
        let api = OrchestratorFixture.api()
        let plan = PodPlan(of: api, id: "p", createdAt: Timestamp(seconds: 0), clientConfiguration: "")
        #expect(plan.restart == .always)
    }
}
