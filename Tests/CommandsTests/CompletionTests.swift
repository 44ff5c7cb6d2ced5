import Client
import Core
import Foundation
import StubPlatform
import TestSupport
import Testing

@testable import Commands

@Suite("O2: shell completion")
struct CompletionTests {
    private func request(_ words: [String]) throws -> CompletionRequest {
        CompletionRequest(words: ["cortex"] + words, tree: try .cortex())
    }

    private func candidates(_ words: String...) throws -> [String] {
        let request = try request(words)
        guard case .candidates(let candidates) = request.expectation else { return [] }
        return candidates.map(\.value).filter { $0.hasPrefix(request.prefix) }
    }

    // MARK: What can stand at the cursor

    @Test("O2: command names, also of nested commands and after help; hidden ones are not offered")
    func commands() throws {
        #expect(try candidates("de") == ["deploy", "describe", "delete"])
        #expect(try candidates("env", "").sorted() == ["configure", "default", "delete", "list", "rename"])
        #expect(try candidates("cluster", "") == ["info", "health", "export"])
        #expect(try candidates("help", "sub") == ["submit"])
    }

    @Test("O2: flags of the command, those that are given already left out")
    func flags() throws {
        let flags = try candidates("deploy", "--")
        #expect(flags.contains("--force") && flags.contains("--env") && !flags.contains("--yes"))
        #expect(try !candidates("deploy", "--force", "--").contains("--force"))
        #expect(try !candidates("deploy", "-f", "--").contains("--force"))
        #expect(try candidates("submit", "a", "-H", "a:b", "--he") == ["--header", "--help"])
    }

    @Test(
        "O2: names are asked for where the command wants one",
        arguments: [
            (["get", ""], CompletionRequest.Names.apis), (["desc", "he"], .apis),
            (["get", "hello", ""], .versions(api: "hello")),
            (["result", "hello", ""], .requests(api: "hello", statuses: [])),
            (["retry", "hello", ""], .requests(api: "hello", statuses: ["failed"])),
            (["cancel", "-e", "x", "hello", "0"], .requests(api: "hello", statuses: ["in_queue", "in_progress"])),
            (["logs", "hello", "--replica", ""], .replicas(api: "hello")),
            (["logs", "hello", "--container="], .containers(api: "hello")),
            (["get", "--env", ""], .environments), (["get", "-e", "l"], .environments),
            (["env", "default", ""], .environments), (["submit", "--wait", ""], .apis),
            (["submit", "--wait", "30", ""], .apis),
            (["result", "--wait=9", "hello", "--", ""], .requests(api: "hello", statuses: [])),
        ])
    func names(words: [String], names: CompletionRequest.Names) throws {
        #expect(try request(words).expectation == .names(names))
    }

    @Test("O2: values that the program knows, files and folders")
    func values() throws {
        #expect(try candidates("get", "-o", "") == ["pretty", "json", "yaml"])
        let attached = try request(["get", "--output=j"])
        #expect(attached.lead == "--output=" && attached.prefix == "j")
        #expect(try candidates("requests", "a", "--status", "in") == ["in_queue", "in_progress"])
        #expect(try candidates("completion", "") == ["bash", "zsh", "fish"])
        #expect(try request(["deploy", ""]).expectation == .files(extensions: ["yaml", "yml", "json"]))
        #expect(try request(["cluster", "export", ""]).expectation == .folders)
        #expect(try request(["up", "--data-dir", ""]).expectation == .folders)
        let data = try request(["submit", "a", "-d", "@inv"])
        #expect(data.expectation == .files(extensions: []) && data.lead == "@" && data.prefix == "inv")
        #expect(try request(["submit", "a", "-d", "{"]).expectation == .nothing)
        #expect(try request(["get", "-e", "office", "h"]).environment == "office")
    }

