import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import NIOHTTP1
import Operator
import StoreMemory
import Synchronization
import TestSupport
import Testing
import Wire

@Suite("Deploying")
struct DeployTests {
    @Test("O1: a new API is stored, declared with its first number of replicas, and shown with its endpoint")
    func create() async throws {
        try await Fixture.with { fixture in
            let yaml = Fixture.yaml + "\n  autoscaling:\n    min_replicas: 2\n    init_replicas: 3"
            let reply = try await fixture.deploy(yaml, "?configFileName=app.yaml")
            #expect(reply.status == 200)
            let results = try reply.decoded([DeployResultDocument].self)
            #expect(results.map(\.message) == ["creating iris (AsyncAPI)"])
            #expect(results.map(\.error) == [""])
            #expect(results[0].api?.endpoint == "http://127.0.0.1:8889/iris")
            #expect(results[0].api?.spec?.fileName == "app.yaml")
            let stored = try await fixture.store.deployedAPIs()
            #expect(stored.map(\.name) == ["iris"])
            #expect(fixture.orchestrator.applied.map(\.replicas) == [3])
            #expect(fixture.orchestrator.applied.map(\.id) == stored.map(\.id))
            #expect(try await fixture.store.requestedReplicas(of: "iris") == 3)
        }
    }

    @Test(
        "O1: the file may come as YAML or JSON, of any or no content type, or in a form",
        arguments: [
            (nil, Fixture.yaml), ("application/yaml", Fixture.yaml),
            ("application/x-www-form-urlencoded", Fixture.yaml),
            (
                "application/json",
                #"[{"name":"iris","kind":"AsyncAPI","pod":{"containers":[{"name":"api","image":"iris:1"}]}}]"#
            ),
            (
                "multipart/form-data; boundary=xyz",
                "--xyz\r\nContent-Disposition: form-data; name=\"config\"; filename=\"cortex.yaml\"\r\n\r\n\(Fixture.yaml)\r\n--xyz--\r\n"
            ),
        ] as [(String?, String)])
    func bodies(type: String?, body: String) async throws {
        try await Fixture.with { fixture in
            var headers = HTTPHeaders()
            if let type { headers.add(name: "Content-Type", value: type) }
            let reply = try await fixture.call(
                .POST, "/deploy?configFileName=cortex.yaml&force=false&clientID=x", body: body, headers: headers)
            #expect(reply.status == 200, "\(reply.body)")
            #expect(try reply.decoded([DeployResultDocument].self)[0].api?.spec?.pod?.containers[0].image == "iris:1")
        }
    }

    @Test(
        "A13, S3: the same file changes nothing; another keeps id of deployment, first deploy and replicas, within the new bounds"
    )
    func update() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            let first = try await fixture.store.deployedAPIs()[0]
            fixture.orchestrator.setStatus(.of(.ready), of: "iris")
            let same = try await fixture.deploy("# a remark\n" + Fixture.yaml)
            #expect(try same.decoded([DeployResultDocument].self).map(\.message) == ["iris (AsyncAPI) is up to date"])
            #expect(fixture.orchestrator.applied.count == 1)

