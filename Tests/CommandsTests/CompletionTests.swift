import ArgumentParser
import Client
import Core
import Foundation
import StubPlatform
import TestSupport
import Testing

@testable import Commands

@Suite("O2: shell completion", .timeLimit(.minutes(2)))
struct CompletionTests {
    private static let id = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"
    private static let folderOfBinary = URL(filePath: CortexProcess.binary).deletingLastPathComponent().path

    /// A platform with the APIs `hello`, `help-desk` and `ocr`, and a folder with files and two environments.
    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                    $0.put(Environment(name: "office", operatorEndpoint: "http://127.0.0.1:1"))
                    $0.defaultEnvironment = "local"
                }
                let apis = ["hello", "help-desk", "ocr"].map {
                    Fixtures.api($0, replicas: [Fixtures.replica("\($0)-a", .ready)])
                }
                stub.on("GET /get", .json(try Fixtures.json(apis)))
                stub.on("GET /get/hello", .json(try Fixtures.json([apis[0]])))
                stub.on("GET /describe/hello", .json(try Fixtures.json([apis[0]])))
                stub.on(
                    "GET /requests/hello",
                    .json(
                        #"{"requests":[{"id":"\#(Self.id)","status":"failed","attempts":1,"submitted_at":"2026-01-01T00:00:00Z"}]}"#
                    ))
                for file in ["cortex.yaml", "notes.txt", "two words.yaml"] {
                    try Data().write(to: folder.appending(path: file))
                }
                for name in ["apis", "ocr"] {
                    try FileManager.default.createDirectory(
                        at: folder.appending(path: name), withIntermediateDirectories: true)
                }
                try await body(stub, folder)
            }
        }
    }

    // MARK: In a shell

    enum Shell: String, CaseIterable, Sendable {
        case bash, zsh, fish

        /// Files that the shell reads when it starts: they load the script, and make Ctrl-T write the line that has
        /// been typed to the file `lines`.
        fileprivate func start(in folder: URL) throws -> [String] {
            let (file, text): (String, String)
            switch self {
            case .bash:
                file = "rc"
                text = """
                    PS1='ready> '
                    source <(cortex completion bash)
                    report() { printf '%s\\n' "$READLINE_LINE" >>lines; READLINE_LINE= READLINE_POINT=0; echo REPORTED; }
                    bind -x '"\\C-t": report'
                    bind 'set bell-style none'

                    """
            case .zsh:
                file = ".zshrc"
                text = """
                    PROMPT='ready> '
                    autoload -Uz compinit && compinit -D
                    source <(cortex completion zsh)
                    report() { print -r -- "$BUFFER" >>lines; BUFFER=; zle -I; print REPORTED; }
                    zle -N report
                    bindkey '^T' report

                    """
            case .fish:
                file = "start.fish"
                text = """
                    function fish_prompt; echo 'ready> '; end
                    function fish_greeting; end
                    cortex completion fish | source
                    function report; commandline >>lines; commandline ''; echo REPORTED; commandline -f repaint; end
                    bind \\ct report

                    """
            }
            let path = folder.appending(path: file)
            try Data(text.utf8).write(to: path)
            switch self {
            case .bash: return ["bash", "--noprofile", "--rcfile", path.path, "-i"]
            case .zsh: return ["zsh", "-d", "-i"]
            case .fish: return ["fish", "--no-config", "-i", "-C", "source \(path.path)"]
            }
        }

        /// What a line becomes when Tab is pressed at its end, in an interactive shell on a pseudo terminal.
        func complete(_ lines: [String], folder: URL) async throws -> [String] {
            let words = try start(in: folder)
            var typing = [("ready> ", lines.first.map { "\($0)\t\u{14}" } ?? "")]
            typing += lines.dropFirst().map { ("REPORTED", "\($0)\t\u{14}") } + [("REPORTED", "exit\r")]
            let seen = try await CortexProcess.onTerminal(
                Array(words.dropFirst()), folder: folder,
                environment: [
                    "PATH": "\(CompletionTests.folderOfBinary):/usr/bin:/bin", "ZDOTDIR": folder.path,
                    "XDG_DATA_HOME": folder.path, "XDG_CONFIG_HOME": folder.path, "LC_ALL": "C.UTF-8",
                ],
                program: words[0], typing: typing)
            let file = folder.appending(path: "lines")
            let text = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
            let completed = text.split(separator: "\n").map(String.init)
            #expect(completed.count == lines.count, "\(seen.text)")
            try? FileManager.default.removeItem(at: file)
            return completed
        }
    }

    private func expect(_ lines: [(String, String)], in shell: Shell, folder: URL) async throws {
        let completed = try await shell.complete(lines.map(\.0), folder: folder)
        for ((line, wanted), found) in zip(lines, completed) {
            #expect(found == wanted, "\(shell.rawValue): \(line)")
        }
    }

    @Test(
        "O2: verbs, options and values that the program knows are completed in a real shell", arguments: Shell.allCases)
    func words(shell: Shell) async throws {
        try await with { _, folder in
            try await expect(
                [
                    ("cortex rollb", "cortex rollback "), ("cortex env conf", "cortex env configure "),
                    ("cortex help sub", "cortex help submit "), ("cx desc", "cx describe "),
                    ("cortex deploy --fo", "cortex deploy --force "),
                    // Given already, and a command that is not shown in help.
                    ("cortex deploy --force --fo", "cortex deploy --force --fo"),
                    ("cortex cluster do", "cortex cluster do"),
                    ("cortex submit hello --wait-", "cortex submit hello --wait-timeout "),
                    ("cortex get -o js", "cortex get -o json "),
                    ("cortex get --output=js", "cortex get --output=json "),
                    ("cortex requests hello --status fai", "cortex requests hello --status failed "),
                    ("cortex completion zs", "cortex completion zsh "),
                    ("cortex up --engine sand", "cortex up --engine sandbox "),
                ], in: shell, folder: folder)
        }
    }

    @Test("O2: names of the platform and of cli.yaml are completed in a real shell", arguments: Shell.allCases)
    func names(shell: Shell) async throws {
        try await with { stub, folder in
            try await expect(
                [
                    ("cortex describe hell", "cortex describe hello "),
                    // A folder of that name changes nothing.
                    ("cortex get oc", "cortex get ocr "),
                    ("cortex get -e of", "cortex get -e office "),
                    ("cortex env default of", "cortex env default office "),
                    ("cortex submit --wait hell", "cortex submit --wait hello "),
                    ("cortex submit --wait-timeout 30 hell", "cortex submit --wait-timeout 30 hello "),
                    ("cortex logs hello --replica hello", "cortex logs hello --replica hello-a "),
                    ("cortex retry hello 01", "cortex retry hello \(Self.id) "),
                ], in: shell, folder: folder)
            #expect(stub.last("GET /requests/hello")?.target.contains("status=failed") == true)
            if shell != .fish {
                try await expect([("cortex desc hell", "cortex desc hello ")], in: shell, folder: folder)
            }
        }
    }

    @Test("X10: targets of a splitter are completed up to their weight in a real shell", arguments: Shell.allCases)
    func targets(shell: Shell) async throws {
        try await with { stub, folder in
            let canary = Fixtures.splitter("canary")
            stub.on("GET /get", .json(try Fixtures.json([Fixtures.api("candle"), canary])))
            stub.on("GET /get/canary", .json(try Fixtures.json([canary])))
            try await expect(
                [
                    ("cortex split can", "cortex split canary "), ("cortex split canary v1", "cortex split canary v1="),
                    ("cortex split canary v1=90 v2", "cortex split canary v1=90 v2="),
                    // A shadow has no part in the weights.
                    ("cortex split canary v3", "cortex split canary v3"),
                    ("cortex split canary --res", "cortex split canary --resume "),
                ], in: shell, folder: folder)
        }
    }

    @Test("O2: files and folders are completed in a real shell", arguments: Shell.allCases)
    func files(shell: Shell) async throws {
        try await with { _, folder in
            try await expect(
                [
                    ("cortex deploy cor", "cortex deploy cortex.yaml "),
                    // Of no type that is deployed; zsh offers any file when none has the type.
                    ("cortex deploy not", shell == .zsh ? "cortex deploy notes.txt " : "cortex deploy not"),
                    ("cortex deploy tw", #"cortex deploy two\ words.yaml "#),
                    ("cortex up --data-dir ap", "cortex up --data-dir apis/"),
                    ("cortex cluster export ap", "cortex cluster export apis/"),
                    ("cortex submit hello -d @no", "cortex submit hello -d @notes.txt "),
                ], in: shell, folder: folder)
        }
    }

    @Test("O2: the part of the bash script that is ours passes shellcheck")
    func shellcheck() async throws {
        try await withTemporaryDirectory { folder in
            let script = folder.appending(path: "cortex.bash")
            try Data("# shellcheck shell=bash\n\(CompletionScript.bashAddition)\n".utf8).write(to: script)
            let result = try await ChildProcess.run(
                "shellcheck", [script.path], environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""])
            #expect(result.status == 0, "\(result.output)\(result.errors)")
        }
    }

    // MARK: What the scripts call

    /// - Parameter argument: as the scripts name it: `positional@0` or `--name`.
    private func offered(
        _ argument: String, of verb: String, in line: [String], shell: String, folder: URL
    ) async throws -> CortexProcess {
        let index = line.count - 1
        return try await CortexProcess.run(
            ["---completion", verb, "--", argument, "\(index)", "\(line[index].count)"] + line, folder: folder,
            environment: ["SAP_SHELL": shell])
    }

    @Test("O2: zsh and fish show what a name stands for")
    func descriptions() async throws {
        try await with { _, folder in
            let apis = try await offered(
                "positional@0", of: "describe", in: ["cortex", "describe", ""], shell: "fish", folder: folder)
            #expect(apis.output == "hello\t1/1 live\nhelp-desk\t1/1 live\nocr\t1/1 live\n")
            let replicas = try await offered(
                "--replica", of: "logs", in: ["cortex", "logs", "hello", "--replica="], shell: "zsh", folder: folder)
            #expect(replicas.output == "hello-a:Ready\n \n")
            let requests = try await offered(
                "positional@1", of: "retry", in: ["cortex", "retry", "hello", ""], shell: "fish", folder: folder)
            #expect(requests.output.hasPrefix("\(Self.id)\tfailed, "))
            let plain = try await offered(
                "positional@1", of: "retry", in: ["cortex", "retry", "hello", ""], shell: "bash", folder: folder)
            #expect(plain.output == "\(Self.id)\n")
        }
    }

    @Test("O2: cancel offers requests that have not ended, result offers all; versions have their age")
    func requestsAndVersions() async throws {
        try await with { stub, folder in
            func ask(_ verb: String) async throws {
                _ = try await offered(
                    "positional@1", of: verb, in: ["cortex", verb, "hello", ""], shell: "bash", folder: folder)
            }
            try await ask("cancel")
            #expect(stub.last("GET /requests/hello")?.target.contains("status=in_progress") == true)
            try await ask("result")
            #expect(stub.last("GET /requests/hello")?.target.contains("status") == false)
            try await ask("rollback")
            #expect(stub.last("GET /get/hello") != nil)
        }
    }

    @Test("R24: call offers RealtimeAPIs and TrafficSplitters, verbs of stored requests offer AsyncAPIs, others all")
    func kinds() async throws {
        try await with { stub, folder in
            let apis = [
                Fixtures.api("hello"), Fixtures.api("chat", kind: .realtime),
                Fixtures.api("canary", kind: .trafficSplitter),
            ]
            stub.on("GET /get", .json(try Fixtures.json(apis)))
            for (verb, names) in [
                ("call", "chat\ncanary\n"), ("submit", "hello\n"), ("requests", "hello\n"),
                ("describe", "hello\nchat\ncanary\n"), ("get", "hello\nchat\ncanary\n"),
            ] {
                let offered = try await offered(
                    "positional@0", of: verb, in: ["cortex", verb, ""], shell: "bash", folder: folder)
                #expect(offered.output == names, "\(verb)")
            }
        }
    }

    @Test("N9: a name that a shell would expand is not offered")
    func hostileNames() async throws {
        for name in ["$(touch x)", "`x`", "a;b", "a b", "~", "*", "a\nb", "", "ä", "a'b", "{a,b}"] {
            #expect(!CompletionLine.isPlain(name), "\(name)")
        }
        #expect(CompletionLine.isPlain("hello-a_1.b:2@x/y+z,9"))
        try await with { stub, folder in
            let apis = try Fixtures.json([Fixtures.api("evil"), Fixtures.api("hello")])
            stub.on("GET /get", .json(apis.replacing("\"evil\"", with: "\"$(touch pwned)\"")))
            try await expect([("cortex get ", "cortex get hello ")], in: .bash, folder: folder)
            #expect(!FileManager.default.fileExists(atPath: folder.appending(path: "pwned").path))
        }
    }

    @Test("O2: without a server, without an environment and with nonsense it is silent")
    func silent() async throws {
        try await withTemporaryDirectory { folder in
            let line = ["cortex", "get", ""]
            for words in [
                [], ["get"], ["get", "--", "--no-option"], ["nosuch", "--", "positional@0", "2", "0"] + line,
            ] {
                let process = try await CortexProcess.run(["---completion"] + words, folder: folder)
                #expect(process.status == 0 && process.errors.isEmpty && process.output.isEmpty, "\(words)")
            }
            let none = try await offered("positional@0", of: "get", in: line, shell: "bash", folder: folder)
            #expect(none.output.isEmpty && none.errors.isEmpty && none.status == 0)
            try EnvironmentStore(directory: folder.path).update {
                $0.put(Environment(name: "away", operatorEndpoint: "http://127.0.0.1:1"))
            }
            let away = try await offered("positional@0", of: "get", in: line, shell: "bash", folder: folder)
            #expect(away.output.isEmpty && away.errors.isEmpty && away.status == 0)
        }
    }

    // MARK: The line

    @Test(
        "O2: the API and the environment of a line are found wherever they stand",
        arguments: [
            (["get", ""], nil, nil), (["get", "hello", ""], "hello", nil), (["result", "hello", ""], "hello", nil),
            (["cancel", "-e", "x", "hello", "0"], "hello", "x"), (["logs", "hello", "--replica", ""], "hello", nil),
            (["logs", "hello", "--container="], "hello", nil), (["log", "--replica", ""], nil, nil),
            (["submit", "--wait", "a", "--env", ""], "a", nil), (["desc", "-e", "office", "h"], nil, "office"),
            (["result", "--wait-timeout=9", "hello", "--", ""], "hello", nil),
            (["submit", "a", "-H", "'x: y'", "-e", "b", "-d", #"'{"a": "b c"}'"#, "--env", ""], "a", nil),
            (["retry", "'hel'lo", ""], "hello", nil), (["rollback", "hello", "--env=x", ""], "hello", "x"),
            (["nosuch", ""], nil, nil), ([], nil, nil),
        ] as [([String], String?, String?)])
    func line(words: [String], api: String?, environment: String?) async {
        let line = await CompletionLine(words: ["cortex"] + words, index: words.count, context: .live())
        // The word that is being completed has a stand-in.
        func known(_ name: String?) -> String? { name?.hasPrefix("00000000-") == true ? nil : name }
        #expect(known(line.api) == api && known(line.environment) == environment, "\(line)")
    }

    @Test(
        "O2: quotes and backslashes of a word are removed as the shell does",
        arguments: [
            (#"'{"a": 1}'"#, #"{"a": 1}"#), (#""a\" b""#, "a\" b"), (#"x\ y"#, "x y"), ("'", ""), (#"'a\b'"#, #"a\b"#),
        ])
    func quotes(word: String, text: String) {
        #expect(CompletionLine.unquoted(word) == text)
    }
}
