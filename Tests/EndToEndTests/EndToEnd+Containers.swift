import Core
import Foundation
import PodmanSupport
import TestSupport
import Testing

extension EndToEnd {
    @Suite("The container contract")
    struct Containers {
        static let engines = Platform.EngineKind.allCases

        @Test("C7: without a probe a pod is ready when its port accepts, on localhost too", arguments: engines)
        func defaultProbe(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let container = "env: {LISTEN_AFTER: \"1\", LISTEN_HOST: 127.0.0.1}"
            try await platform.with("late", container: container) { api async throws in
                #expect(try await api.result("{}")["method"].string == "POST")
                #expect(try await api.call("{}").json?["attempts"].int == 1)
            }
        }

        @Test("C7: no request before every readiness probe passes, none while one fails", arguments: engines)
        func probes(_ engine: Platform.EngineKind) async throws {
            let container = """
                env: {READY_AFTER: "2"}
                readiness_probe: {http_get: {path: /ready, port: 8080}, period_seconds: 1, failure_threshold: 1}
                """
            let platform = try EndToEnd.platform(engine)
            let file = platform.folder.appending(path: "probed.yaml")
            try await platform.yaml("probed", container: container).write(to: file, atomically: true, encoding: .utf8)
            #expect(try await platform.cli("deploy", file.path).status == 0)
            let api = TestAPI(platform: platform, name: "probed")
            let id = try await api.submit("{}")
            let first = try await api.ended(id)
            #expect(first.json?["status"].string == "completed" && first.json?["attempts"].int == 1, "\(first.text)")
            _ = try await api.result("", do: "unready")
            try await expectEventually {
                try await platform.describe("probed")?["status"]["ready"].int == 0
            }
            let waiting = try await api.submit("{}")
            let later = try await HTTP.get("\(api.url)/\(waiting)?wait=2")
            #expect(later.json?["status"].string == "in_queue")
            _ = try await platform.cli("delete", "probed", "-f")
        }