            try await fixture.store.saveRequestedReplicas(7, of: "iris")
            fixture.clock.advance(by: .seconds(5))
            let changed = try await fixture.deploy(Fixture.yaml + "\n  autoscaling:\n    max_replicas: 4")
            #expect(try changed.decoded([DeployResultDocument].self).map(\.message) == ["updating iris (AsyncAPI)"])
            let second = try await fixture.store.deployedAPIs()[0]
            #expect(second.deploymentID == first.deploymentID)
            #expect(second.podID == first.podID, "autoscaling does not touch the pod")
            #expect(second.specID != first.specID)
            #expect(second.id < first.id, "newer versions sort first")
            #expect(second.initialDeployment == first.initialDeployment)
            #expect(second.lastUpdated == first.lastUpdated + .seconds(5))
            #expect(fixture.orchestrator.applied.last?.replicas == 4)
            #expect(try await fixture.store.requestedReplicas(of: "iris") == 4)
        }
    }

    @Test("O1: an API that is updating is changed only by force, and the others of the file go on")
    func updating() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            fixture.orchestrator.setStatus(.of(.creating), of: "iris")
            let again = try await fixture.deploy()
            #expect(
                try again.decoded([DeployResultDocument].self).map(\.message)
                    == ["iris (AsyncAPI) is already updating"])
            let both =
                Fixture.yaml.replacing("iris:1", with: "iris:2") + "\n" + Fixture.yaml.replacing("iris", with: "lily")
            let refused = try await fixture.deploy(both).decoded([DeployResultDocument].self)
            #expect(refused[0].api == nil)
            #expect(refused[0].error.contains("is updating"))
            #expect(refused[0].errorKind == "asyncapi.api_updating" && refused[1].errorKind == nil)
            #expect(refused[1].message == "creating lily (AsyncAPI)")
            let forced = try await fixture.deploy(both, "?force=true").decoded([DeployResultDocument].self)
            #expect(forced.map(\.message) == ["updating iris (AsyncAPI)", "lily (AsyncAPI) is already updating"])
            // A failed replica means that the update is stuck, not under way.
            fixture.orchestrator.setStatus(.of(.errImagePull), of: "iris")
            let mended = try await fixture.deploy().decoded([DeployResultDocument].self)
            #expect(mended.map(\.message) == ["updating iris (AsyncAPI)"])
        }
    }

    @Test("O1: what goes wrong with one API does not stop the rest")
    func storeFault() async throws {
        try await Fixture.with { fixture in
            fixture.store.faults.withLock { $0.deploying = ["iris"] }
            let reply = try await fixture.deploy(Fixture.yaml + "\n" + Fixture.yaml.replacing("iris", with: "lily"))
            let results = try reply.decoded([DeployResultDocument].self)
            #expect(results.map(\.error) == ["the disk is full: make room, then try again", ""])
            #expect(fixture.orchestrator.applied.map(\.api) == ["lily"])
        }
    }

    @Test("U4: an API that was stored but never declared is declared by the next deploy of the same file")
    func halfDone() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            fixture.orchestrator.setStatus(nil, of: "iris")
            _ = try await fixture.deploy()
            #expect(fixture.orchestrator.applied.count == 2)
        }
    }

    @Test("Y3: every problem of a file is reported at once, with its place, and nothing is deployed")
    func problems() async throws {
        try await Fixture.with { fixture in
            let yaml = """
                - name: iris
                  kind: AsyncAPI
                  pod:
                    prot: 80
                    containers:
                      - name: api
                        image: iris:1
                        compute: {cpu: 1m}
                - name: Lily
                  kind: AsyncAPI
                """
            let reply = try await fixture.deploy(yaml, "?configFileName=my.yaml")
            #expect(reply.status == 400)
            let error = try reply.error
            #expect(error.kind == "configuration_invalid")
            let problems = try #require(error.problems)
            #expect(problems.count >= 3)
            #expect(error.message.split(separator: "\n").count == problems.count)
            #expect(problems[0].line == 4 && problems[0].file == "my.yaml" && problems[0].api == "iris")
            #expect(problems.allSatisfy { error.message.contains($0.text) })
            #expect(try await fixture.store.deployedAPIs().isEmpty)
        }
    }

    @Test("O1: what the engine cannot do and endpoints of other APIs are refused together")
    func conflicts() async throws {
        try await Fixture.with { fixture in
            try await fixture.deploy()
            fixture.orchestrator.state.withLock {
                $0.problems["lily"] = ["pod.containers[0].compute.gpu: no GPU here", "pod.containers[0].volumes: no"]
            }
            let lily = Fixture.yaml.replacing("iris", with: "lily") + "\n  networking:\n    endpoint: iris/"
            let error = try await fixture.deploy(lily).error
            #expect(error.problems?.count == 3)
            #expect(error.problems?.first?.kind == "duplicate_endpoint")
            #expect(error.message.contains("iris, which is deployed"))
            #expect(error.message.contains("no GPU here"))
            #expect(fixture.orchestrator.applied.map(\.api) == ["iris"])
        }
    }

    @Test("Y2: a relative volume source needs the folder it is relative to")
    func volumes() async throws {
        try await withTemporaryDirectory { folder in
            let base = folder.resolvingSymlinksInPath().path
            try FileManager.default.createDirectory(atPath: "\(base)/models", withIntermediateDirectories: false)
            try await Fixture.with { fixture in
                let yaml = Fixture.yaml + "\n        volumes: [\"models:/models:ro\"]"
                #expect(try await fixture.deploy(yaml).status == 400)
                let reply = try await fixture.deploy(yaml, "?configDir=\(base)")
                #expect(reply.status == 200, "\(reply.body)")
                let spec = try reply.decoded([DeployResultDocument].self)[0].api?.spec
                #expect(spec?.pod?.containers[0].volumes == ["\(base)/models:/models:ro"])
            }
        }
    }

    @Test(
        "A4: bad input is refused with the reason",
        arguments: [
            ("?force=yes", Fixture.yaml, nil, 400, "force must be true or false"),
            ("?force=true&force=true", Fixture.yaml, nil, 400, "is given twice"),
            ("?configDir=app", Fixture.yaml, nil, 400, "configDir"),
            ("?configDir=", Fixture.yaml, nil, 400, "configDir"),
            ("?configFileName=a%0Ab", Fixture.yaml, nil, 400, "configFileName"),
            ("", "", nil, 400, "empty"),
            ("", Fixture.yaml, "multipart/form-data", 400, "boundary"),
            ("", Fixture.yaml, "multipart/form-data; boundary=x", 400, "boundary"),
            (
                "", "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n--x--",
                "multipart/form-data; boundary=x", 400, "exactly one part named config"
            ),
            ("", String(repeating: "#", count: 1 << 20) + "#", nil, 413, "1048576"),
            (
                "",
                "--x\r\nContent-Disposition: form-data; name=\"config\"\r\n\r\n\(String(repeating: "#", count: 1 << 20))#\r\n--x--",
                "multipart/form-data; boundary=x", 413, "1048576"
            ),
        ] as [(String, String, String?, Int, String)])
    func badInput(query: String, body: String, type: String?, status: Int, part: String) async throws {
        try await Fixture.with { fixture in
            var headers = HTTPHeaders()
            if let type { headers.add(name: "Content-Type", value: type) }
            let reply = try await fixture.call(.POST, "/deploy\(query)", body: body, headers: headers)
            #expect(reply.status == status)
            #expect(try reply.error.message.contains(part), "\(reply.body)")
            #expect(fixture.orchestrator.applied.isEmpty)
        }
    }

    @Test("A4: a file that breaks off is not deployed, even where its beginning is a whole file")
    func brokenOff() async throws {
        try await Fixture.with { fixture in
            struct Broken: Error {}
            let (pieces, source) = AsyncThrowingStream.makeStream(of: ByteBuffer.self)
            var request = fixture.request(.POST, "/deploy")
            request.body = .stream(pieces, length: .unknown)
            source.yield(ByteBuffer(string: Fixture.yaml))
            source.finish(throwing: Broken())
            await #expect(throws: Broken.self) {
                try await HTTPClient.shared.execute(request, timeout: .seconds(30))
            }
            try await fixture.deploy(Fixture.yaml.replacing("iris", with: "lily"))
            #expect(fixture.orchestrator.applied.map(\.api) == ["lily"])
        }
    }

    @Test("A1: deploys at the same moment happen one after the other")
    func together() async throws {
        try await Fixture.with { fixture in
            try await withThrowingTaskGroup(of: String.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        let yaml = Fixture.yaml.replacing("iris:1", with: "iris:\(number % 2)")
                        return try await fixture.deploy(yaml, "?force=true").decoded([DeployResultDocument].self)[0]
                            .message
                    }
                }
                var messages: [String] = []
                for try await message in group { messages.append(message) }
                #expect(messages.count { $0 == "creating iris (AsyncAPI)" } == 1)
            }
            let present = try await fixture.store.deployedAPIs()
            #expect(fixture.orchestrator.applied.last?.id == present[0].id)
        }
    }
}
