import CLinux
import Core
import Foundation
import TestSupport
import Testing

@testable import EngineSandbox

@Suite("What pods store on disk")
struct DiskUsageTests {
    private static func usage(_ folder: URL, limit: Int64 = .max) -> Int64 { cx_tree_usage(folder.path, limit, .max) }

    @Test("N7: everything below a folder counts, once, also with several names; what a link points to does not")
    func counts() async throws {
        try await withTemporaryDirectory { root in
            let manager = FileManager.default
            let outside = root.appendingPathComponent("outside")
            try Data(repeating: 1, count: 4 << 20).write(to: outside)
            let folder = root.appendingPathComponent("pod")
            let inner = folder.appendingPathComponent("a/b")
            try manager.createDirectory(at: inner, withIntermediateDirectories: true)
            let empty = Self.usage(folder)
            let file = inner.appendingPathComponent("file")
            try Data(repeating: 1, count: 1 << 20).write(to: file)
            for number in 0..<3 {
                try manager.linkItem(at: file, to: folder.appendingPathComponent("name\(number)"))
            }
            try manager.createSymbolicLink(at: folder.appendingPathComponent("link"), withDestinationURL: outside)
            try manager.createSymbolicLink(at: folder.appendingPathComponent("up"), withDestinationURL: root)
            let full = Self.usage(folder)
            #expect((1 << 20..<(1 << 20) + 65536).contains(full - empty), "\(full) after \(empty)")
            #expect(Self.usage(root.appendingPathComponent("nothing")) == 0)
            // More than the limit is not counted to its end.
            #expect(Self.usage(folder, limit: 4096) > 4096)
        }
    }

    @Test("N7: a tree that is nested too deeply is reported as such")
    func depth() async throws {
        try await withTemporaryDirectory { root in
            let deep = root.appendingPathComponent(Array(repeating: "d", count: 200).joined(separator: "/"))
            try FileManager.default.createDirectory(at: deep, withIntermediateDirectories: true)
            #expect(Self.usage(root) == Int64(-ELOOP))
        }
    }

    @Test("N7: what a pod stores in /mnt, /tmp and its home is measured together; a pod that is gone has none")
    func pod() async throws {
        try await SandboxFixture.with { (fixture) async throws in
            let engine = fixture.engine()
            let write = "dd if=/dev/zero bs=1024 count=1024"
            let plan = fixture.plan([
                fixture.shell(
                    "for f in /mnt/a /tmp/b ~/c; do \(write) of=$f; done 2>/dev/null; touch /mnt/done; sleep 1000")
            ])
            try await engine.start(plan)
            let done = fixture.folder(plan.id).shared + "/done"
            #expect(try await eventually { FileManager.default.fileExists(atPath: done) })
            let usage = try await engine.diskUsage(pod: plan.id, limit: .max, upTo: nil)
            guard case .bytes(let bytes) = usage else {
                Issue.record("\(String(describing: usage))")
                return
            }
            #expect((3 << 20..<4 << 20).contains(bytes), "\(bytes)")
            #expect(try await engine.diskUsage(pod: "nobody", limit: .max, upTo: nil) == nil)
            try await engine.stop(pod: plan.id, grace: .zero)
        }
    }
}
