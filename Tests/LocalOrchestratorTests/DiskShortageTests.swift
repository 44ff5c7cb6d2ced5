import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("A disk that is nearly full", .timeLimit(.minutes(1)))
struct DiskShortageTests {
    private static let reserve: Int64 = 1 << 30

    private static func margin(_ free: Int64) -> DiskMargin { DiskMargin(free: free, reserve: reserve) }

    // MARK: The decision

    @Test("N7: a shortage begins below half of the reserve and ends above the whole reserve")
    func hysteresis() {
        var shortage = DiskShortage()
        for (free, isShort, hasEnded) in [
            (Self.reserve * 2, false, false), (Self.reserve / 2, false, false), (Self.reserve / 2 - 1, true, false),
            (Self.reserve / 2, true, false), (Self.reserve, true, false), (Self.reserve + 1, false, true),
            (Self.reserve / 2, false, false),
        ] {
            #expect(shortage.note(Self.margin(free)) == hasEnded, "\(free)")
            #expect(shortage.isShort == isShort, "\(free)")
        }
        // Unknown is neither.
        _ = shortage.note(Self.margin(0))
        #expect(!shortage.note(nil) && shortage.isShort)
        #expect(!DiskMargin(free: 0, reserve: 0).isCritical)
    }

    @Test(
        "N7: the pod that stores most is stopped; one that cannot be measured counts as that; small ones are left alone"
    )
    func victim() {
        let usage: [String: DiskUsage] = ["a": .bytes(20 << 20), "b": .bytes(30 << 20), "c": .bytes(30 << 20)]
        #expect(DiskShortage.victim(of: usage, Self.margin(1))?.id == "b")
        #expect(DiskShortage.victim(of: usage, Self.margin(Self.reserve / 2)) == nil)
        #expect(DiskShortage.victim(of: usage, nil) == nil)
        #expect(DiskShortage.victim(of: usage.merging(["z": .unknown]) { $1 }, Self.margin(1))?.id == "z")
        // Another program fills the disk: the end of these pods would not help.
        #expect(DiskShortage.victim(of: ["a": .bytes(Self.reserve / 100), "b": .bytes(0)], Self.margin(1)) == nil)
        #expect(DiskShortage.victim(of: [:], Self.margin(0)) == nil)
    }

    @Test("N7: amounts are shown in MiB and GiB")
    func text() {
        for (bytes, text) in [(0, "0 MiB"), (1023 << 20, "1023 MiB"), (3 << 29, "1.5 GiB"), (.max, "8589934591.9 GiB")]
            as [(Int64, String)]
        {
            #expect(DiskMargin.text(bytes) == text)
        }
    }

    // MARK: The orchestrator

    @Test(
        "N7: below half of the reserve the pod that stores most is stopped and says so; it starts again above the reserve, not before"
    )
    func stops() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            let (engine, orchestrator) = (fixture.engine, fixture.orchestrator)
            fixture.disk.set(free: Self.reserve, reserve: Self.reserve)
            await orchestrator.apply(OrchestratorFixture.api("small"), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            await orchestrator.apply(OrchestratorFixture.api("large"), replicas: 1)
            let activity = await fixture.ready { $0.count == 2 }.first { $0.id == "large-p2" }?.activity
            engine.setDiskUsage(.bytes(20 << 20), of: "small-p1")
            engine.setDiskUsage(.bytes(2 << 30), of: "large-p2")
            #expect(try #require(activity).begin(upTo: 1, maxConcurrency: 1) == 1)
            // Enough is free: pods without a limit are not measured.
            let lists = engine.listCount
            try await fixture.advance(by: .seconds(1)) { engine.listCount > lists + 5 }
            #expect(!engine.calls.contains { $0.hasPrefix("disk of") || $0.hasPrefix("stop ") })

            fixture.disk.set(free: Self.reserve / 2 - 1, reserve: Self.reserve)
            try await fixture.advance(by: .seconds(1)) { activity?.isCut == true }
            guard case .diskShortage(let text) = activity?.cutReason else {
                Issue.record("cut for \(String(describing: activity?.cutReason))")
                return
            }
            #expect(activity?.cutReason?.cost == .interruption)
            #expect(
                text
                    == "was stopped: the disk is nearly full (511 MiB free of a reserve of 1.0 GiB), and this replica stored most, 2.0 GiB"
            )
            activity?.end()
            try await fixture.advance(by: .seconds(1)) { engine.pods["large-p2"] == nil }
            #expect(engine.pods["small-p1"] != nil)

            // More than half of the reserve is free, but not yet all of it.
            fixture.disk.set(free: Self.reserve, reserve: Self.reserve)
            try await fixture.advance(by: .seconds(1)) { engine.listCount > lists + 25 }
            #expect(Array(engine.pods.keys) == ["small-p1"])
            let status = await orchestrator.status(api: "large")
            #expect(
                status?.reason == "replica large-p2 \(text); no other one starts before more than the reserve is free")
            #expect(status?.replicas.map(\.state) == [.pending] && status?.replicas[0].reason == status?.reason)
            #expect(await orchestrator.status(api: "small")?.reason == nil)

            fixture.disk.set(free: Self.reserve + 1, reserve: Self.reserve)
            try await fixture.advance(by: .seconds(1)) { engine.pods["large-p3"] != nil }
            #expect(await orchestrator.status(api: "large")?.reason == "replica large-p2 \(text)")
        }
    }

    @Test("N7: the next pod is stopped only when the first is gone and the disk is still nearly full")
    func oneAtATime() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            let engine = fixture.engine
            await fixture.orchestrator.apply(OrchestratorFixture.api(), replicas: 3)
            _ = await fixture.ready { $0.count == 3 }
            for number in 1...3 { engine.setDiskUsage(.bytes(Int64(number) << 30), of: "echo-p\(number)") }
            fixture.disk.set(free: 0, reserve: Self.reserve)
            try await fixture.advance(by: .seconds(1)) { engine.calls.contains("stop echo-p2") }
            let stops = engine.calls.filter { $0.hasPrefix("stop ") }
            #expect(stops == ["stop echo-p3", "stop echo-p2"])
            fixture.disk.set(free: Self.reserve / 2, reserve: Self.reserve)
            let lists = engine.listCount
            try await fixture.advance(by: .seconds(1)) { engine.listCount > lists + 10 }
            #expect(Array(engine.pods.keys) == ["echo-p1"])
        }
    }

    @Test("N7: a pod beyond its own limit goes first, and an engine that cannot measure stops nothing")
    func limitFirst() async throws {
        try await OrchestratorFixture.with { fixture async throws in
            let engine = fixture.engine
            await fixture.orchestrator.apply(OrchestratorFixture.api("limited", disk: "100Mi"), replicas: 1)
            _ = await fixture.ready { $0.count == 1 }
            await fixture.orchestrator.apply(OrchestratorFixture.api("free"), replicas: 1)
            _ = await fixture.ready { $0.count == 2 }
            engine.setDiskUsage(.bytes(101 << 20), of: "limited-p1")
            fixture.disk.set(free: 0, reserve: Self.reserve)
            try await fixture.advance(by: .seconds(1)) { engine.pods["limited-p1"] == nil }
            let measured = engine.calls.count { $0 == "disk of free-p2" }
            // It may start again at once: it exceeded its limit, and was not the largest of all.
            try await fixture.advance(by: .seconds(1)) { engine.pods["limited-p3"] != nil }
            try await fixture.advance(by: .seconds(1)) { engine.calls.count { $0 == "disk of free-p2" } > measured + 2 }
            #expect(engine.pods["free-p2"] != nil)
        }
    }
}
