import Core
import Foundation
import TestSupport
import Testing

@testable import Client

@Suite("O1: cli.yaml")
struct EnvironmentFileTests {
    private static let local = Environment(name: "local", operatorEndpoint: "http://127.0.0.1:8888", token: "secret")
    private static let office = Environment(name: "office", operatorEndpoint: "https://cortex.example.com")

    @Test("C9: the file inside a container is read as it is")
    func containerFile() throws {
        let file = try EnvironmentFile(
            yaml: """
                default_environment: default
                environments:
                  - name: default
                    operator_endpoint: http://operator.default.svc.cluster.local:8888
                    token: abc
                """)
        let environment = try file.resolve(nil)
        #expect(environment.token == "abc")
        #expect(environment.operatorEndpoint == "http://operator.default.svc.cluster.local:8888")
    }

    @Test("O1: what is written is read again, with foreign keys, odd texts and the telemetry switch")
    func roundTrip() throws {
        let odd = Environment(
            name: "true", operatorEndpoint: "http://x", token: "1e3: # \"'\n",
            extra: ["note": .string("12"), "n": .integer(12), "list": .array([.bool(true), .null])])
        let file = EnvironmentFile(
            defaultEnvironment: "true", environments: [odd, Self.local, Self.office], telemetry: false)
        #expect(try EnvironmentFile(yaml: try file.yaml()) == file)
    }

    @Test(
        "O1: files of the original are read",
        arguments: [
            "", "# nothing\n", "environments:\n", "default_environment: null\nenvironments: []\n",
            "telemetry: true\ndefault_environment: a\nenvironments:\n- name: a\n  provider: aws\n  operator_endpoint: https://x\n  aws_region: us-west-2\n",
            "environments:\n- {name: a, operator_endpoint: x, provider: \"\"}\n",
        ])
    func reads(yaml: String) throws {
        _ = try EnvironmentFile(yaml: yaml)
    }

    @Test(
        "O1: a broken file is refused with what is wrong",
        arguments: [
            ("a: [", "not YAML"), ("- a\n", "must be a map"), ("color: red\n", "unknown key \"color\""),
            ("telemetry: maybe\n", "telemetry"), ("environments: x\n", "must be a list"),
            ("environments: [x]\n", "environments[0] must be a map"),
            ("environments:\n- operator_endpoint: x\n", "environments[0].name"),
            ("environments:\n- name: a\n", "operator_endpoint is missing"),
            (
                "environments:\n- {name: a, operator_endpoint: x}\n- {name: a, operator_endpoint: y}\n",
                "two environments"
            ),
            ("environments:\n- {name: a, operator_endpoint: x, provider: gcp}\n", "provider"),
            ("default_environment: b\nenvironments:\n- {name: a, operator_endpoint: x}\n", "not one of"),
            ("environments:\n- {name: \(String(repeating: "a", count: 64)), operator_endpoint: x}\n", "longer than 63"),
        ])
    func refuses(yaml: String, reason: String) {
        let error = #expect(throws: PlatformError.self) { try EnvironmentFile(yaml: yaml) }
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
    }

    @Test("O2: the named environment, else the default, else the only one; else what to do")
    func resolution() throws {
        var file = EnvironmentFile()
        #expect(throws: PlatformError.self) { try file.resolve(nil) }
        #expect((message { try file.resolve(nil) } as String).contains("cortex up"))
        file = EnvironmentFile(environments: [Self.local])
        #expect(file.lacksObviousDefault)
        #expect(try file.resolve(nil) == Self.local)
        file = EnvironmentFile(environments: [Self.local, Self.office])
        #expect((message { try file.resolve(nil) } as String).contains("local, office"))
        #expect(try file.resolve("office") == Self.office)
        #expect((message { try file.resolve("nope") } as String).contains("cortex env configure nope -o URL"))
        try file.setDefault("office")
        #expect(try file.resolve(nil) == Self.office)
    }

    @Test("O2: deleting the default leaves the only other one as the default; renaming keeps it")
    func changes() throws {
        var file = EnvironmentFile(defaultEnvironment: "local", environments: [Self.local, Self.office])
        try file.remove("local")
        #expect(file.defaultEnvironment == "office")
        try file.rename("office", to: "work")
        #expect(file.defaultEnvironment == "work")
        try file.remove("work")
        #expect(file.defaultEnvironment == nil)
        #expect(throws: PlatformError.self) { try file.remove("work") }
        file.put(Self.local)
        #expect(file.defaultEnvironment == "local")
        file.put(Self.office)
        #expect((message { try file.rename("local", to: "office") } as String).contains("already"))
        #expect(throws: PlatformError.self) { try file.rename("local", to: "a b") }
        #expect(throws: PlatformError.self) { try file.setDefault("nope") }
    }

    @Test("U3: the platform's own environment becomes the default only where there is none")
    func platformEnvironment() {
        var file = EnvironmentFile(environments: [Self.office, Environment(name: "b", operatorEndpoint: "http://b")])
        file.put(Self.local, isDefaultIfNone: true)
        #expect(file.defaultEnvironment == "local")
        file.put(Self.office, isDefaultIfNone: true)
        #expect(file.defaultEnvironment == "local")
    }

    @Test("O1: the file is private, is replaced as a whole, and nothing is left beside it")
    func storage() async throws {
        try await withTemporaryDirectory { folder in
            let store = EnvironmentStore(environment: ["CORTEX_CLI_CONFIG_DIR": folder.path + "/new/one"])
            #expect(try store.load() == EnvironmentFile())
            try store.update { $0.put(Self.local) }
            var information = stat()
            #expect(stat(store.path, &information) == 0)
            #expect(information.st_mode & 0o777 == 0o600)
            #expect(try FileManager.default.contentsOfDirectory(atPath: store.directory) == ["cli.yaml"])
            #expect(throws: PlatformError.self) {
                try store.update { file in
                    file.put(Self.office)
                    try file.remove("nope")
                }
            }
            #expect(try store.load().environments == [Self.local])
        }
    }

    @Test("U3: many that change the file at once lose nothing")
    func concurrentChanges() async throws {
        try await withTemporaryDirectory { folder in
            let store = EnvironmentStore(directory: folder.path)
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        _ = try? store.update { $0.put(Environment(name: "e\(number)", operatorEndpoint: "http://x")) }
                    }
                }
            }
            let file = try store.load()
            #expect(file.environments.count == 20)
        }
    }

    @Test("O1: a broken file is named by its path and not overwritten")
    func brokenFile() async throws {
        try await withTemporaryDirectory { folder in
            let store = EnvironmentStore(directory: folder.path)
            try Data("color: red".utf8).write(to: URL(fileURLWithPath: store.path))
            #expect((message { try store.update { $0.put(Self.local) } } as String).contains(store.path))
            #expect(try String(contentsOfFile: store.path, encoding: .utf8) == "color: red")
        }
    }

    @Test("O2: the folder is CORTEX_CLI_CONFIG_DIR, else .cortex at home")
    func folder() {
        #expect(EnvironmentStore(environment: ["HOME": "/h"]).path == "/h/.cortex/cli.yaml")
        #expect(EnvironmentStore(environment: ["HOME": "/h", "CORTEX_CLI_CONFIG_DIR": "/c"]).path == "/c/cli.yaml")
    }

    private func message(_ body: () throws -> some Any) -> String {
        do {
            _ = try body()
            return ""
        } catch {
            return (error as? PlatformError)?.message ?? "\(error)"
        }
    }
}
