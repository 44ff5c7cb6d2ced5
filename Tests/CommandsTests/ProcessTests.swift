import APIConfiguration
import ArgumentParser
import Client
import Core
import Foundation
import NIOCore
import StubPlatform
import TestSupport
import Testing
import Wire

@testable import Commands

/// The built binary against a stub of operator and gateway.
@Suite("O2: cortex as a process", .timeLimit(.minutes(2)))
struct ProcessTests {
    private static let id = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"

    /// A stub, and a folder with a `cli.yaml` that names it.
    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                let api = Fixtures.api("hello", replicas: [Fixtures.replica("hello-a", .ready)], endpoint: stub.url)
                stub.on("GET /get/hello", .json(try Fixtures.json([api])))
                stub.on("GET /describe/hello", .json(try Fixtures.json([api])))
                try await body(stub, folder)
            }
        }
    }

    private func run(
        _ words: [String], _ folder: URL, environment: [String: String] = [:], input: String? = nil
    ) async throws -> CortexProcess {
        try await CortexProcess.run(words, folder: folder, environment: environment, input: input)
    }

    @Test("U5: a DOCKER_HOST that is no unix socket, or where nothing answers, is one line and exit 1, never skipped")
    func dockerHost() async throws {
        try await withTemporaryDirectory { folder in
            for engine in ["auto", "docker"] {
                for host in ["tcp://127.0.0.1:2375", "ssh://me:secret@host", "unix://\(folder.path)/none.sock"] {
                    let process = try await run(
                        [
                            "up", "--data-dir", folder.path + "/data", "--port", "0", "--operator-port", "0",
                            "--engine", engine,
                        ],
                        folder, environment: ["DOCKER_HOST": host])
                    let lines = process.errors.split(separator: "\n")
                    #expect(process.status == 1, "\(host)")
                    #expect(lines.last?.contains("DOCKER_HOST") == true, "\(process.errors)")
                    #expect(!process.errors.contains("secret"))
                }
            }
        }
    }

    // MARK: Exit status and streams

    @Test("U5, N9: files that others could have written, links and damaged tokens end the start in one line")
    func refusedStarts() async throws {
        try await withTemporaryDirectory { folder in
            let data = folder.path + "/data"
            try FileManager.default.createDirectory(
                atPath: data, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
            func refusal(_ file: String, _ text: String, _ mode: Int) async throws -> String {
                let path = folder.path + "/" + file
                try Data(text.utf8).write(to: URL(filePath: path))
                try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
                defer { try? FileManager.default.removeItem(atPath: path) }
                let up = try await run(
                    ["up", "--data-dir", data, "--port", "0", "--operator-port", "0", "--engine", "sandbox"], folder)
                #expect(up.status == 1 && up.output.isEmpty)
                #expect(up.errors.split(separator: "\n").count == 1, "\(up.errors)")
                return up.errors
            }
            #expect(try await refusal("up.yaml", "allow_pod_operator_access: full\n", 0o666).contains("chmod 600"))
            #expect(try await refusal("data/tokens.json", "{}", 0o666).contains("chmod 600"))
            #expect(try await refusal("data/tokens.json", "{", 0o600).contains("tokens.json is damaged"))
            #expect(try await refusal("data/tokens.json", #"{"user":"x"}"#, 0o600).contains("tokens.json is damaged"))
        }
    }

    @Test("U4: cortex up takes its signals before its arguments are read; other commands leave them alone")
    func firstSignals() async throws {
        await #expect(processExitsWith: .exitCode(7)) {
            UpCommand.takeSignals(["up", "--nonsense"])
            kill(getpid(), SIGTERM)
            usleep(200_000)
            _exit(7)
        }
        await #expect(processExitsWith: .signal(SIGTERM)) {
            UpCommand.takeSignals(["get"])
            kill(getpid(), SIGTERM)
            usleep(200_000)
            _exit(7)
        }
    }

    @Test("U4: a platform that is stopped as soon as it takes signals exits with 0, whatever it does at that time")
    func earlySignal() async throws {
        try await withTemporaryDirectory { folder in
            for _ in 0..<3 {
                let process = try ChildProcess(
                    CortexProcess.binary,
                    ["up", "--data-dir", folder.path + "/data", "--port", "0", "--operator-port", "0"],
                    environment: ["HOME": folder.path, "PATH": "/usr/bin:/bin"], directory: folder.path,
                    errors: .file(folder.path + "/errors"))
                // The bit of SIGTERM among the caught signals of the process.
                try await expectEventually {
                    let status = try? String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
                    let caught = status?.split(separator: "\n").first { $0.hasPrefix("SigCgt:") }?.split(
                        separator: "\t")
                    return caught?.last.flatMap { UInt64($0, radix: 16) }.map { $0 & 1 << 14 != 0 } ?? false
                }
                process.send(SIGTERM)
                #expect(await process.wait() == 0)
            }
        }
    }

    @Test("O2: wrong use exits 2 with nothing on standard output")
    func usage() async throws {
        try await withTemporaryDirectory { folder in
            for words in [["nosuch"], ["get", "--nope"], ["result", "hello", "x"], ["delete"]] {
                let process = try await run(words, folder)
                #expect(process.status == 2, "\(words)")
                #expect(process.output.isEmpty)
                #expect(process.errors.hasPrefix("error: "), "\(process.errors)")
            }
        }
    }

    @Test("O2: help of every command is an answer, and fits eighty columns but for its usage line")
    func help() async throws {
        try await withTemporaryDirectory { folder in
            for command in CortexCommand.configuration.subcommands + EnvironmentCommand.configuration.subcommands {
                let isNested = EnvironmentCommand.configuration.subcommands.contains { $0 == command }
                let words = (isNested ? ["env"] : []) + [command._commandName, "--help"]
                let process = try await run(words, folder)
                #expect(process.status == 0)
                #expect(process.errors.isEmpty)
                let lines = process.output.split(separator: "\n").filter { !$0.hasPrefix("USAGE:") }
                #expect(lines.allSatisfy { $0.count <= 80 }, "\(words)")
                guard command != UpCommand.self else { continue }
                #expect(process.output.contains("Example"), "\(words)")
            }
            let root = try await run(["--help"], folder)
            #expect(root.output.contains("cortex deploy cortex.yaml --wait      deploy the APIs of a file\n"))
        }
    }

    @Test("O2: without an environment an error says what to do, and exits 1")
    func noEnvironment() async throws {
        try await withTemporaryDirectory { folder in
            for words in [["get"], ["get", "hello"], ["describe", "hello"], ["submit", "hello"]] {
                let process = try await run(words, folder)
                #expect(process.status == 1)
                #expect(process.output.isEmpty)
                #expect(process.errors.contains("cortex up"))
                #expect(process.errors.split(separator: "\n").count == 1)
            }
            let version = try await run(["version"], folder)
            #expect(version.status == 0)
            #expect(version.output == "cli version: \(CortexVersion.current)\n")
        }
    }

    @Test("O2: a reader that goes away ends it quietly")
    func brokenPipe() async throws {
        try await withTemporaryDirectory { folder in
            let result = try await ChildProcess.run(
                "sh",
                [
                    "-c", "{ \"$0\" --help; echo $? >status; } | true; while [ ! -s status ]; do :; done",
                    CortexProcess.binary,
                ],
                environment: ["PATH": "/usr/bin:/bin", "HOME": folder.path], directory: folder.path)
            #expect(result.errors.isEmpty, "\(result.errors)")
        }
    }

    // MARK: APIs

    @Test("O2: get spans all environments; its JSON is the original's")
    func get() async throws {
        try await with { stub, folder in
            stub.on("GET /get", .json(try Fixtures.json([Fixtures.api("hello", detailed: false)])))
            let pretty = try await run(["get"], folder)
            #expect(pretty.status == 0)
            #expect(
                pretty.output.hasPrefix("env     async api   live   up-to-date   last update\nlocal   hello       0/1"))
            let json = try await run(["get", "-o", "json"], folder)
            let answers = try JSONDecoder().decode([[String: JSONValue]].self, from: Data(json.output.utf8))
            #expect(answers[0]["env_name"] == .string("local"))
            #expect(answers[0]["error"] == .string(""))
            guard case .array(let apis) = answers[0]["apis"] else { return #expect(Bool(false)) }
            #expect(apis.count == 1)
            let one = try await run(["get", "--env", "local", "-o", "json"], folder)
            let list = try JSONDecoder().decode([APIDocument].self, from: Data(one.output.utf8))
            #expect(list == [Fixtures.api("hello", detailed: false)])
            let yaml = try await run(["get", "hello", "-o", "yaml"], folder)
            #expect(yaml.output.contains("\n  metadata:\n"))
        }
    }

    @Test("O2: an environment that does not answer is reported after the others")
    func getPartly() async throws {
        try await with { stub, folder in
            stub.on("GET /get", .json("[]"))
            try EnvironmentStore(directory: folder.path).update {
                $0.put(Environment(name: "away", operatorEndpoint: "http://127.0.0.1:1"))
            }
            let process = try await run(["get"], folder)
            #expect(process.status == 1)
            #expect(process.errors.contains("nothing answers at http://127.0.0.1:1 (environment away)"))
            stub.on("GET /get", .json(try Fixtures.json([Fixtures.api("hello")])))
            let some = try await run(["get"], folder)
            #expect(some.status == 0)
            #expect(some.output.contains("hello"))
            #expect(some.errors.contains("error: environment away: nothing answers"))
            let json = try await run(["get", "-o", "json"], folder)
            #expect(json.status == 0)
            #expect(json.output.contains("\"env_name\" : \"away\""))
        }
    }

    @Test("O2: deploy prints what happened, JSON on demand, and exits 1 when one API failed")
    func deploy() async throws {
        try await with { stub, folder in
            try Data("- name: hello\n".utf8).write(to: folder.appendingPathComponent("cortex.yaml"))
            let fine = DeployResultDocument(api: Fixtures.api("hello"), message: "creating hello (AsyncAPI)")
            let bad = DeployResultDocument(api: nil, message: "", error: "other: it is updating")
            stub.on("POST /deploy", .json(try Fixtures.json([fine])))
            let pretty = try await run(["deploy"], folder)
            #expect(pretty.status == 0)
            #expect(pretty.output == "creating hello (AsyncAPI)\n")
            let request = try #require(stub.last("POST /deploy"))
            #expect(request.target.contains("configFileName=cortex.yaml&force=false&configDir=%2F"))
            #expect(request.text.contains("- name: hello\n"))
            stub.on("POST /deploy", .json(try Fixtures.json([fine, bad])))
            let json = try await run(
                ["deploy", "cortex.yaml", "--env", "local", "-o", "json", "--yes", "--force"], folder)
            #expect(json.status == 1)
            #expect(json.errors == "error: other: it is updating\n")
            let results = try JSONDecoder().decode([DeployResultDocument].self, from: Data(json.output.utf8))
            #expect(results.map(\.error) == ["", "other: it is updating"])
            #expect(stub.last("POST /deploy")?.target.contains("force=true") == true)
        }
    }

    @Test("O2: a file with problems lists them all; a missing one says so")
    func deployRefused() async throws {
        try await with { stub, folder in
            stub.on("POST /deploy", .error(400, "configuration_invalid", #"a.yaml:1:1: x\na.yaml:2:1: y"#))
            try Data("x".utf8).write(to: folder.appendingPathComponent("a.yaml"))
            let process = try await run(["deploy", "a.yaml"], folder)
            #expect(process.status == 1)
            #expect(process.errors == "error: a.yaml:1:1: x\na.yaml:2:1: y\n")
            let missing = try await run(["deploy"], folder)
            #expect(missing.status == 1)
            #expect(
                missing.errors
                    == "error: cortex.yaml cannot be read: No such file or directory; name a file: cortex deploy FILE\n"
            )
            try Data("x".utf8).write(to: folder.appendingPathComponent("cortex.yml"))
            let other = try await run(["deploy"], folder)
            #expect(other.errors.contains("there is cortex.yml: cortex deploy cortex.yml"), "\(other.errors)")
            let inFolder = try await run(["deploy", folder.path], folder)
            #expect(inFolder.errors.contains("cortex deploy \(folder.path)/cortex.yml"), "\(inFolder.errors)")
            let input = try await run(["deploy", "-"], folder, input: "- name: piped\n")
            #expect(input.status == 1)
            #expect(stub.last("POST /deploy")?.text.contains("- name: piped") == true)
        }
    }

    @Test("O3: deploy --wait ends when the API is ready, or says why it does not get so")
    func deployWait() async throws {
        try await with { stub, folder in
            let result = DeployResultDocument(api: Fixtures.api("hello"), message: "creating hello (AsyncAPI)")
            stub.on("POST /deploy", .json(try Fixtures.json([result])))
            let creating = Fixtures.api("hello", replicas: [Fixtures.replica("hello-a", .creating)])
            let ready = Fixtures.api("hello", replicas: [Fixtures.replica("hello-a", .ready)])
            // The platform restarts behind a proxy meanwhile.
            let away = StubPlatform.Response.json("<html>Bad Gateway</html>", status: 502)
            stub.on(
                "GET /describe/hello", .json(try Fixtures.json([creating])), away, away,
                .json(try Fixtures.json([ready])))
            let process = try await run(["deploy", "-", "--wait"], folder, input: "x")
            #expect(process.status == 0)
            #expect(process.output == "creating hello (AsyncAPI)\n")
            #expect(
                process.errors
                    == "hello: 0/1 ready, creating\nhello: the platform does not answer\n"
                    + "hello is ready: http://127.0.0.1:8889/hello\n")
            let failed = Fixtures.api(
                "hello", replicas: [Fixtures.replica("hello-a", .failed, reason: "exit status 1", restarts: 5)])
            stub.on("GET /describe/hello", .json(try Fixtures.json([failed])))
            let broken = try await run(["deploy", "-", "--wait", "-o", "json"], folder, input: "x")
            #expect(broken.status == 1)
            #expect(broken.errors.contains("error: hello does not get ready: replica hello-a is Failed: exit status 1"))
        }
    }

    @Test("O2: describe, refresh and delete")
    func apiVerbs() async throws {
        try await with { stub, folder in
            let describe = try await run(["describe", "hello"], folder)
            #expect(describe.output.contains("Ready                              1\n"))
            stub.on("POST /refresh/hello", .json(#"{"message":"updating hello (AsyncAPI)"}"#))
            let refresh = try await run(["refresh", "hello", "-e", "local", "-o", "json"], folder)
            #expect(refresh.output == "{\n  \"message\" : \"updating hello (AsyncAPI)\"\n}\n")
            stub.on("DELETE /delete/hello", .json(#"{"message":"deleting hello"}"#))
            let delete = try await run(["delete", "hello", "-c"], folder)
            #expect(delete.output == "deleting hello\n")
            #expect(stub.last("DELETE /delete/hello")?.target == "/delete/hello?keepCache=true")
        }
    }

    @Test("O2: delete of more than two ready replicas needs a terminal or --force")
    func deleteAsks() async throws {
        try await with { stub, folder in
            let replicas = (1...3).map { Fixtures.replica("hello-\($0)", .ready) }
            stub.on(
                "GET /get/hello", .json(try Fixtures.json([Fixtures.api("hello", requested: 3, replicas: replicas)])))
            stub.on("DELETE /delete/hello", .json(#"{"message":"deleting hello"}"#))
            let process = try await run(["delete", "hello"], folder)
            #expect(process.status == 1)
            #expect(process.errors.contains("3 ready replicas") && process.errors.contains("--force"))
            #expect(stub.count("DELETE /delete/hello") == 0)
            #expect(try await run(["delete", "hello", "-y"], folder).status == 0)
            #expect(try await run(["delete", "hello", "--force"], folder).status == 0)
        }
    }

    @Test("O4: logs print each line after its replica")
    func logs() async throws {
        try await with { stub, folder in
            stub.on(
                "GET /logs/hello",
                .init(parts: [
                    #"{"notice":"no replica now"}"# + "\n",
                    #"{"replica":"hello-a","container":"c","text":"one"}"# + "\n",
                ]))
            let process = try await run(["logs", "hello", "--tail", "3"], folder)
            #expect(process.output == "hello-a/c | one\n")
            #expect(process.errors == "no replica now\n")
            #expect(stub.last("GET /logs/hello")?.target == "/logs/hello?tail=3")
            stub.on("GET /logs/hello", .error(404, "not_found", "gone"))
            _ = try await run(["logs", "hello", "--random-pod"], folder)
            #expect(stub.last("GET /logs/hello")?.target == "/logs/hello?follow=true&replica=hello-a")
        }
    }

    @Test("O4: a followed log goes on after a restart of the platform and says that lines are missing")
    func resumedLogs() async throws {
        try await with { stub, folder in
            func line(_ text: String) -> StubPlatform.Response {
                .init(parts: [#"{"replica":"hello-a","container":"c","text":"\#(text)"}"# + "\n"])
            }
            stub.on(
                "GET /logs/hello", line("one"), .cutOff, .error(503, "unavailable", "starting"), line("two"),
                .error(404, "not_found", "hello is not deployed"))
            let process = try await run(["logs", "hello", "--follow", "--tail", "5"], folder)
            #expect(process.output == "hello-a/c | one\nhello-a/c | two\n")
            #expect(process.status == 1 && process.errors.contains("hello is not deployed"))
            #expect(process.errors.contains("connecting again"))
            #expect(process.errors.components(separatedBy: "lines written in between are missing here").count == 2)
            #expect(stub.requests.filter { $0.path == "/logs/hello" }.map(\.target).last?.contains("tail=0") == true)
        }
    }

    // MARK: Requests

    @Test("O3: submit prints the id; with --wait the result, byte for byte")
    func submit() async throws {
        try await with { stub, folder in
            stub.on("POST /hello", .json(#"{"id":"\#(Self.id)"}"#))
            stub.on(
                "GET /hello/\(Self.id)",
                .json(#"{"id":"\#(Self.id)","status":"completed","result": {"b":1.0, "a":1e400} }"#))
            let id = try await run(["submit", "hello", "-d", "{}", "-H", "X-A: b:c"], folder)
            #expect(id.output == Self.id + "\n")
            let request = try #require(stub.last("POST /hello"))
            #expect(request.text == "{}")
            #expect(request[header: "Content-Type"] == "application/json")
            #expect(request[header: "X-A"] == "b:c")
            let result = try await run(["submit", "--wait", "hello", "-d", "-"], folder, input: "from a pipe")
            #expect(result.output == #"{"b":1.0, "a":1e400}"# + "\n")
            #expect(result.errors == "id: \(Self.id)\n")
            #expect(stub.last("POST /hello")?.text == "from a pipe")
            let json = try await run(["result", "hello", Self.id, "-o", "json"], folder)
            #expect(json.output == #"{"id":"\#(Self.id)","status":"completed","result": {"b":1.0, "a":1e400} }"# + "\n")
        }
    }

    @Test(
        "C5: YAML keeps every result that JSON allows",
        arguments: [
            "12345678901234567890", "0.12345678901234567890", "1.0", "1e400", String(repeating: "9", count: 5000),
            #"{"a":1,"a":2,"\u00e9":"\ud800","t":[true,null]}"#,
        ] as [String])
    func yaml(result: String) async throws {
        try await with { stub, folder in
            let head = #"{"id":"\#(Self.id)","status":"completed","result":"#
            stub.on(
                "GET /hello/\(Self.id)",
                .json(head + "\n\t\(result)\r\n" + #","timestamp":"2026-01-01T00:00:00Z","attempts":1}"#))
            let yaml = try await run(["result", "hello", Self.id, "-o", "yaml"], folder)
            #expect(yaml.status == 0, "\(yaml.errors)")
            #expect(yaml.output.hasSuffix("\nresult: \(result)\n"), "\(yaml.output)")
            #expect(yaml.output.contains("status: completed\n"))
            let lines = result.replacing(",", with: ",\n")
            stub.on("GET /hello/\(Self.id)", .json(head + lines + "}"))
            let broken = try await run(["result", "hello", Self.id, "-o", "yaml"], folder)
            #expect(broken.output.hasSuffix("\nresult: \(lines.replacing("\n", with: " "))\n"))
        }
    }

    @Test("C5: in YAML a character that readers of YAML refuse is an escape, which means the same")
    func yamlEscapes() async throws {
        try await with { stub, folder in
            let result = "[\"a\u{7F}b\u{85}c\u{2028}d\u{FEFF}ä✓\"]"
            stub.on(
                "GET /hello/\(Self.id)",
                .json(#"{"id":"\#(Self.id)","status":"completed","result":"# + result + "}"))
            let yaml = try await run(["result", "hello", Self.id, "-o", "yaml"], folder)
            #expect(
                yaml.output.hasSuffix("\nresult: " + #"["a\u007fb\u0085c\u2028d\ufeffä✓"]"# + "\n"), "\(yaml.output)")
            let json = try #require(ConfigurationFile.json(of: Array(yaml.output.utf8)))
            let parsed = try JSONDecoder().decode([String: JSONValue].self, from: Data(json.utf8))
            #expect(parsed["result"] == .array([.string("a\u{7F}b\u{85}c\u{2028}d\u{FEFF}ä✓")]))
        }
    }

    @Test("O3: piped input is the payload without -d, and -d @- is standard input as for curl")
    func submitPiped() async throws {
        try await with { stub, folder in
            stub.on("POST /hello", .json(#"{"id":"\#(Self.id)"}"#))
            for words in [["submit", "hello"], ["submit", "hello", "-d", "@-"], ["submit", "hello", "-d", "-"]] {
                let process = try await run(words, folder, input: "piped \(words.count)")
                #expect(process.status == 0, "\(process.errors)")
                #expect(stub.last("POST /hello")?.text == "piped \(words.count)")
            }
            #expect(try await run(["submit", "hello", "-d", ""], folder, input: "not this").status == 0)
            #expect(stub.last("POST /hello")?.text == "")
            // A number that no program holds is JSON all the same.
            let digits = String(repeating: "9", count: 5000)
            #expect(try await run(["submit", "hello", "-d", digits], folder).status == 0)
            #expect(stub.last("POST /hello")?[header: "Content-Type"] == "application/json")
        }
    }

    @Test("O2, O3: a file is submitted with its type; one that cannot be read exits 1 as for deploy, not as wrong use")
    func submitFile() async throws {
        try await with { stub, folder in
            stub.on("POST /hello", .json(#"{"id":"\#(Self.id)"}"#))
            try Data([0, 255, 10]).write(to: folder.appendingPathComponent("x.png"))
            #expect(try await run(["submit", "hello", "-d", "@x.png"], folder).status == 0)
            #expect(stub.last("POST /hello")?[header: "Content-Type"] == "image/png")
            #expect(stub.last("POST /hello")?.body.readableBytes == 3)
            _ = try await run(["submit", "hello", "-d", "@x.png", "-H", "Content-Type: a/b"], folder)
            #expect(stub.last("POST /hello")?[header: "Content-Type"] == "a/b")
            let missing = try await run(["submit", "hello", "-d", "@nothing"], folder)
            #expect(missing.status == 1)
            #expect(missing.errors == "error: nothing cannot be read: No such file or directory\n")
            let directory = try await run(["submit", "hello", "-d", "@."], folder)
            #expect(directory.status == 1)
            #expect(directory.errors == "error: . is a folder; name a file\n")
            for file in ["nothing", "."] {
                #expect(try await run(["deploy", file], folder).status == 1)
                #expect(try await run(["deploy", file, "--check"], folder).status == 1)
            }
        }
    }

    @Test("O3: result says honestly how it stands")
    func result() async throws {
        try await with { stub, folder in
            let route = "GET /hello/\(Self.id)"
            stub.on(route, .json(#"{"id":"\#(Self.id)","status":"in_progress"}"#))
            let running = try await run(["result", "hello", Self.id], folder)
            #expect(running.status == 1)
            #expect(running.output.isEmpty)
            #expect(running.errors.contains("still in_progress") && running.errors.contains("--wait"))
            #expect(try await run(["result", "hello", Self.id, "-o", "json"], folder).status == 0)
            #expect(try await run(["result", "hello", Self.id, "--wait-timeout", "0"], folder).status == 1)
            stub.on(
                route,
                .json(
                    #"{"id":"\#(Self.id)","status":"failed","attempts":2,"error":{"kind":"container_status","message":"status 500","status_code":500,"body":"boom\u001b[2J\nend"}}"#
                ))
            let failed = try await run(["result", "hello", Self.id], folder)
            #expect(failed.status == 1)
            #expect(
                failed.errors
                    == "error: request \(Self.id) failed: container_status: status 500 (attempts: 2)\nboom\u{FFFD}[2J\nend\n"
                    + "see what the container wrote with: cortex logs hello\nrun it again with: cortex retry hello \(Self.id)\n"
            )
            stub.on(route, .error(404, "not_found", "no request"))
            let unknown = try await run(["result", "hello", Self.id], folder)
            #expect(unknown.status == 1)
            #expect(unknown.errors == "error: no request\nsee those there are with: cortex requests hello\n")
            let typed = try await run(["result", "hello", "17"], folder)
            #expect(typed.status == 2)
            #expect(typed.errors.contains("'17' is invalid for '<id>': An id looks like 0190f3a2-"), "\(typed.errors)")
        }
    }

    @Test("O3: requests, cancel and retry")
    func requestVerbs() async throws {
        try await with { stub, folder in
            let record = #"{"id":"\#(Self.id)","status":"in_queue","attempts":0,"submitted_at":"2026-01-01T00:00:00Z"}"#
            stub.on(
                "GET /requests/hello", .json(#"{"requests":[\#(record)],"next":"\#(Self.id)"}"#),
                .json(#"{"requests":[]}"#))
            let list = try await run(["requests", "hello", "--status", "in_queue"], folder)
            #expect(list.output.hasPrefix("id                                     status     attempts"))
            #expect(
                stub.requests.map(\.target) == [
                    "/requests/hello?limit=100&status=in_queue",
                    "/requests/hello?limit=99&status=in_queue&before=\(Self.id)",
                ])
            stub.on("DELETE /hello/\(Self.id)", .json(#"{"id":"\#(Self.id)","status":"cancelled"}"#))
            #expect(try await run(["cancel", "hello", Self.id], folder).output == "\(Self.id) is cancelled\n")
            stub.on("POST /retry/hello/\(Self.id)", .json(record))
            #expect(try await run(["retry", "hello", Self.id], folder).output == "\(Self.id) is in_queue\n")
        }
    }

    // MARK: Environments and version

    @Test("O1: env configure checks the URL, finds the token, and says when none is known")
    func configure() async throws {
        try await with { stub, folder in
            stub.on("GET /verifycortex", .json("{}"))
            stub.on("GET /info", .error(401, "unauthorized", "no"))
            let known = try await run(["env", "configure", "same", "-o", stub.url + "/"], folder)
            #expect(known.status == 0)
            let store = EnvironmentStore(directory: folder.path)
            #expect(try store.load()["same"]?.token == "secret")
            #expect(known.errors.contains("not accepted"))
            let given = try await run(
                ["env", "configure", "given", "--operator-endpoint", stub.url, "--token-stdin"], folder,
                environment: ["CORTEX_TOKEN": "other"], input: " mine\r\n")
            #expect(given.status == 0)
            #expect(try store.load()["given"]?.token == "mine")
            let port = try #require(stub.url.split(separator: ":").last)
            let bare = try await run(["env", "configure", "bare", "-o", "localhost:\(port)"], folder)
            #expect(bare.status == 0)
            #expect(try store.load()["bare"]?.operatorEndpoint == "http://localhost:\(port)")
            #expect(try store.load()["bare"]?.token == nil)
            #expect(bare.errors.contains("no token is known"))
            #expect(try await run(["env", "configure", "x"], folder).status == 2)
            stub.on("GET /verifycortex", .json("hello"))
            let stranger = try await run(["env", "configure", "x", "-o", stub.url], folder)
            #expect(stranger.status == 1 && stranger.errors.contains("is not a Cortex operator"))
            let secret = try await run(["env", "configure", "x", "-o", "http://ada:hidden@127.0.0.1:1"], folder)
            #expect(secret.status == 2 && !secret.errors.contains("hidden") && !secret.errors.contains("ada"))
            #expect(try store.load()["x"] == nil)
            let away = try await run(
                ["env", "configure", "x", "-o", "http://127.0.0.1:1", "--token-stdin"], folder, input: "mine")
            #expect(away.status == 0 && away.errors.contains("it could not be checked: nothing answers"))
            #expect(try store.load()["x"]?.token == "mine")
        }
    }

    @Test("N9: a token is no argument; one with a line break inside is refused with that reason, and never shown")
    func tokens() async throws {
        try await with { stub, folder in
            stub.on("GET /verifycortex", .json("{}"))
            stub.on("GET /info", .error(401, "unauthorized", "no"))
            let words = ["env", "configure", "x", "-o", stub.url]
            let argument = try await run(words + ["--token", "hidden-value"], folder)
            #expect(argument.status == 2 && argument.errors.contains("--token-stdin"))
            #expect(!(argument.errors + argument.output).contains("hidden-value"))
            for (input, reason) in [
                ("hidden\nvalue\n", "line break inside"), ("hidden value", "character that no token has"),
                ("\n", "has no token"),
            ] {
                let refused = try await run(words + ["--token-stdin"], folder, input: input)
                #expect(refused.status == 2 && refused.errors.contains(reason), "\(refused.errors)")
                #expect(!refused.errors.contains("hidden"))
            }
            let variable = try await run(words, folder, environment: ["CORTEX_TOKEN": "hidden\nvalue"])
            #expect(variable.status == 2 && variable.errors.contains("the token in CORTEX_TOKEN has a line break"))
            let good = try await run(words, folder, environment: ["CORTEX_TOKEN": "mine\n"])
            #expect(good.status == 0)
            #expect(try EnvironmentStore(directory: folder.path).load()["x"]?.token == "mine")
        }
    }

    @Test("O2: env list, default, rename and delete")
    func environments() async throws {
        try await with { _, folder in
            try EnvironmentStore(directory: folder.path).update {
                $0.put(Environment(name: "office", operatorEndpoint: "https://example.com"))
            }
            #expect(try await run(["env", "list"], folder).output.contains("local (default)"))
            #expect(try await run(["env", "default", "office"], folder).status == 0)
            #expect(try await run(["env", "default"], folder).output == "office\n")
            #expect(try await run(["env", "rename", "office", "work"], folder).status == 0)
            let json = try await run(["env", "list", "-o", "json"], folder)
            #expect(json.output.contains("\"default_environment\" : \"work\""))
            #expect(!json.output.contains("secret"))
            #expect(try await run(["env", "delete", "work"], folder).status == 0)
            #expect(try await run(["env", "default"], folder).output == "local\n")
            let unknown = try await run(["env", "delete", "work"], folder)
            #expect(unknown.status == 1)
        }
    }

    @Test("O6: version names both; a server that refuses ours is quoted")
    func version() async throws {
        try await with { stub, folder in
            let info = InfoDocument(
                clusterConfig: .init(
                    apiVersion: "7.8.9", clusterName: "local", engine: "sandbox", store: "sqlite",
                    gatewayEndpoint: "http://g", operatorEndpoint: "http://o"), numPendingReplicas: 0, numAPIs: 0,
                queue: nil)
            stub.on("GET /info", .json(try Fixtures.json(info)))
            let process = try await run(["version"], folder)
            #expect(process.output == "cli version: \(CortexVersion.current)\ncluster version: 7.8.9\n")
            stub.on("GET /get/hello", .error(400, "version_mismatch", "client 1.0, server 7.8"))
            let refused = try await run(["get", "hello"], folder)
            #expect(refused.status == 1)
            #expect(refused.errors == "error: client 1.0, server 7.8\n")
        }
    }

    @Test("C9: a read-only cli.yaml without a default works as it is")
    func readOnlyFile() async throws {
        try await with { stub, folder in
            let client = folder.appendingPathComponent("client")
            try FileManager.default.createDirectory(at: client, withIntermediateDirectories: true)
            try Data("environments: [{name: default, operator_endpoint: '\(stub.url)', token: t}]".utf8)
                .write(to: client.appendingPathComponent("cli.yaml"))
            try FileManager.default.setAttributes([.posixPermissions: 0o500], ofItemAtPath: client.path)
            let process = try await run(
                ["describe", "hello"], folder, environment: ["CORTEX_CLI_CONFIG_DIR": client.path])
            try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: client.path)
            #expect(process.status == 0)
            #expect(stub.last("GET /describe/hello")?[header: "Authorization"] == "Bearer t")
        }
    }

    // MARK: Terminal

    @Test("O2: on a terminal titles are bold, and --watch draws in place; without one it is refused")
    func terminal() async throws {
        try await with { _, folder in
            let seen = try await CortexProcess.onTerminal(
                ["describe", "hello", "--watch"], folder: folder, until: "\u{1B}[J")
            #expect(seen.hasPrefix("\u{1B}[2J\u{1B}[Hcortex describe hello   every 2s"), "\(seen.debugDescription)")
            #expect(seen.contains("\u{1B}[1menv     async api"))
            // The screen is cleared once, and no mode of the terminal changes, so that Ctrl-C has nothing to restore.
            #expect(seen.split(separator: "\u{1B}[2J").count == 1 && !seen.contains("\u{1B}[?"))
            // A terminal that does not know its size is taken for one of 80 by 24.
            let unknown = try await CortexProcess.onTerminal(
                ["describe", "hello", "--watch"], folder: folder, columns: 0, rows: 0,
                typing: [("\u{1B}[J", "\u{03}")]
            ).text
            #expect(
                unknown.hasPrefix("\u{1B}[2J\u{1B}[Hcortex describe hello   every 2s"), "\(unknown.debugDescription)")
            let process = try await run(["describe", "hello", "--watch"], folder)
            #expect(process.status == 2)
            #expect(process.errors.contains("terminal"))
        }
    }

    @Test("O3: doctor runs on this machine and prints a line for each check")
    func doctor() async throws {
        try await withTemporaryDirectory { folder in
            let process = try await run(["doctor", "-o", "json"], folder)
            #expect(process.output.contains("\"name\" : \"disk space\""))
            #expect(process.errors.isEmpty)
        }
    }
}
