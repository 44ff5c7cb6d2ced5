import Core
import Foundation
import PodmanSupport
import TestSupport
import Testing

extension EndToEnd {
    /// Rows of docs/failures.md on the built program: the output of `describe`, the end of the request, and that
    /// nothing is left.
    @Suite("Failures of pods")
    struct Failures {
        static let engines = Platform.EngineKind.allCases

        @Test(
            "C14: liveness by http_get and tcp_socket restarts the container, and the replica names the probe",
            arguments: engines)
        func liveness(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            for (probe, words) in [
                ("http_get: {port: 8080, path: /nothing}", "GET /nothing on port 8080 answered 404"),
                ("tcp_socket: {port: 9100}", "port 9100"),
            ] {
                let container = "liveness_probe: {\(probe), period_seconds: 1, failure_threshold: 2}"
                // On a busy machine the probe may fail twice before the replica was ever ready.
                try await platform.with("sick", container: container, wait: false) { _ async throws in
                    try await expectEventually(within: .seconds(120), "\(words) is not shown") {
                        guard let replica = try await platform.describe("sick")?["status"]["replicas"][0] else {
                            return false
                        }
                        return replica["restarts"].int ?? 0 >= 1
                            && replica["reason"].string?.contains("liveness probe of main failed: \(words)") == true
                    }
                    #expect(try await platform.describe("sick")?["status"]["replicas"].array?.count == 1)
                }
            }
            try await expectNothingLeft(of: "sick", platform)
        }

        @Test(
            "C12, A11: a container killed for its memory shows as killed_oom, and its request is retried",
            arguments: engines)
        func outOfMemory(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let once = """
                args: ["hog"]
                compute: {mem: 128Mi}
                """
            try await platform.with("hog", api: "retries: {max_attempts: 2}", container: once) { api async throws in
                let id = try await api.submit("400000000", do: "memory")
                try await expectEventually {
                    let replica = try await platform.describe("hog")?["status"]["replicas"][0]
                    return replica?["state"].string == "killed_oom"
                        && replica?["reason"].string?.contains("compute.mem") == true
                }
                let document = try await api.ended(id).json
                #expect(document?["error"]["kind"].string == "replica_lost" && document?["attempts"].int == 2)
            }
            try await expectNothingLeft(of: "hog", platform)
        }

        @Test("S3: a missing image shows as err_image_pull; requests wait, nothing is created")
        func missingImage() async throws {
            let platform = try EndToEnd.platform(.podman)
            try await withUnstartable("imageless", platform, ("cortex-test-python:1", "cortex-test-nothing:1")) {
                $0["state"].string == "err_image_pull"
                    && $0["reason"].string?.contains("localhost/cortex-test-nothing:1 is not on this machine") == true
            }
        }

        @Test(
            "S3: a missing or not executable program shows as failed with the reason; requests wait, nothing is left",
            arguments: engines)
        func notExecutable(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            for (program, words) in [("/nowhere/program", "no such file"), ("/etc/hosts", "permission denied")] {
                try await withUnstartable("programless", platform, ("[python3, /app/server.py]", "[\(program)]")) {
                    $0["state"].string == "failed" && $0["reason"].string?.lowercased().contains(words) == true
                }
            }
        }

        /// Deploys an API that cannot start; expects the state of its replica, a waiting request, and nothing of it on
        /// the machine.
        private func withUnstartable(
            _ name: String, _ platform: Platform, _ change: (String, String),
            _ isShown: @escaping @Sendable (JSON) -> Bool
        ) async throws {
            let file = platform.folder.appending(path: "\(name).yaml")
            try await platform.yaml(name).replacing(change.0, with: change.1)
                .write(to: file, atomically: true, encoding: .utf8)
            #expect(try await platform.cli("deploy", file.path).status == 0)
            let api = TestAPI(platform: platform, name: name)
            let id = try await api.submit("{}")
            try await expectEventually("the replica does not show why") {
                guard let replica = try await platform.describe(name)?["status"]["replicas"][0] else { return false }
                return isShown(replica)
            }
            #expect(try await api.read(id).json?["status"].string == "in_queue")
            #expect(try await platform.cli("delete", name, "-f").status == 0)
            try await expectNothingLeft(of: name, platform)
        }

        @Test(
            "U4, A11: when PodInit is killed with a request inside, another replica answers it, and nothing is left of the first",
            arguments: engines)
        func podInit(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.with("orphan") { api async throws in
                let before = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                let id = try await api.submit("1", do: "sleep")
                try await expectEventually { try await api.read(id).json?["status"].string == "in_progress" }
                try await platform.killPodInit(of: try #require(before))
                let document = try await api.ended(id).json
                // Either comes first: the end of the container, which uses an attempt, or the platform, which releases
                // the request.
                #expect(document?["status"].string == "completed" && (1...2).contains(document?["attempts"].int ?? 0))
                let after = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                #expect(after != before)
                try await expectEventually(within: .seconds(30), "the first pod is still there") {
                    try await platform.leftovers(of: before ?? "").isEmpty
                }
            }
            try await expectNothingLeft(of: "orphan", platform)
        }

        private func expectNothingLeft(of name: String, _ platform: Platform) async throws {
            let isGone = try await eventually(within: .seconds(40)) { try await platform.leftovers(of: name).isEmpty }
            let left = try await platform.leftovers(of: name)
            #expect(isGone && left == [])
        }
    }
}

extension Platform {
    /// Sends SIGKILL to a pod's `PodInit` only.
    func killPodInit(of replica: String) async throws {
        guard let podman else {
            let text = try String(contentsOf: data.appending(path: "pods/\(replica)/init.pid"), encoding: .utf8)
            Foundation.kill(try #require(pid_t(text.split(separator: " ").first ?? "")), SIGKILL)
            return
        }
        let id = try await podman.command(
            ["ps", "--quiet", "--filter", "label=cortex.pod=\(replica)", "--filter", "label=cortex.role=init"])
        try await podman.command(
            ["kill", "--signal", "KILL", id.trimmingCharacters(in: .whitespacesAndNewlines)])
    }

    /// Everything on this machine that belongs to the pods of an API, or to one pod: folders, containers, control
    /// groups, processes, mounts.
    func leftovers(of name: String) async throws -> [String] {
        let manager = FileManager.default
        let pods = data.appending(path: "pods").path
        var left = ((try? manager.contentsOfDirectory(atPath: pods)) ?? []).filter { $0.contains(name) }
        if let podman {
            left += try await podman.command(["ps", "--all", "--format", "container {{.Names}}"]).split(separator: "\n")
                .filter { $0.contains("-\(name)") }.map(String.init)
        } else {
            for folder in ["memory", "cpu", "pids", ""] {
                left += ((try? manager.contentsOfDirectory(atPath: "/sys/fs/cgroup/" + folder)) ?? [])
                    .filter { $0.hasPrefix("cortex-\(name)") }
            }
        }
        for process in (try? manager.contentsOfDirectory(atPath: "/proc")) ?? [] where Int(process) != nil {
            for file in ["cmdline", "mountinfo"] {
                let bytes = manager.contents(atPath: "/proc/\(process)/\(file)") ?? Data()
                if String(decoding: bytes, as: UTF8.self).contains("\(pods)/\(name)") {
                    left.append("process \(process) by its \(file)")
                }
            }
        }
        return left
    }
}
