import Foundation
import Testing

@testable import Autoscaler

@Suite("S1: replayed traces")
struct TraceTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "docs/images")

    @Test(
        "S1: the pictures of docs/autoscaling.md show the rule (CORTEX_REWRITE_DOCS=1 draws them)",
        arguments: ScalingTrace.all)
    func pictures(_ trace: ScalingTrace) throws {
        let file = Self.folder.appending(path: "autoscaling-\(trace.name).svg")
        let drawn = TraceDrawing.svg(trace)
        if ProcessInfo.processInfo.environment["CORTEX_REWRITE_DOCS"] == "1" {
            try FileManager.default.createDirectory(at: Self.folder, withIntermediateDirectories: true)
            try drawn.write(to: file, atomically: true, encoding: .utf8)
        }
        let committed = try String(contentsOf: file, encoding: .utf8)
        #expect(committed == drawn, "\(file.lastPathComponent) is out of date")
    }

    private func replicas(_ name: String) throws -> [ScalingTrace.Point] {
        try #require(ScalingTrace.all.first { $0.name == name }).replay()
    }

    @Test("S1: a ramp is followed both ways, a minute late up and five minutes late down")
    func ramp() throws {
        let points = try replicas("ramp")
        let most = points.map(\.replicas).max() ?? 0
        #expect((25...30).contains(most))
        #expect(points.last?.replicas == 1)
        for point in points where point.second < 1800 { #expect(point.replicas <= max(1, point.load + 1)) }
    }

    @Test(
        "S1: a spike of four minutes adds a few replicas, which stay for the downscale period and then go step by step")
    func spike() throws {
        let points = try replicas("spike")
        let most = points.map(\.replicas).max() ?? 0
        #expect((4...8).contains(most))
        let last = points.last { $0.replicas == most }
        #expect((last?.second ?? 0) >= 540 + 290)
        #expect(points.last?.replicas == 1)
    }

    @Test("S1: a sawtooth does not make the scale go up and down with it")
    func sawtooth() throws {
        let points = try replicas("sawtooth")
        let late = points.filter { $0.second > 1800 }.map(\.replicas)
        // The load swings by eleven.
        let (least, most) = (late.min() ?? 0, late.max() ?? 0)
        #expect(most - least <= 5, "\(late)")
    }

    @Test(
        "S2: without requests the scale becomes zero, and one request starts a replica at once for a whole downscale period"
    )
    func silence() throws {
        let points = try replicas("silence")
        #expect(points.first { $0.second == 2690 }?.replicas == 0)
        #expect(points.first { $0.second == 2700 }?.replicas == 1)
        #expect(points.first { $0.second == 2980 }?.replicas == 1)
        #expect(points.last?.replicas == 0)
    }
}
