import APIConfiguration
import ArgumentParser
import Client
import Core
import Foundation
import StubPlatform
import TestSupport
import Testing
import Wire

@testable import Commands

@Suite("O2: cortex cluster, and what every command has in common", .timeLimit(.minutes(2)))
struct ClusterTests {
    private static let info = InfoDocument(
        clusterConfig: .init(
            apiVersion: CortexVersion.current, clusterName: "local", engine: "sandbox", store: "sqlite",
            gatewayEndpoint: "http://127.0.0.1:8889", operatorEndpoint: "http://127.0.0.1:8888"),
        numPendingReplicas: 1, numAPIs: 2, queue: QueueCounts(inQueue: 3, inProgress: 1))

    private func with(_ body: (StubPlatform, URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            try await StubPlatform.with { stub in
                try EnvironmentStore(directory: folder.path).update {
                    $0.put(Environment(name: "local", operatorEndpoint: stub.url, token: "secret"))
                }
                stub.on("GET /info", .json(try Fixtures.json(Self.info)))
                try await body(stub, folder)
            }
        }
    }

    @Test("O2: cluster info says where it listens, what it is, and how much there is of what")
    func info() {
        let apis = [
            Fixtures.api("hello", replicas: [Fixtures.replica("hello-a", .ready)]), Fixtures.api("ocr", requested: 1),
        ]
        #expect(
            ClusterView.render(
                Self.info, apis: apis, environment: Environment(name: "home", operatorEndpoint: "http://x"),
                style: .plain) == """
                    cluster       local
                    environment   home
                    version       \(CortexVersion.current)
                    operator      http://127.0.0.1:8888
                    gateway       http://127.0.0.1:8889
                    engine        sandbox
                    store         sqlite
                    apis          2
                    replicas      1 ready, 2 wanted
                    requests      3 in queue, 1 in progress
                    """)
    }

    @Test("O2: cluster health names each part, and its exit status says whether all are well")
    func health() async throws {
        try await with { stub, folder in
            let fine = HealthDocument(
                apiVersion: CortexVersion.current,
                components: [.init("store", .healthy, "sqlite answers"), .init("engine", .healthy, "sandbox answers")])
            var bad = fine
            bad.components[1] = .init("engine", .unhealthy, "does not answer")
            bad.status = .unhealthy
            stub.on("GET /health", .json(try Fixtures.json(fine)))
            let healthy = try await CortexProcess.run(["cluster", "health"], folder: folder)
            #expect(healthy.status == 0)
            #expect(
                healthy.output == """
                    ✓ operator   answers at \(stub.url)
                    ✓ store      sqlite answers
                    ✓ engine     sandbox answers

                    """)
            stub.on("GET /health", .json(try Fixtures.json(bad)))
            let unhealthy = try await CortexProcess.run(["cluster", "health", "-o", "json"], folder: folder)
            #expect(unhealthy.status == 1)
            let document = try JSONDecoder().decode(HealthDocument.self, from: Data(unhealthy.output.utf8))
            #expect(document.status == .unhealthy)
            #expect(document.components.map(\.name) == ["operator", "store", "engine"])
        }
    }

    @Test("O2: cluster export writes files that can be deployed as they are, and writes over none unasked")
    func export() async throws {
        try await with { stub, folder in
            let submitted = """
                {"pod":{"containers":[{"image":"img:1","volumes":["./app:/app:ro"],"name":"c","env":{"N":"1","B":"true"}}]},
                 "kind":"AsyncAPI","name":"hello"}
                """
            var specification = APISpecification.async(
                name: "hello", networking: .init(endpoint: "/hello"),
                pod: PodSpecification(containers: [ContainerSpecification(name: "c", image: "img:1")]))
            specification.pod.containers[0].volumes = [.init(source: "/srv/app", target: "/app", readOnly: true)]
            specification.pod.containers[0].env = ["N": "1", "B": "true"]
            let deployed = DeployedAPI(
                specification: specification, id: "v1", specID: "s", podID: "p", deploymentID: "d",
                initialDeployment: Fixtures.now, lastUpdated: Fixtures.now)
            let value = try JSONDecoder().decode(JSONValue.self, from: Data(submitted.utf8))
            let api = APIDocument(spec: SpecDocument(deployed, submitted: value), metadata: .init(deployed))
            stub.on("GET /get", .json(try Fixtures.json([APIDocument(metadata: .init(deployed))])))
            stub.on("GET /get/hello", .json(try Fixtures.json([api])))
            let first = try await CortexProcess.run(["cluster", "export"], folder: folder)
            #expect(first.output == "exported hello to export-local/hello.yaml\n", "\(first.errors)")
            let file = folder.appending(path: "export-local/hello.yaml")
            let text = try String(contentsOf: file, encoding: .utf8)
            // Variables may hold secrets (contract N9).
            for (path, mode) in [(file.path, 0o600), (folder.path + "/export-local", 0o700)] {
                #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == mode)
            }
            #expect(
                text == """
                    # hello as deployed at \(stub.url), version v1
                    - name: hello
                      kind: AsyncAPI
                      pod:
                        containers:
                        - name: c
                          image: img:1
                          env:
                            B: 'true'
                            'N': '1'
                          volumes:
                          - /srv/app:/app:ro

                    """)
            let parsed = ConfigurationFile.parse(Array(text.utf8), fileName: "hello.yaml", baseDirectory: "/elsewhere")
            #expect(parsed.problems.isEmpty)
            #expect(parsed.apis.first?.specification.pod.containers == specification.pod.containers)
            let again = try await CortexProcess.run(["cluster", "export"], folder: folder)
            #expect(again.status == 1 && again.errors.contains("--force"))
            let forced = try await CortexProcess.run(
                ["cluster", "export", "--force", "-o", "json"], folder: folder)
            let below = try await CortexProcess.run(["cluster", "export", file.path + "/x"], folder: folder)
            #expect(below.status == 1 && below.errors.contains("cannot be made; name another one"), "\(below.errors)")
            #expect(!below.errors.contains("NSCocoa"))
            #expect(forced.status == 0 && forced.output.contains("\"file\" : \"export-local/hello.yaml\""))
        }
    }

    @Test(
        "O2: verbs of the original that there are not say what takes their place",
        arguments: ["up", "down", "configure"])
    func replaced(verb: String) async throws {
        try await withTemporaryDirectory { folder in
            let process = try await CortexProcess.run(["cluster", verb, "--config", "x.yaml", "-y"], folder: folder)
            #expect(process.status == 2)
            #expect(process.errors.contains("there is no cortex cluster \(verb)"))
        }
    }

    // MARK: Every command

    /// Every command that has no commands of its own.
    private func commands(below command: any ParsableCommand.Type = CortexCommand.self) -> [any ParsableCommand.Type] {
        let children = command.configuration.subcommands.filter { $0.configuration.shouldDisplay }
        return children.isEmpty ? [command] : children.flatMap(commands(below:))
    }

    @Test("O2: no example and no paragraph of a help text is broken at 80 columns")
    func discussions() {
        #expect(commands().count > 20)
        for command in commands() {
            for line in command.configuration.discussion.split(separator: "\n") {
                #expect(line.count <= 80, "\(command._commandName): \(line)")
            }
        }
    }

    @Test("O2: every command takes --output json but those that print a script or a response, or write files")
    func output() throws {
        // J15: results and artifacts name with -o what is written; their data is JSON Lines and files.
        let exempt: Set<String> = ["completion", "schema", "call", "results", "artifacts"]
        for command in commands() where !exempt.contains(command._commandName) {
            let help = CortexCommand.helpMessage(for: command)
            #expect(help.contains("--output <format>"), "\(command._commandName)")
        }
    }

    @Test("O2: version, environments and logs as JSON")
    func json() async throws {
        try await with { stub, folder in
            let version = try await CortexProcess.run(["version", "-o", "json"], folder: folder)
            #expect(
                version.output == """
                    {
                      "cli_version" : "\(CortexVersion.current)",
                      "cluster_version" : "\(CortexVersion.current)"
                    }

                    """)
            let name = try await CortexProcess.run(["env", "default", "-o", "json"], folder: folder)
            #expect(name.output == "{\n  \"default_environment\" : \"local\"\n}\n")
            stub.on(
                "GET /logs/hello",
                .init(parts: [#"{"replica":"r","container":"c","text":"a/b"}"# + "\n\n"]))
            let logs = try await CortexProcess.run(["logs", "hello", "-o", "json"], folder: folder)
            #expect(logs.output == #"{"container":"c","replica":"r","text":"a/b"}"# + "\n")
            #expect(try await CortexProcess.run(["logs", "hello", "-o", "yaml"], folder: folder).status == 2)
        }
    }

    @Test("O2: get API VERSION shows one of its versions")
    func version() async throws {
        try await with { stub, folder in
            let api = Fixtures.api("hello")
            stub.on("GET /get/hello/v1", .json(try Fixtures.json([APIDocument(spec: api.spec)])))
            let process = try await CortexProcess.run(["get", "hello", "v1"], folder: folder)
            #expect(
                process.output.contains("\nconfiguration\n") && process.output.contains("name: hello"),
                "\(process.errors)")
        }
    }

    @Test(
        "O2: delete asks on a terminal, and n leaves everything as it is",
        arguments: [("n\n", 1, 0), ("maybe\ny\n", 0, 1)])
    func question(answer: String, status: Int32, deleted: Int) async throws {
        try await with { stub, folder in
            let replicas = (1...3).map { Fixtures.replica("hello-\($0)", .ready) }
            stub.on(
                "GET /get/hello", .json(try Fixtures.json([Fixtures.api("hello", requested: 3, replicas: replicas)])))
            stub.on("DELETE /delete/hello", .json(#"{"message":"deleting hello"}"#))
            let process = try await CortexProcess.onTerminal(
                ["delete", "hello"], folder: folder, typing: [("(y/n): ", answer)])
            #expect(process.text.contains("delete hello? it has 3 ready replicas (y/n): "), "\(process.text)")
            #expect(process.status == status)
            #expect(stub.count("DELETE /delete/hello") == deleted)
        }
    }

    @Test("O2: NO_COLOR, a dumb terminal and a pipe get no control characters")
    func colors() async throws {
        try await with { stub, folder in
            stub.on("GET /get", .json(try Fixtures.json([Fixtures.api("hello")])))
            let colored = try await CortexProcess.onTerminal(["get"], folder: folder, typing: [])
            #expect(colored.text.contains("\u{1B}[1m"))
            for variable in [["NO_COLOR": "1"], ["TERM": "dumb"]] {
                let plain = try await CortexProcess.onTerminal(
                    ["get"], folder: folder, environment: variable, typing: [])
                #expect(plain.text.contains("hello") && !plain.text.contains("\u{1B}"), "\(variable)")
            }
            let piped = try await CortexProcess.run(["get"], folder: folder)
            #expect(!piped.output.contains("\u{1B}") && !piped.output.contains("\r"))
        }
    }
}
