import Core
import Foundation
import Logging
import Support
import Synchronization
import TestSupport
import Testing

@testable import EngineSandbox

@Suite("Pod records", .timeLimit(.minutes(2)))
struct PodRecordTests {
    /// `pod.json` as release 1.0.0-dev wrote it, before records had a format.
    private static func golden(_ name: String) throws -> Data {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return try Data(contentsOf: tests.appending(path: "StoreTests/Golden/format1/pod-\(name).json"))
    }

    private func withFolder(_ record: Data?, _ body: (PodFolder) throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let folder = PodFolder(directory: directory.path, pod: "full-1")
            try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
            try record?.write(to: URL(fileURLWithPath: folder.record))
            try body(folder)
        }
    }

    @Test("S3: the record of a pod that an earlier release started is read, so the pod is adopted")
    func format1() async throws {
        try await withFolder(Self.golden("full")) { folder in
            let record = try #require(folder.read())
            let version = record.plan.owner.version
            #expect(record.plan.owner == .api(version))
            #expect(record.plan.id == "full-77h65c9ywd" && version.name == "full")
            #expect(version.podID == "960634138f82572f21b5ea73da3a2078e639e1fcd23ad50274ef350e483e897")
            #expect(record.plan.createdAt == Timestamp(microseconds: 1_796_021_356_341_591))
            #expect(record.plan.containers.map(\.name) == ["api", "side"])
            let container = record.plan.containers[0]
            #expect(container.command == ["python3", "/app/app.py"] && container.args == nil && container.image == nil)
            #expect(container.compute == Compute(cpu: Quantity("100m"), mem: Quantity("64Mi"), shm: Quantity("1Mi")))
            #expect(container.environment.last == EnvironmentVariable("NAME", "value ü"))
            #expect(container.volumes == [.init(source: "/tmp/golden/app", target: "/app", readOnly: true)])
            #expect(record.plan.containers[1].compute == Compute(cpu: nil))
            #expect(record.plan.clientConfiguration.hasSuffix("token: golden-token\n"))
            #expect(record.groups.keys.sorted() == ["api", "side"] && record.groups["api"]?.folders.count == 3)
            #expect(
                try JSONDecoder().decode(PodFolder.Record.self, from: JSONEncoder().encode(record)) == record)
        }
    }

    @Test("S3: a missing field has its default, an unknown one is passed over")
    func fields() async throws {
        let text = String(decoding: try Self.golden("plain"), as: UTF8.self)
            .replacing(#""volumes":["#, with: #""later":["#).replacing(#"{"groups""#, with: #"{"new":1,"groups""#)
        try await withFolder(Data(text.utf8)) { folder in
            #expect(folder.read()?.plan.containers.first?.volumes == [])
        }
    }

    @Test(
        "S3: a record that cannot be read is told from one that is missing", arguments: ["", "{", "{}", "[]", "\u{0}"])
    func damaged(_ text: String) async throws {
        try await withFolder(Data(text.utf8)) { folder in
            guard case .unreadable = folder.look() else {
                Issue.record("\(folder.look())")
                return
            }
        }
        try await withFolder(nil) { folder in
            guard case .missing = folder.look() else {
                Issue.record("\(folder.look())")
                return
            }
        }
    }

    @Test("S3: hostile bytes in a record are unreadable, never a crash")
    func fuzz() throws {
        let golden = Array(try Self.golden("full"))
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<2000 {
            var bytes = golden
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count * 2, using: &generator)))
            _ = try? JSONDecoder().decode(PodFolder.Record.self, from: Data(bytes))
        }
    }

    @Test(
        "S3: a pod whose record is empty, damaged or of a newer release is left running, reported once, and not removed",
        arguments: ["", #"{"plan""#, #"{"format":2,"plan":{}}"#])
    func leftRunning(_ text: String) async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let plan = fixture.plan([fixture.shell("exec sleep 1000")])
            try await fixture.engine().start(plan)
            let folder = fixture.folder(plan.id)
            let whole = try Data(contentsOf: URL(fileURLWithPath: folder.record))
            try Data(text.utf8).write(to: URL(fileURLWithPath: folder.record))
            let old = Date(timeIntervalSinceNow: -120)
            try FileManager.default.setAttributes([.modificationDate: old], ofItemAtPath: folder.path)

            let lines = Mutex<[String]>([])
            let logger = Logger(label: "test") { _ in LineLog(lines: { line in lines.withLock { $0.append(line) } }) }
            let engine = SandboxEngine(configuration: fixture.configuration, clock: SystemClock(), logger: logger)
            try await engine.setUp()
            for _ in 0..<3 { #expect(try await engine.list() == []) }
            #expect(Supervisor(configuration: fixture.configuration).isAlive(folder))
            #expect(lines.withLock { $0.filter { $0.contains("cannot be read") }.count } == 1)

            // The release that made it finds it as it was.
            try whole.write(to: URL(fileURLWithPath: folder.record))
            #expect(try await engine.list().map(\.isAlive) == [true])
            try await engine.stop(pod: plan.id, grace: .zero)
        }
    }
}

private struct LineLog: LogHandler {
    let lines: @Sendable (String) -> Void
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info

    init(lines: @escaping @Sendable (String) -> Void) { self.lines = lines }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { lines("\(event.message)") }
}
