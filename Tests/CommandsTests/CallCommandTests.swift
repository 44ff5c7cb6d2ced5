import Client
import Core
import Foundation
import StubPlatform
import Support
import TestSupport
import Testing
import Wire

@testable import Commands

/// `cortex call` as a process against a stub of operator and gateway.
@Suite("R24: cortex call", .timeLimit(.minutes(2)))
struct CallCommandTests {
    private static let id = "0190f3a2-5d1c-7aaa-8bbb-1234567890ab"

    /// A stub with an API of each kind, and a folder with a `cli.yaml` that names it.
    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                for (name, kind) in [
                    ("chat", APIKind.realtime), ("split", .trafficSplitter), ("hello", .async),
                ] {
                    let api = Fixtures.api(name, kind: kind, endpoint: stub.url)
                    stub.on("GET /get/\(name)", .json(try Fixtures.json([api])))
                }
                try await body(stub, folder)
            }
        }
    }

    private func call(_ words: [String], _ folder: URL, input: String? = nil) async throws -> CortexProcess {
        try await CortexProcess.run(["call"] + words, folder: folder, input: input)
    }

    /// Starts `cortex call` with its output in the file `out` of the folder and its errors in `err`.
    private func start(_ words: [String], _ folder: URL, input: ChildProcess.Stream = .nothing) throws -> ChildProcess {
        try ChildProcess(
            CortexProcess.binary, ["call"] + words,
            environment: ["HOME": folder.path, "CORTEX_CLI_CONFIG_DIR": folder.path, "PATH": "/usr/bin:/bin"],
            directory: folder.path, input: input, output: .file(folder.path + "/out"),
            errors: .file(folder.path + "/err"))
    }

    private func written(_ folder: URL, _ file: String = "out") -> String {
        (try? String(contentsOfFile: folder.path + "/" + file, encoding: .utf8)) ?? ""
    }

    private static let stream = StubPlatform.Response(
        contentType: "text/event-stream", parts: ["data: one\n\n"], staysOpen: true)

    @Test("R24: a call is a GET of the endpoint's root, its body goes to standard output byte for byte")
    func plain() async throws {
        try await with { stub, folder in
            stub.on("GET /chat/", .init(contentType: nil, parts: ["a\u{1B}[2J\r\nno line end"]))
            let process = try await call(["chat"], folder)
            #expect(process.status == 0, "\(process.errors)")
            #expect(process.output == "a\u{1B}[2J\r\nno line end")
            #expect(process.errors.isEmpty)
            let request = try #require(stub.last("GET /chat/"))
            #expect(request.target == "/chat/" && request.text == "")
            #expect(request[header: "Authorization"] == nil && request[header: "CortexAPIVersion"] == nil)
            stub.on("GET /split/", .init(parts: ["from a target"]))
            #expect(try await call(["split"], folder).output == "from a target")
        }
    }

    @Test("R24, R5: each part of the response is printed as it arrives, and Ctrl-C ends the call with 130")
    func streams() async throws {
        try await with { stub, folder in
            stub.on("POST /chat/", Self.stream)
            let process = try start(["chat", "-d", "{}"], folder)
            try await expectEventually { written(folder) == "data: one\n\n" }
            try await stub.write("data: two\n\n", to: "POST /chat/")
            try await expectEventually { written(folder) == "data: one\n\ndata: two\n\n" }
            #expect(process.isRunning && stub.isOpen("POST /chat/"))
            process.send(SIGINT)
            #expect(await process.wait() == 130)
            try await expectEventually("the server sees that the caller has gone") { !stub.isOpen("POST /chat/") }
            #expect(written(folder, "err").isEmpty)
        }
    }

    @Test("R24: a reader that goes away ends the call quietly, and the connection with it")
    func brokenPipe() async throws {
        try await with { stub, folder in
            stub.on("GET /chat/", Self.stream)
            var ends: [CInt] = [0, 0]
            #expect(pipe(&ends) == 0)
            let process = try ChildProcess(
                CortexProcess.binary, ["call", "chat"],
                environment: ["HOME": folder.path, "CORTEX_CLI_CONFIG_DIR": folder.path, "PATH": "/usr/bin:/bin"],
                directory: folder.path, output: .descriptor(ends[1]), errors: .file(folder.path + "/err"))
            close(ends[1])
            try await expectEventually { stub.isOpen("GET /chat/") }
            close(ends[0])
            while process.isRunning {
                try? await stub.write("data: more\n\n", to: "GET /chat/")
                await Task.yield()
            }
            #expect(await process.wait() == 141)
            #expect(written(folder, "err").isEmpty)
            try await expectEventually { !stub.isOpen("GET /chat/") }
        }
    }

    @Test(
        "R24, R1: the path is appended to the endpoint byte for byte, whatever characters a URL library would change",
        arguments: [
            ("/", "/chat/"), ("?q=1", "/chat?q=1"), ("/a//b/../c;x=%2F?q=1&q", "/chat/a//b/../c;x=%2F?q=1&q"),
            ("/?a[0]=1&b={x}|^`\"<>\\", "/chat/?a[0]=1&b={x}|^`\"<>\\"), ("/100%", "/chat/100%"),
            ("/%c3%A4", "/chat/%c3%A4"),
        ])
    func paths(path: String, target: String) async throws {
        try await with { stub, folder in
            let process = try await call(["chat", path], folder)
            #expect(process.status == 22)
            #expect(stub.requests.last?.target == target)
        }
    }

    @Test(
        "R24: a path that HTTP cannot carry is a usage error that says how to write it",
        arguments: [
            ("a b", "write it like /a b"), ("/a b", "write it as %20"), ("/ä", "write it as %C3%A4"),
            ("/a#b", "write it as %23"), ("/\n", "write it as %0A"),
        ])
    func wrongPaths(path: String, advice: String) async throws {
        try await with { stub, folder in
            let process = try await call(["chat", path], folder)
            #expect(process.status == 2 && process.errors.contains(advice), "\(process.errors)")
            #expect(stub.requests.allSatisfy { $0.path == "/get/chat" })
        }
    }

    @Test("R24: -d is POST unless -X says otherwise; methods of WebDAV and HEAD are sent as they are")
    func methods() async throws {
        try await with { stub, folder in
            for (words, method) in [
                (["-d", "{}"], "POST"), (["-d", "{}", "-X", "PUT"], "PUT"), (["-X", "DELETE"], "DELETE"),
                (["-X", "PROPFIND"], "PROPFIND"), (["-X", "REPORT", "-d", "x"], "REPORT"),
                (["-X", "POST"], "POST"),
            ] {
                stub.on("\(method) /chat/x", .init(parts: ["ok"]))
                let process = try await call(["chat", "/x"] + words, folder)
                #expect(process.status == 0 && process.output == "ok", "\(words): \(process.errors)")
                #expect(stub.last("\(method) /chat/x")?[header: "Transfer-Encoding"] == nil)
            }
            stub.on("HEAD /chat/", .init(parts: [], headers: [("Content-Length", "1000")]))
            let head = try await call(["chat", "-X", "HEAD", "-i"], folder)
            #expect(head.status == 0 && head.output.contains("Content-Length: 1000\r\n"), "\(head.errors)")
            #expect(try await call(["chat", "-X", "G T"], folder).status == 2)
        }
    }

    @Test("R24: the Content-Type of -d is JSON's for JSON, a form's for other text as with curl, a file's by its name")
    func types() async throws {
        try await with { stub, folder in
            stub.on("POST /chat/", .init(parts: ["ok"]))
            try Data([0, 255, 10]).write(to: folder.appending(path: "x.png"))
            for (words, type, input) in [
                (["-d", #"{"a": 1}"#], "application/json", nil),
                (["-d", "a=1&b=2"], "application/x-www-form-urlencoded", nil),
                (["-d", "@x.png"], "image/png", nil), (["-d", "-"], "application/octet-stream", "piped"),
                (["-d", "@-"], "application/octet-stream", "piped"),
                (["-d", "{}", "-H", "content-type: text/x"], "text/x", nil),
            ] as [([String], String, String?)] {
                let process = try await call(["chat"] + words, folder, input: input)
                #expect(process.status == 0, "\(process.errors)")
                let request = try #require(stub.last("POST /chat/"))
                #expect(request.headers.filter { $0.name.lowercased() == "content-type" }.map(\.value) == [type])
                if let input { #expect(request.text == input) }
            }
            #expect(try await call(["chat", "-X", "POST"], folder, input: "not this").status == 0)
            #expect(stub.last("POST /chat/")?.text == "")
            #expect(stub.last("POST /chat/")?[header: "Content-Type"] == nil)
            let missing = try await call(["chat", "-d", "@nothing"], folder)
            #expect(missing.status == 1 && missing.errors.contains("nothing cannot be read"))
        }
    }

    @Test("R24: -i prints the status and the headers as they came, before the body")
    func head() async throws {
        try await with { stub, folder in
            stub.on(
                "GET /chat/",
                .init(
                    status: 404, contentType: nil, parts: ["gone"],
                    headers: [("X-B", "2"), ("x-a", "1"), ("X-B", "3"), ("X-Cortex-Origin", "api")]))
            let process = try await call(["chat", "-i"], folder)
            #expect(
                process.output
                    == "HTTP/1.1 404 Not Found\r\nX-B: 2\r\nx-a: 1\r\nX-B: 3\r\nX-Cortex-Origin: api\r\nContent-Length: 4\r\n\r\ngone"
            )
            #expect(process.status == 22)
            #expect(process.errors == "error: chat answered 404 Not Found\n")
        }
    }

    @Test(
        "R24: any status but 2xx exits with 22 after the body, and the message says whether the platform answered",
        arguments: [
            (204, "api", 0, ""), (304, "api", 22, "chat answered 304"), (302, "api", 22, "chat answered 302 Found"),
            (503, "gateway", 22, "the platform answered 503 Service Unavailable"),
            (500, "activator", 22, "chat answered 500"),
        ] as [(Int, String, Int32, String)])
    func statuses(status: Int, origin: String, exit: Int32, message: String) async throws {
        try await with { stub, folder in
            let body = status == 204 || status == 304 ? [] : ["the body"]
            stub.on(
                "GET /chat/",
                .init(
                    status: status, contentType: nil, parts: body,
                    headers: [("X-Cortex-Origin", origin), ("Location", "/chat/elsewhere")]))
            let process = try await call(["chat"], folder)
            #expect(process.status == exit && process.output == body.joined(), "\(process.errors)")
            #expect(message.isEmpty ? process.errors.isEmpty : process.errors.hasPrefix("error: \(message)"))
            #expect(stub.count("GET /chat/elsewhere") == 0)
        }
    }

    @Test(
        "R24: without a response, or with one that breaks off, the exit status is 1, and the message says what happened"
    )
    func noResponse() async throws {
        try await with { stub, folder in
            stub.on("GET /chat/", .cutOff)
            let cut = try await call(["chat"], folder)
            #expect(cut.status == 1 && cut.output.isEmpty)
            #expect(cut.errors.contains("closed the connection before it had answered"), "\(cut.errors)")
            stub.on("GET /chat/", Self.stream)
            let process = try start(["chat"], folder)
            try await expectEventually { written(folder) == "data: one\n\n" }
            try await stub.cut("GET /chat/")
            #expect(await process.wait() == 1)
            #expect(written(folder, "err").contains("is not complete: the connection was closed before its end"))
            let away = Fixtures.api("chat", kind: .realtime, endpoint: "http://127.0.0.1:1")
            stub.on("GET /get/chat", .json(try Fixtures.json([away])))
            let refused = try await call(["chat"], folder)
            #expect(refused.status == 1 && refused.errors.contains("nothing answers at http://127.0.0.1:1/chat"))
        }
    }

    @Test("R24, R5: the payload of -d - is streamed while it arrives, and the response while it is being sent")
    func bothDirections() async throws {
        try await with { stub, folder in
            var early = Self.stream
            early.isEarly = true
            stub.on("POST /chat/", early)
            var ends: [CInt] = [0, 0]
            #expect(pipe(&ends) == 0)
            _ = fcntl(ends[1], F_SETFD, FD_CLOEXEC)
            let process = try start(["chat", "-d", "-"], folder, input: .descriptor(ends[0]))
            close(ends[0])
            // Nothing of the payload has been written yet.
            try await expectEventually { written(folder) == "data: one\n\n" }
            #expect(stub.last("POST /chat/")?[header: "Transfer-Encoding"] == "chunked")
            #expect(write(ends[1], "first", 5) == 5)
            try await expectEventually { stub.received("POST /chat/") == "first" }
            #expect(write(ends[1], "second", 6) == 6)
            try await expectEventually { stub.received("POST /chat/") == "firstsecond" }
            try await stub.write("data: two\n\n", to: "POST /chat/")
            try await expectEventually { written(folder).hasSuffix("data: two\n\n") }
            // A response that ends before the payload ends the call: the other side of the pipe stays open.
            try await stub.write(nil, to: "POST /chat/")
            #expect(await process.wait() == 0)
            close(ends[1])
        }
    }

    @Test("R24: an early refusal of a large payload is the response")
    func refusedPayload() async throws {
        try await with { stub, folder in
            stub.on(
                "POST /chat/",
                .init(
                    status: 413, parts: ["too large"], isEarly: true,
                    headers: [("X-Cortex-Origin", "gateway"), ("Connection", "close")]))
            let file = folder.appending(path: "large")
            #expect(FileManager.default.createFile(atPath: file.path, contents: nil))
            #expect(truncate(file.path, 1 << 30) == 0)
            let process = try await call(["chat", "-d", "@large"], folder)
            #expect(process.status == 22 && process.output == "too large", "\(process.errors)")
        }
    }

    @Test("R24: verbs of stored requests name cortex call for a RealtimeAPI and a TrafficSplitter, call names submit")
    func otherKinds() async throws {
        try await with { stub, folder in
            stub.on("GET /requests/chat", .error(400, "not_supported", "no"))
            stub.on("GET /requests/split", .json(#"{"requests":[]}"#))
            stub.on("POST /retry/chat/\(Self.id)", .error(404, "not_found", "no"))
            for (name, kind) in [("chat", "RealtimeAPI"), ("split", "TrafficSplitter")] {
                for words in [
                    ["submit", name, "-d", "{}"], ["result", name, Self.id], ["requests", name],
                    ["cancel", name, Self.id], ["retry", name, Self.id],
                ] {
                    let process = try await CortexProcess.run(words, folder: folder)
                    #expect(process.status == 1 && process.output.isEmpty, "\(words)")
                    #expect(
                        process.errors
                            == "error: \(name) is a \(kind), which answers directly and stores no requests; call it with: cortex call \(name)\n",
                        "\(words)")
                }
            }
            #expect(stub.count("POST /chat") + stub.count("POST /split") == 0)
            let wrong = try await call(["hello"], folder)
            #expect(wrong.status == 1)
            #expect(wrong.errors == "error: hello is an AsyncAPI; submit a request to it with: cortex submit hello\n")
            stub.on("GET /get/none", .error(404, "not_found", "no API \\\"none\\\" is deployed"))
            let none = try await call(["none"], folder)
            #expect(none.status == 1 && none.errors == "error: no API \"none\" is deployed\n")
        }
    }

    @Test("R24, N8: on a terminal what could steer it is escaped, also where a part ends inside of it")
    func terminal() async throws {
        try await with { stub, folder in
            stub.on("GET /chat/", .init(parts: ["a\u{1B}[2J", "\u{1B}[3", "1mred\u{1B}[0m ä"], staysOpen: false))
            let seen = try await CortexProcess.onTerminal(["call", "chat"], folder: folder, typing: [])
            #expect(seen.text == "a\\u001b[2J\u{1B}[31mred\u{1B}[0m ä\r\n")
        }
    }

    @Test("R24: a text for a terminal may end anywhere: nothing is lost, changed or shown too early")
    func parts() {
        let text = "ä\u{1B}[1mb\u{1B}[0m\r\nc\rd😀e\u{1B}[2Jf\u{1B}"
        let bytes = Array(text.utf8)
        for size in 1...bytes.count {
            var terminal = TerminalText()
            var shown = ""
            for start in stride(from: 0, to: bytes.count, by: size) {
                shown += terminal.text(after: bytes[start..<min(start + size, bytes.count)])
            }
            #expect(shown + terminal.rest() == text.safeForTerminal, "parts of \(size)")
        }
        var terminal = TerminalText()
        #expect(terminal.text(after: Array("data: one\n".utf8)) == "data: one\n")
        #expect(terminal.text(after: [0xFF, 0xC3]) == "\u{FFFD}")
        #expect(terminal.text(after: [0xA4]) == "ä")
    }
}
