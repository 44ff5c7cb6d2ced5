import Core
import Foundation
import NIOHTTP1
import TestSupport
import Testing

/// Crashes of a platform that runs jobs. Each test has its own platform.
@Suite("Running a platform with jobs", .serialized, .timeLimit(.minutes(8)))
struct JobsRunningTests {
    @Test(
        "J6, A10, B8, B9: kill -9 of the platform ten times during a job: each item has one line, counts are exact, and every download was a prefix of the last"
    )
    func killsDuringBatch() async throws {
        let count = 3000
        try await withTemporaryDirectory { folder async throws in
            var platform = try await Platform.start(.sandbox, in: folder)
            try await platform.deploy(
                file: try await platform.batchYAML("survivor", pod: ["max_concurrency: 4"]))
            let lines = (0..<count).map { #"{"echo": \#($0), "sleep": 0.01}"# }.joined(separator: "\n")
            let answer = try await HTTP.post(
                "\(platform.addresses.gateway)/survivor?workers=2&batch_size=3", Array(lines.utf8),
                headers: [("Content-Type", "application/x-ndjson")])
            let job = try #require(answer.json?["job_id"].string, "\(answer.text)")
            var downloads: [[UInt8]] = []
            for _ in 0..<10 {
                // The random moment is the purpose of the test, so there is no event to wait for.
                try await Task.sleep(for: .milliseconds(Int.random(in: 50...900)))
                let url = "\(platform.addresses.gateway)/survivor/\(job)/results"
                downloads.append(try await HTTP.get(url).bytes)
                await platform.kill()
                platform = try await Platform.start(.sandbox, in: folder)
            }
            let document = try await platform.jobEnded("survivor", job)
            #expect(document["job_status"]["status"].string == "succeeded", "\(document)")
            #expect(document["job_status"]["item_counts"]["succeeded"].int == count, "\(document)")
            let last = try await HTTP.get("\(platform.addresses.gateway)/survivor/\(job)/results").bytes
            for download in downloads { #expect(last.starts(with: download), "\(download.count) of \(last.count)") }
            let indexes = try await platform.lines("survivor", job).compactMap { $0["index"].int }
            #expect(indexes.sorted() == Array(0..<count))
            try await platform.delete("survivor")
            #expect(try await platform.stop() == 0)
        }
    }

    @Test(
        "J6, T10: a task that runs and one that ends while the platform is dead are not started again, and their ends are known",
        arguments: Platform.EngineKind.allCases)
    func taskSurvives(_ engine: Platform.EngineKind) async throws {
        try await withTemporaryDirectory { folder async throws in
            let shared = folder.appending(path: "shared")
            try FileManager.default.createDirectory(at: shared, withIntermediateDirectories: true)
            chmod(shared.path, 0o777)
            var platform = try await Platform.start(engine, in: folder)
            let script = """
                echo start >> /shared/starts; while [ ! -e /shared/go-$KEY ]; do sleep 0.1; done; \
                echo done > /cortex/artifacts/out; exit $CODE
                """
            let yaml = try await platform.taskYAML("lasting", script: script)
                .replacingOccurrences(of: "/app:ro\"]", with: "/app:ro\", \"\(shared.path):/shared\"]")
            try await platform.deploy(file: yaml)
            let early = try await platform.submit("lasting", #"{"env": {"KEY": "early", "CODE": "5"}}"#)
            let late = try await platform.submit("lasting", #"{"env": {"KEY": "late", "CODE": "0"}}"#)
            let starts = shared.appending(path: "starts").path
            try await expectEventually(within: .seconds(60)) {
                FileManager.default.contents(atPath: starts)?.count == 12
            }
            await platform.kill()
            _ = FileManager.default.createFile(atPath: shared.appending(path: "go-early").path, contents: nil)
            platform = try await Platform.start(engine, in: folder)
            let ended = try await platform.jobEnded("lasting", early)
            #expect(ended["job_status"]["status"].string == "worker_error", "\(ended)")
            #expect(ended["job_status"]["attempts"][0]["exit_code"].int == 5, "\(ended)")
            #expect(ended["job_status"]["artifacts"].int == 1, "\(ended)")
            _ = FileManager.default.createFile(atPath: shared.appending(path: "go-late").path, contents: nil)
            let second = try await platform.jobEnded("lasting", late)
            #expect(second["job_status"]["status"].string == "succeeded", "\(second)")
            #expect(FileManager.default.contents(atPath: starts)?.count == 12, "a task was started twice")
            try await platform.delete("lasting")
            #expect(try await platform.stop() == 0)
        }
    }
}