    @Test(
        "O2: a line is cut into words as the shell does",
        arguments: [
            ("cortex get ", ["cortex", "get", ""]), ("cortex  ge", ["cortex", "ge"]),
            (#"cortex submit a -d '{"a": 1}' "#, ["cortex", "submit", "a", "-d", #"{"a": 1}"#, ""]),
            (#"cortex submit "a\" b" x\ y"#, ["cortex", "submit", "a\" b", "x y"]), ("cortex '", ["cortex", ""]),
        ])
    func shellWords(line: String, words: [String]) {
        #expect(ShellWords.split(line) == words)
    }

    // MARK: The program and the scripts

    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                let apis = ["hello", "help-desk", "ocr"].map {
                    Fixtures.api($0, replicas: [Fixtures.replica("\($0)-a", .ready)])
                }
                stub.on("GET /get", .json(try Fixtures.json(apis)))
                stub.on("GET /describe/hello", .json(try Fixtures.json([apis[0]])))
                stub.on(
                    "GET /requests/hello",
                    .json(
                        #"{"requests":[{"id":"0190f3a2-5d1c-7aaa-8bbb-1234567890ab","status":"failed","attempts":1,"submitted_at":"2026-01-01T00:00:00Z"}]}"#
                    ))
                try await body(stub, folder)
            }
        }
    }

    @Test("O2: API names, replicas and request ids come from the cluster, with what they are at")
    func dynamic() async throws {
        try await with { stub, folder in
            let apis = try await CortexProcess.run(
                ["__complete", "words", "cortex", "describe", "hel"], folder: folder)
            #expect(apis.output == "values\nhello\t1/1 live\nhelp-desk\t1/1 live\n")
            let replicas = try await CortexProcess.run(
                ["__complete", "words", "cortex", "logs", "hello", "--replica="], folder: folder)
            #expect(replicas.output == "values\n--replica=hello-a\tReady\n")
            let requests = try await CortexProcess.run(
                ["__complete", "words", "cortex", "retry", "hello", ""], folder: folder)
            #expect(requests.output.hasPrefix("values\n0190f3a2-5d1c-7aaa-8bbb-1234567890ab\tfailed, "))
            #expect(stub.last("GET /requests/hello")?.target.contains("status=failed") == true)
        }
    }

    @Test("O2: without a server, without an environment and with nonsense it is silent")
    func silent() async throws {
        try await withTemporaryDirectory { folder in
            for words in [["words", "cortex", "get", ""], ["words"], [], ["line", "cortex get ", "x", ""]] {
                let process = try await CortexProcess.run(["__complete"] + words, folder: folder)
                #expect(process.status == 0 && process.errors.isEmpty, "\(words)")
            }
            try EnvironmentStore(directory: folder.path).update {
                $0.put(Environment(name: "away", operatorEndpoint: "http://127.0.0.1:1"))
            }
            let process = try await CortexProcess.run(["__complete", "words", "cortex", "get", ""], folder: folder)
            #expect(process.output == "values\n" && process.errors.isEmpty && process.status == 0)
        }
    }

    @Test("O2: the bash script passes shellcheck")
    func shellcheck() async throws {
        try await withTemporaryDirectory { folder in
            let script = folder.appending(path: "cortex.bash")
            try Data((CompletionScript.bash.text + "\n").utf8).write(to: script)
            let result = try await ChildProcess.run(
                "shellcheck", [script.path], environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""])
            #expect(result.status == 0, "\(result.output)\(result.errors)")
        }
    }

    /// What bash would offer for a line, the cursor at its end.
    private func bash(_ line: String, _ folder: URL) async throws -> [String] {
        let script = """
            PATH="\(URL(filePath: CortexProcess.binary).deletingLastPathComponent().path):$PATH"
            source <(cortex completion bash)
            COMP_LINE=$1 COMP_POINT=${#1}
            # The words as readline cuts them, with its usual word breaks.
            mapfile -t COMP_WORDS < <(grep -oE '[^[:space:]=@:]+|[=@:]' <<<"$1")
            [[ $1 == *[[:space:]] ]] && COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _cortex_complete cortex
            printf '%s\\n' "${COMPREPLY[@]}"
            """
        let result = try await ChildProcess.run(
            "bash", ["-c", script, "bash", line],
            environment: [
                "PATH": "/usr/bin:/bin", "HOME": folder.path, "CORTEX_CLI_CONFIG_DIR": folder.path,
                "CORTEX_COMPLETION_TIMEOUT": "60",
            ], directory: folder.path)
        #expect(result.status == 0, "\(result.errors)")
        return result.output.split(separator: "\n").map(String.init).sorted()
    }

    @Test("O2: bash completes commands, names, attached values and files")
    func bashScript() async throws {
        try await with { _, folder in
            for file in ["cortex.yaml", "notes.txt", "two words.yaml"] {
                try Data().write(to: folder.appending(path: file))
            }
            try FileManager.default.createDirectory(
                at: folder.appending(path: "apis"), withIntermediateDirectories: true)
            #expect(try await bash("cortex de", folder) == ["delete", "deploy", "describe"])
            #expect(try await bash("cortex get he", folder) == ["hello", "help-desk"])
            #expect(try await bash("cortex get --output=", folder) == ["json", "pretty", "yaml"])
            #expect(try await bash("cortex get --output=j", folder) == ["json"])
            #expect(try await bash("cortex deploy ", folder) == ["apis", "cli.yaml", "cortex.yaml", "two words.yaml"])
            #expect(try await bash("cortex submit hello -d @no", folder) == ["notes.txt"])
            #expect(try await bash("cortex retry hello 01", folder) == ["0190f3a2-5d1c-7aaa-8bbb-1234567890ab"])
        }
    }

    @Test("O2: zsh and fish take their scripts, where they are installed", arguments: ["zsh", "fish"])
    func otherShells(shell: String) async throws {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let isThere = path.split(separator: ":").contains {
            FileManager.default.isExecutableFile(atPath: "\($0)/\(shell)")
        }
        try #require(isThere, "\(shell) is not installed; scripts/setup.sh test installs it")
        try await withTemporaryDirectory { folder in
            let script = folder.appending(path: "script")
            try Data((CompletionScript(rawValue: shell)?.text ?? "").utf8).write(to: script)
            let result = try await ChildProcess.run(
                shell, ["-n", script.path], environment: ["PATH": path, "HOME": folder.path])
            #expect(result.status == 0, "\(result.errors)")
        }
    }

    @Test("O2: fish offers names with their descriptions")
    func fishScript() async throws {
        try await with { _, folder in
            let script = """
                cortex completion fish | source
                complete -C 'cortex describe hel'
                complete -C 'cortex get --output=js'
                """
            let result = try await ChildProcess.run(
                "fish", ["-c", script],
                environment: [
                    "PATH": "\(URL(filePath: CortexProcess.binary).deletingLastPathComponent().path):/usr/bin:/bin",
                    "HOME": folder.path, "CORTEX_CLI_CONFIG_DIR": folder.path, "CORTEX_COMPLETION_TIMEOUT": "60",
                ], directory: folder.path)
            #expect(
                result.output == "hello\t1/1 live\nhelp-desk\t1/1 live\n--output=json\n",
                "\(result.errors)")
        }
    }
}
