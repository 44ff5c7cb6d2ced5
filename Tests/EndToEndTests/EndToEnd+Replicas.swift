import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
    @Suite("Scaling and updates of replicas")
    struct Replicas {
        static let engines = Platform.EngineKind.allCases

        @Test(
            "S2: at zero the first request starts a replica; without requests it is removed again", arguments: engines)
        func zero(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let scaling = """
                autoscaling: {min_replicas: 0, init_replicas: 0, window: 10s, downscale_stabilization_period: 0s, upscale_stabilization_period: 0s}
                """
            try await platform.with("sleeper", api: scaling) { api async throws in
                for _ in 0..<2 {
                    try await expectEventually(within: .seconds(90)) {
                        let status = try await platform.describe("sleeper")?["status"]
                        return status?["requested"].int == 0 && status?["replicas"].array?.isEmpty == true
                    }
                    let answer = try await api.call("{}", do: "verbatim")
                    #expect(
                        answer.json?["status"].string == "completed" && answer.json?["attempts"].int == 1,
                        "\(answer.text)")
                }
                let decisions = try await platform.describe("sleeper")?["status"]["autoscaling"]["decisions"].array
                #expect(decisions?.contains { $0["to"].int == 1 && $0["from"].int == 0 } == true)
            }
        }

        @Test(
            "S3: while a version does not become ready the old one serves, and the reason is shown; rollback ends it",
            arguments: engines)
        func brokenVersion(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.with("robust") { api async throws in
                let before = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                let file = platform.folder.appending(path: "robust.yaml")
                let good = try String(contentsOf: file, encoding: .utf8)
                try good.replacing("/app/server.py", with: "/app/nonsense.py")
                    .write(to: file, atomically: true, encoding: .utf8)
                #expect(try await platform.cli("deploy", file.path).status == 0)
                try await expectEventually(within: .seconds(90), "no reason was given") {
                    let replicas = try await platform.describe("robust")?["status"]["replicas"].array ?? []
                    return replicas.contains { replica in
                        replica["reason"].string?.contains("exited with code 2") == true
                            && (replica["last_log_lines"].array ?? []).contains {
                                $0.string?.contains("nonsense.py") == true
                            }
                    }
                }
                let during = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                #expect(during == before && before != nil)
                let rollback = try await platform.cli("rollback", "robust", "--force", "--wait")
                #expect(rollback.status == 0, "\(rollback)")
                try await expectEventually(within: .seconds(60)) {
                    let replicas = try await platform.describe("robust")?["status"]["replicas"].array ?? []
                    return replicas.map { $0["id"].string } == [before] && replicas.first?["state"].string == "ready"
                }
                let unknown = try await platform.cli("rollback", "robust", "nonsense")
                #expect(unknown.status == 1 && unknown.errors.contains("kept are"), "\(unknown)")
            }
        }

        @Test(
            "C12: a pod that does not fit the machine is pending with the reason, and starts when resources are free",
            arguments: engines)
        func capacity(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            let milli = ProcessInfo.processInfo.activeProcessorCount * 1000
            try await platform.with("large", container: "compute: {cpu: \(milli - 500)m}") { _ async throws in
                let api = try await platform.deploy("waiting", container: "compute: {cpu: 1000m}", wait: false)
                let id = try await api.submit("{}", do: "verbatim")
                try await expectEventually {
                    let replica = try await platform.describe("waiting")?["status"]["replicas"][0]
                    return replica?["state"].string == "pending"
                        && replica?["reason"].string?.contains("1000m of cpu") == true
                }
                #expect(try await platform.cli("delete", "large", "-f").status == 0)
                #expect(try await api.ended(id).json?["status"].string == "completed")
                _ = try await platform.cli("delete", "waiting", "-f")
            }
        }

        @Test("S3: an update that changes only the autoscaling restarts nothing", arguments: engines)
        func autoscalingOnly(_ engine: Platform.EngineKind) async throws {
            let platform = try EndToEnd.platform(engine)
            try await platform.with("calm") { api async throws in
                let before = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                try await platform.deploy("calm", api: "autoscaling: {max_replicas: 3, target_in_flight: 5}")
                let after = try await api.result("", do: "environment")["environment"]["CORTEX_REPLICA_ID"].string
                #expect(before == after && before != nil)
                #expect(try await platform.describe("calm")?["status"]["replicas"].array?.count == 1)
            }
        }
    }
}