        @Test(
            "C8: containers share localhost and an empty, writable /mnt; /mnt goes with the replica", arguments: engines
        )
        func sharing(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let image =
                platform.engine == .podman
                ? "image: \(try await TestImage.python())\n  " : ""
            let second = """
                - name: second
                  \(image)command: [python3, /app/server.py]
                  env: {LISTEN_PORT: "9001", LISTEN_HOST: 127.0.0.1}
                  volumes: ["\(Platform.fixtures):/app:ro"]
                  readiness_probe: {tcp_socket: {port: 9001}, period_seconds: 1}
                """
            try await platform.with("pair", more: second) { api async throws in
                let names = try await api.result(#"{"path":"/mnt","list":true}"#, do: "file")["names"]
                #expect(names.array?.isEmpty == true, "\(names)")
                _ = try await api.result(#"{"path":"/mnt/x","write":"hello"}"#, do: "file")
                let other = try await api.result(
                    #"{"url":"http://localhost:9001/","method":"POST","headers":{"X-Do":"file"},"body":"{\"path\":\"/mnt/x\"}"}"#,
                    do: "fetch")
                #expect(other[0].int == 200 && other[1].string?.contains("hello") == true, "\(other)")
            }
            try await platform.with("pair", more: second) { api async throws in
                let names = try await api.result(#"{"path":"/mnt","list":true}"#, do: "file")["names"]
                #expect(names.array?.isEmpty == true, "\(names)")
            }
        }

        @Test("C9, C12: environment, $(NAME) expansion, and the client's configuration", arguments: engines)
        func environment(_ engine: Platform.EngineKind) async throws {
            let container = """
                env: {GREETING: "hi there"}
                args: ["$(GREETING)", "$$(GREETING)", "$(UNKNOWN)", "$(CORTEX_PORT)"]
                """
            try await EndToEnd.platform(engine).with("envs", container: container) { api async throws in
                let result = try await api.result("", do: "environment")
                #expect(
                    (result["argv"].array ?? []).dropFirst().map(\.string) == [
                        "hi there", "$(GREETING)", "$(UNKNOWN)", "8080",
                    ])
                let environment = result["environment"]
                #expect(environment["CORTEX_CLI_CONFIG_DIR"].string == "/cortex/client")
                #expect(environment["CORTEX_VERSION"].string == CortexVersion.current)
                #expect(environment["CORTEX_PORT"].string == "8080")
                #expect(environment["CORTEX_API_NAME"].string == "envs")
                #expect(environment["CORTEX_REPLICA_ID"].string?.hasPrefix("envs-") == true)
                #expect(environment["GREETING"].string == "hi there")
                let client = try await api.result(#"{"path":"/cortex/client/cli.yaml"}"#, do: "file")["text"].string
                #expect(client?.contains("operator.default.svc.cluster.local:8888") == true)
                let written = try await api.result(#"{"path":"/cortex/client/cli.yaml","write":"x"}"#, do: "file")
                #expect(written["error"].exists, "the file is read-only")
            }
        }

        @Test(
            "C10: gateway and operator answer under the cluster's names, also for a pod that serves port 80",
            arguments: engines)
        func clusterNames(_ engine: Platform.EngineKind) async throws {
            try await EndToEnd.platform(engine).with("inner", pod: "port: 80") { api async throws in
                let gateway = "http://\(ClusterNames.gateway)"
                let submitted = try await api.result(
                    #"{"url":"\#(gateway)/echo","method":"POST","body":"{}"}"#, do: "fetch")
                #expect(submitted[0].int == 200, "\(submitted)")
                let id = try #require(JSON(Array((submitted[1].string ?? "").utf8))?["id"].string)
                #expect(try await EndToEnd.echo(engine).ended(id).json?["status"].string == "completed")
                let read = try await api.result(#"{"url":"\#(gateway)/echo/\#(id)"}"#, do: "fetch")
                #expect(read[1].string?.contains("completed") == true, "\(read)")
                let configuration =
                    try await api.result(#"{"path":"/cortex/client/cli.yaml"}"#, do: "file")["text"].string ?? ""
                let token = try #require(
                    configuration.split(separator: "\n").first { $0.contains("token:") }?.split(separator: ":")[1]
                )
                .trimmingCharacters(in: CharacterSet(charactersIn: " \"'"))
                for url in [
                    "http://\(ClusterNames.operatorIngress)/get", "http://\(ClusterNames.operatorService):8888/get",
                ] {
                    let bare = try await api.result(#"{"url":"\#(url)"}"#, do: "fetch")
                    #expect(bare[0].int == 401, "\(bare)")
                    let answer = try await api.result(
                        #"{"url":"\#(url)","headers":{"Authorization":"Bearer \#(token)"}}"#, do: "fetch")
                    #expect(answer[0].int == 200 && answer[1].string?.contains("inner") == true, "\(answer)")
                }
            }
        }

        @Test("C12: mem is a limit; a container above it is killed, and its state says so", arguments: engines)
        func memory(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.with("hungry", container: "compute: {mem: 128Mi}") { api async throws in
                #expect(try await api.result("10000000", do: "memory")["allocated"].int == 10_000_000)
                let answer = try await api.call("400000000", do: "memory")
                #expect(answer.json?["error"]["kind"].string == "replica_lost", "\(answer.text)")
            }
        }

        @Test("C12: shm is the size of /dev/shm", arguments: engines)
        func shm(_ engine: Platform.EngineKind) async throws {
            try await EndToEnd.platform(engine).with("shm", container: "compute: {shm: 32Mi}") { api async throws in
                #expect(try await api.result("/dev/shm", do: "statvfs")["bytes"].int == 32 << 20)
            }
        }

        @Test("C12: an unsupported field is refused by name with advice", arguments: engines)
        func refusals(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let file = platform.folder.appending(path: "gpu.yaml")
            try await platform.yaml("gpu", container: "compute: {gpu: 1}").write(
                to: file, atomically: true, encoding: .utf8)
            let output = try await platform.cli("deploy", file.path)
            #expect(output.status == 1 && output.errors.contains("gpu"), "\(output)")
            #expect(try await platform.cli("get", "gpu").status == 1)
        }

        @Test(
            "C13: on delete the request inside finishes, then pre_stop runs, then SIGTERM follows", arguments: engines)
        func stopOrder(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let shared = platform.folder.appending(path: "stop-order")
            try FileManager.default.createDirectory(at: shared, withIntermediateDirectories: true)
            chmod(shared.path, 0o777)
            // The replica's /mnt is removed with it, so the events are written to a volume.
            let container = """
                pre_stop: {exec: {command: [python3, -c, "open('/out/log','a').write('pre_stop ')"]}}
                """
            var yaml = try await platform.yaml("stopping", container: container)
            yaml = yaml.replacingOccurrences(of: ":/app:ro\"]", with: ":/app:ro\", \"\(shared.path):/out\"]")
                .replacingOccurrences(
                    of: "[python3, /app/server.py]",
                    with:
                        "[sh, -c, \"python3 /app/server.py & p=$!; trap 'echo -n TERM >> /out/log; kill $p; exit 0' TERM; wait $p\"]"
                )
            let file = platform.folder.appending(path: "stopping.yaml")
            try yaml.write(to: file, atomically: true, encoding: .utf8)
            let deployed = try await platform.cli("deploy", file.path, "--wait")
            #expect(deployed.status == 0, "\(deployed)")
            let api = TestAPI(platform: platform, name: "stopping")
            let id = try await api.submit("2", do: "sleep")
            try await expectEventually { try await api.read(id).json?["status"].string == "in_progress" }
            #expect(try await platform.cli("delete", "stopping", "-f", "--keep-cache").status == 0)
            let log = shared.appending(path: "log")
            try await expectEventually("\((try? String(contentsOf: log, encoding: .utf8)) ?? "nothing")") {
                (try? String(contentsOf: log, encoding: .utf8)) == "pre_stop TERM"
            }
        }

        @Test("C14: a container that exits is restarted in the same replica and serves again", arguments: engines)
        func restarts(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.with("phoenix", api: "retries: {max_attempts: 1}") { api async throws in
                @Sendable func replica() async throws -> JSON? {
                    try await platform.describe("phoenix")?["status"]["replicas"][0]
                }
                let before = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                #expect(try await api.call("3", do: "exit").json?["error"]["kind"].string == "replica_lost")
                try await expectEventually {
                    let now = try await replica()
                    return now?["restarts"].int == 1 && now?["state"].string == "ready"
                }
                let after = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                #expect(before == after && before != nil)
            }
        }

        @Test("C14: a failing liveness probe restarts the container", arguments: engines)
        func liveness(_ engine: Platform.EngineKind) async throws {
            let container = """
                liveness_probe: {exec: {command: [test, "!", -e, /mnt/sick]}, period_seconds: 1, failure_threshold: 1}
                """
            let platform = try EndToEnd.platform(engine)
            try await platform.with("patient", container: container) { api async throws in
                #expect(try await api.result("", do: "most-inside")["most"].int == 1)
                // The probe's file is not removed: the container restarts repeatedly, each time with a new process.
                _ = try await api.result(#"{"path":"/mnt/sick","write":""}"#, do: "file")
                try await expectEventually {
                    let restarts = try await platform.describe("patient")?["status"]["replicas"][0]["restarts"].int
                    return restarts ?? 0 >= 1
                }
            }
        }
    }
}
