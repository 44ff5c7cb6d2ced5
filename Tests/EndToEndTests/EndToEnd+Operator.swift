import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
    @Suite("Operator and CLI")
    struct OperatorAndCLI {
        static let engines = Platform.EngineKind.allCases

        private func token(_ platform: Platform) throws -> String {
            let text = try String(contentsOf: platform.folder.appending(path: "cli/cli.yaml"), encoding: .utf8)
            let line = try #require(text.split(separator: "\n").first { $0.contains("token:") })
            return line.split(separator: ":", maxSplits: 1)[1].trimmingCharacters(
                in: CharacterSet(charactersIn: " \"'"))
        }

        @Test("O1: a call without a token is 401, with it the answers are the original's documents", arguments: engines)
        func documents(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let url = platform.addresses.operator
            #expect(try await HTTP.get("\(url)/get").status == 401)
            #expect(try await HTTP.get("\(url)/get", headers: [("Authorization", "Bearer wrong")]).status == 401)
            let credential = [("Authorization", "Bearer \(try token(platform))")]
            let list = try #require(try await HTTP.get("\(url)/get", headers: credential).json)
            let echo = try #require(list.array?.first { $0["metadata"]["name"].string == "echo" })
            #expect(echo["metadata"]["kind"].string == "AsyncAPI")
            #expect(echo["metadata"]["name"].string == "echo")
            #expect(echo["status"]["ready"].int == 1 && echo["status"]["requested"].int == 1)
            #expect(echo["endpoint"].string == "\(platform.addresses.gateway)/echo")
            let info = try await HTTP.get("\(url)/info", headers: credential)
            #expect(info.json?["cluster_config"]["api_version"].string == CortexVersion.current)
            #expect(try await HTTP.get("\(url)/healthz").status == 200)
            #expect(try await HTTP.get("\(url)/readyz").status == 200)
            #expect(try await HTTP.get("\(url)/describe/nothing", headers: credential).status == 404)
        }

        @Test(
            "O1: deploy accepts a plain YAML or JSON body, and names every problem of an invalid one",
            arguments: engines)
        func plainDeploy(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let url = "\(platform.addresses.operator)/deploy"
            let credential = [("Authorization", "Bearer \(try token(platform))")]
            let bad = try await HTTP.post(
                url, Array("- name: Bad_Name\n  kind: AsyncAPI\n  pod: {port: 0, containers: []}\n".utf8),
                headers: credential)
            #expect(bad.status == 400)
            for word in ["name", "pod.port", "pod.containers"] { #expect(bad.text.contains(word), "\(bad.text)") }
            let yaml = try await platform.yaml("plain")
            let good = try await HTTP.post(url, Array(yaml.utf8), headers: credential)
            #expect(
                good.status == 200 && good.json?[0]["message"].string == "creating plain (AsyncAPI)", "\(good.text)")
            let again = try await HTTP.post(url, Array(yaml.utf8), headers: credential)
            #expect(again.status == 200 || again.status == 409, "\(again.text)")
            #expect(try await platform.cli("delete", "plain", "-f").status == 0)
        }

        @Test("O2, O3: submit, result, get, describe, logs and version on the command line", arguments: engines)
        func commandLine(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let waited = try await platform.cli("submit", "echo", "-d", "[1, 2]", "-H", "X-Do: verbatim", "--wait")
            #expect(waited.status == 0 && waited.output.contains("[1, 2]"), "\(waited)")
            let submitted = try await platform.cli("submit", "echo", "-d", "-", input: "from standard input")
            let id = submitted.output.trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(RequestID(id) != nil, "\(submitted)")
            let result = try await platform.cli("result", "echo", id, "--wait", "-o", "json")
            #expect(result.status == 0 && JSON(result.output.utf8)?["result"]["size"].int == 19, "\(result)")
            let list = try await platform.cli("get")
            #expect(
                list.output.contains("async api") && list.output.contains("echo") && list.output.contains("1/1"),
                "\(list)")
            let describe = try await platform.cli("describe", "echo")
            #expect(describe.status == 0 && describe.output.contains("Ready"), "\(describe)")
            let logs = try await platform.cli("logs", "echo")
            #expect(logs.output.contains("listening 8080") && logs.output.contains("echo-"), "\(logs)")
            let tail = try await platform.cli("logs", "echo", "--tail", "1")
            #expect(tail.output.split(separator: "\n").count == 1, "\(tail)")
            let version = try await platform.cli("version")
            #expect(version.output.contains("cli version: \(CortexVersion.current)"))
            #expect(version.output.contains("cluster version: \(CortexVersion.current)"))
        }

        @Test(
            "O2: usage errors exit 2, reported errors 1, and say what to do", arguments: [Platform.EngineKind.sandbox])
        func exitStatus(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            #expect(try await platform.cli("nonsense").status == 2)
            #expect(try await platform.cli("get", "--nonsense").status == 2)
            let unknown = try await platform.cli("describe", "nothing")
            #expect(unknown.status == 1 && unknown.errors.contains("error: ") && unknown.output.isEmpty, "\(unknown)")
            let doctor = try await platform.cli("doctor")
            #expect(doctor.output.contains("✓"), "\(doctor)")
        }

        @Test(
            "U3, O1: the environment `local` is created and is the default; configure, default, delete",
            arguments: [Platform.EngineKind.sandbox])
        func environments(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let list = try await platform.cli("env", "list", "-o", "json")
            #expect(JSON(list.output.utf8)?["default_environment"].string == "local", "\(list)")
            #expect(
                JSON(list.output.utf8)?["environments"][0]["operator_endpoint"].string == platform.addresses.operator)
            let configured = try await platform.cli("env", "configure", "other", "-o", platform.addresses.operator)
            #expect(configured.status == 0, "\(configured)")
            #expect(try await platform.cli("get", "-e", "other").output.contains("echo"))
            #expect(try await platform.cli("env", "delete", "other").status == 0)
            #expect(try await platform.cli("get", "-e", "other").status == 1)
            let permissions =
                try FileManager.default.attributesOfItem(
                    atPath: platform.folder.appending(path: "cli/cli.yaml").path)[.posixPermissions] as? Int
            #expect(permissions == 0o600)
        }

        @Test("A13, S4: refresh restarts the replicas and loses no request", arguments: engines)
        func refresh(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.with("fresh", pod: "max_concurrency: 2") { api async throws in
                let before = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                var ids: [String] = []
                for _ in 0..<6 { ids.append(try await api.submit("0.5", do: "sleep")) }
                #expect(try await platform.cli("refresh", "fresh").status == 0)
                for id in ids { #expect(try await api.ended(id).json?["status"].string == "completed") }
                try await expectEventually(within: .seconds(60)) {
                    let now = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                    return now != before
                }
            }
        }

        @Test(
            "A13: delete cancels queued requests; kept requests are readable again after the next deploy",
            arguments: engines)
        func deleteAndKeep(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let api = try await platform.deploy("keeper")
            let done = try await api.submit("{}")
            _ = try await api.ended(done)
            #expect(try await platform.cli("delete", "keeper", "-f", "--keep-cache").status == 0)
            #expect(try await api.read(done).status == 404)
            try await platform.deploy("keeper")
            #expect(try await api.read(done).json?["status"].string == "completed")
            #expect(try await platform.cli("delete", "keeper", "-f").status == 0)
            try await platform.deploy("keeper")
            #expect(try await api.read(done).status == 404)
            _ = try await platform.cli("delete", "keeper", "-f")
        }
    }
}
