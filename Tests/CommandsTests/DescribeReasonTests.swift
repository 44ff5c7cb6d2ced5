import Core
import Testing
import Wire

@testable import Commands

@Suite("S1, S3: describe says why")
struct DescribeReasonTests {
    @Test("S1, S3: why there are so many replicas, and what a broken one wrote last")
    func why() throws {
        let broken = ReplicaStatus(
            id: "hello-b", state: .failed, reason: "container main exited with code 1 (see its logs)", restarts: 2,
            startedAt: Fixtures.now - .seconds(30), lastLines: ["loading", "ImportError: torch"])
        let decision = ScalingDecision(
            at: Fixtures.now, current: 0, replicas: 1, reason: .wakeFromZero, inFlight: 1)
        var api = Fixtures.api("hello", replicas: [Fixtures.replica("hello-a", .ready), broken])
        api.status?.autoscaling = ScalingDocument([decision])
        let text = DescribeView.render(
            api, environment: "local", showsEnvironment: false, now: Fixtures.now, style: .plain)
        #expect(text.contains("\nautoscaling: 1 replica: a request waits and there is no replica\n\n"), "\(text)")
        #expect(text.hasSuffix("\n\nlast lines of hello-b\n  loading\n  ImportError: torch"), "\(text)")
        let json = try Fixtures.json(api)
        #expect(json.contains("\"last_log_lines\"") && json.contains("\"why\""))
    }
}
