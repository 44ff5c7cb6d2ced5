import Core
import Foundation
import TestSupport
import Testing

/// Starting, stopping and crashing `cortex up`. Each test has its own platforms.
@Suite("Running the platform", .serialized, .timeLimit(.minutes(8)))
struct RunningTests {
    static let engines = Platform.EngineKind.allCases

    @Test("U1, U2: it prints its addresses and writes addresses.json")
    func addresses() async throws {
        try await Platform.with(.sandbox) { platform async throws in
            #expect(platform.output.contains(platform.addresses.gateway))
            #expect(platform.output.contains(platform.addresses.operator))
            #expect(platform.output.contains("sandbox"))
            #expect(platform.addresses.gateway.hasPrefix("http://127.0.0.1:"))
        }
    }

    @Test("U4: SIGTERM with a request inside lets it finish, stops the pods and exits 0", arguments: engines)
    func drains(_ engine: Platform.EngineKind) async throws {
        try await withTemporaryDirectory { folder async throws in
            let platform = try await Platform.start(engine, in: folder)
            let api = try await platform.deploy("echo")
            let id = try await api.submit("1.5", do: "sleep")
            try await expectEventually { try await api.read(id).json?["status"].string == "in_progress" }
            #expect(try await platform.stop() == 0, "\(platform.log.suffix(2000))")
            let again = try await Platform.start(engine, in: folder)
            let document = try await TestAPI(platform: again, name: "echo").ended(id)
            #expect(
                document.json?["status"].string == "completed" && document.json?["attempts"].int == 1,
                "\(document.text)")
            #expect(try await again.stop() == 0)
        }
    }

    @Test("U4: a second signal exits at once")
    func secondSignal() async throws {
        try await withTemporaryDirectory { folder async throws in
            let platform = try await Platform.start(.sandbox, in: folder)
            let api = try await platform.deploy("echo")
            let id = try await api.submit("60", do: "sleep")
            try await expectEventually { try await api.read(id).json?["status"].string == "in_progress" }
            platform.send(SIGINT)
            try await expectEventually {
                platform.log.contains("again to exit at once") || platform.output.contains("again to exit at once")
            }
            platform.send(SIGINT)
            #expect(await platform.wait() != 0)
            // The next start finds and removes what the immediate exit left running.
            let again = try await Platform.start(.sandbox, in: folder)
            #expect(try await again.cli("delete", "echo", "-f").status == 0)
            try await expectEventually {
                try FileManager.default.contentsOfDirectory(atPath: folder.appending(path: "data/pods").path)
                    .isEmpty
            }
            #expect(try await again.stop() == 0)
        }
    }

    @Test("U4, S4: pods survive a kill -9 of the platform and are adopted, not restarted", arguments: engines)
    func adopts(_ engine: Platform.EngineKind) async throws {
        try await withTemporaryDirectory { folder async throws in
            let platform = try await Platform.start(engine, in: folder)
            let api = try await platform.deploy("echo")
            let before = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
            await platform.kill()
            let again = try await Platform.start(engine, in: folder)
            let adopted = TestAPI(platform: again, name: "echo")
            let after = try await adopted.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
            #expect(before == after && before != nil)
            #expect(try await again.cli("delete", "echo", "-f").status == 0)
            #expect(try await again.stop() == 0)
        }
    }

    @Test(
        "A1, A10, U4: kill -9 during load, restart on the same data: every acknowledged id ends with the right result",
        arguments: engines)
    func crash(_ engine: Platform.EngineKind) async throws {
        try await withTemporaryDirectory { folder async throws in
            var platform = try await Platform.start(engine, in: folder)
            try await platform.deploy("echo", pod: "max_concurrency: 4")
            var acknowledged: [String: String] = [:]
            for round in 0..<3 {
                let api = TestAPI(platform: platform, name: "echo")
                let accepted = await withTaskGroup(of: [String: String].self) { group in
                    for worker in 0..<4 {
                        group.addTask {
                            var accepted: [String: String] = [:]
                            for number in 0..<1000 {
                                // One in ten is stored in a file.
                                let filler = number % 10 == 0 ? String(repeating: "f", count: 70_000) : ""
                                let body = "[\(round), \(worker), \(number), \"\(filler)\"]"
                                guard let id = try? await api.submit(body, do: "verbatim", within: .seconds(10)) else {
                                    break
                                }
                                accepted[id] = body
                            }
                            return accepted
                        }
                    }
                    try? await Task.sleep(for: .milliseconds(Int.random(in: 300...1200)))
                    await platform.kill()
                    return await group.reduce(into: [:]) { $0.merge($1) { first, _ in first } }
                }
                #expect(!accepted.isEmpty)
                acknowledged.merge(accepted) { first, _ in first }
                platform = try await Platform.start(engine, in: folder)
            }
            let api = TestAPI(platform: platform, name: "echo")
            for (id, body) in acknowledged {
                let answer = try await api.ended(id)
                #expect(answer.json?["status"].string == "completed", "\(answer.text.prefix(300))")
                #expect(answer.text.contains("\"result\":\(body)"), "\(id)")
            }
            #expect(try await platform.stop() == 0)
        }
    }

    @Test(
        "U5: a second platform on the same data, a taken port, a missing engine, a read-only folder: one line, exit 1")
    func refusals() async throws {
        try await Platform.with(.sandbox) { platform async throws in
            func up(_ arguments: String...) async throws -> ChildProcess.Output {
                try await platform.cli(["up"] + arguments)
            }
            func isOneLine(_ output: ChildProcess.Output) -> Bool {
                output.status == 1 && output.errors.hasPrefix("error: ")
                    && output.errors.split(separator: "\n").count == 1
            }
            let other = platform.folder.appending(path: "other").path
            let second = try await up("--data-dir", platform.data.path, "--port", "0", "--operator-port", "0")
            #expect(isOneLine(second), "\(second)")
            let port = try #require(platform.addresses.gateway.split(separator: ":").last)
            let taken = try await up(
                "--data-dir", other, "--port", String(port), "--operator-port", "0", "--engine", "sandbox")
            #expect(isOneLine(taken) && taken.errors.contains(port), "\(taken)")
            let noEngine = try await up(
                "--data-dir", other, "--port", "0", "--operator-port", "0", "--engine", "docker", "--engine-socket",
                "/nonexistent.sock")
            #expect(isOneLine(noEngine), "\(noEngine)")
            let readOnly = try await up(
                "--data-dir", "/proc/cortex", "--port", "0", "--operator-port", "0", "--engine", "sandbox")
            #expect(isOneLine(readOnly), "\(readOnly)")
            let nonsense = try await up("--engine", "nonsense")
            #expect(nonsense.status == 2, "\(nonsense)")
        }
    }
}
