import Core
import Testing

@testable import Proxy

@Suite("R21: why no replica can start")
struct StartObstacleTests {
    private static func status(
        _ state: ReplicaState, reason: String? = "why", exitsInRow: Int = 0, nextStart: Duration? = nil
    ) -> APIStatus {
        APIStatus(
            requested: 1,
            replicas: [
                ReplicaStatus(
                    id: "r", state: state, reason: reason, restarts: 9, startedAt: Timestamp(seconds: 1),
                    exitsInRow: exitsInRow, nextStart: nextStart)
            ])
    }

    /// What a state means for requests that wait.
    struct Case: Sendable, CustomTestStringConvertible {
        let state: ReplicaState
        var exits = 0
        let isStuck: Bool
        var testDescription: String { "\(state) after \(exits) exits: \(isStuck ? "refused" : "waits")" }

        static let all = [
            Case(state: .errImagePull, isStuck: true), Case(state: .failed, isStuck: true),
            Case(state: .failed, exits: 1, isStuck: false), Case(state: .failed, exits: 2, isStuck: true),
            Case(state: .killed, exits: 1, isStuck: false), Case(state: .killed, exits: 2, isStuck: true),
            Case(state: .killedOOM, exits: 1, isStuck: false), Case(state: .killedOOM, exits: 2, isStuck: true),
            Case(state: .notReady, isStuck: false), Case(state: .notReady, exits: 1, isStuck: false),
            Case(state: .notReady, exits: 2, isStuck: true), Case(state: .pending, isStuck: true),
            Case(state: .stalled, isStuck: true), Case(state: .creating, isStuck: false),
            Case(state: .terminating, isStuck: false), Case(state: .ready, isStuck: false),
        ]
    }

    @Test(
        "R21: an image error, a failed start, a second exit in a row and a full machine refuse requests",
        arguments: Case.all)
    func states(_ example: Case) {
        let obstacle = StartObstacle.find(in: Self.status(example.state, exitsInRow: example.exits))
        #expect((obstacle != nil) == example.isStuck)
        if let obstacle { #expect(obstacle == .noReplica(reason: "no replica can start: why", retryAfter: 1)) }
    }

    @Test("R21: a replica that waits for the engine and not for space on the machine is waited for")
    func pending() {
        #expect(StartObstacle.find(in: Self.status(.pending, reason: nil)) == nil)
    }

    @Test(
        "R16, R21: Retry-After is the time until the next start, in whole seconds from 1 to 60",
        arguments: [
            (Duration.zero, 1), (.milliseconds(400), 1), (.seconds(1), 1), (.milliseconds(1001), 2), (.seconds(59), 59),
            (.seconds(300), 60),
        ])
    func retryAfter(_ nextStart: Duration, _ seconds: Int) {
        let obstacle = StartObstacle.find(in: Self.status(.failed, exitsInRow: 2, nextStart: nextStart))
        #expect(obstacle == .noReplica(reason: "no replica can start: why", retryAfter: seconds))
    }
}
