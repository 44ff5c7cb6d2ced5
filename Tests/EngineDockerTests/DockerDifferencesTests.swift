import Core
import Foundation
import NIOHTTP1
import Support
import Synchronization
import TestSupport
import Testing

@testable import EngineDocker

/// What Podman does not show, from a stub (reference: containers.md §3).
@Suite("Differences of Docker, from a stub daemon", .timeLimit(.minutes(5)))
struct DockerDifferencesTests {
    /// An engine on a stub.
    static func withEngine<Result>(
        version: String = StubDaemon.docker, clock: any PlatformClock = SystemClock(),
        _ answer: @escaping @Sendable (StubDaemon.Request) -> StubDaemon.Answer?,
        _ body: (DockerEngine, StubDaemon) async throws -> Result
    ) async throws -> Result {
        try await StubDaemon.with(version: version, answer) { (daemon, socket, folder) async throws in
            let engine = try await DockerEngine.connect(
                try configuration(socket, folder), clock: clock, logger: EngineHarness.logger)
            let result = try await body(engine, daemon)
            await engine.shutDown()
            return result
        }
    }

    /// The key of every engine on a stub, so that stubs can prove what the platform made.
    static let ownership = Ownership(key: [UInt8](repeating: 7, count: 32))

    /// The labels of a container of the platform, as JSON.
    static func labels(_ name: String, _ labels: [String: String]) -> String {
        let all = ownership.labels(labels.merging(["cortex.installation": "abc"]) { $1 }, name: "cortex-abc-" + name)
        return "{" + all.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\($0.value)\"" }.joined(separator: ",") + "}"
    }

    /// A container of a pod as a list shows it; without `member`: the owner of the namespace.
    static func listed(
        _ id: String, pod: String, member: String? = nil, state: String = "running", _ more: [String: String] = [:]
    ) -> String {
        let name = member.map { "\(pod).\($0)" } ?? pod
        var labels = ["cortex.role": member == nil ? "init" : "member", "cortex.pod": pod]
        labels["cortex.container"] = member
        labels.merge(more) { $1 }
        return
            #"{"Id":"\#(id)","Names":["/cortex-abc-\#(name)"],"State":"\#(state)","Labels":\#(Self.labels(name, labels))}"#
    }

    /// The same as an inspection shows it.
    static func inspected(
        _ id: String, pod: String, member: String? = nil, state: String = #""Status":"running","Running":true"#,
        _ more: [String: String] = [:]
    ) -> String {
        let name = member.map { "\(pod).\($0)" } ?? pod
        var labels = ["cortex.role": member == nil ? "init" : "member", "cortex.pod": pod]
        labels["cortex.container"] = member
        labels.merge(more) { $1 }
        return
            #"{"Id":"\#(id)","Name":"/cortex-abc-\#(name)","State":{\#(state)},"Config":{"Labels":\#(Self.labels(name, labels))}}"#
    }

    /// The platform's network.
    static var network: String {
        let labels = ownership.labels(
            ["cortex.installation": "abc", "cortex.role": "network"], name: "cortex-abc.pods")
        let text = labels.map { "\"\($0.key)\":\"\($0.value)\"" }.joined(separator: ",")
        return #"{"Name":"cortex-abc.pods","Labels":{\#(text)},"IPAM":{"Config":[{"Subnet":"10.9.0.0/20"}]}}"#
    }

    static func configuration(_ socket: String, _ folder: URL) throws -> DockerEngineConfiguration {
        try FileManager.default.createDirectory(
            atPath: folder.path + "/data", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let key = folder.path + "/data/engine.key"
        try (String(repeating: "07", count: 32) + "\n").write(toFile: key, atomically: false, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: key)
        return DockerEngineConfiguration(
            socketPath: socket, installationID: "abc", dataDirectory: folder.path + "/data",
            podInitExecutable: "/bin/true", gatewaySocket: folder.path + "/g/g.sock",
            operatorSocket: folder.path + "/o/o.sock", dockerConfigDirectory: folder.path)
    }

    static func plan(_ image: String = "registry.example/app:1") -> PodPlan {
        PodPlan(
            id: "hello-1", owner: .api(.init(name: "hello", apiID: "a", podID: "p", deploymentID: "d")),
            createdAt: Timestamp(seconds: 1),
            containers: [ContainerPlan(name: "api", image: image)], clientConfiguration: "")
    }

    @Test("U5: every call carries a host and the version of the API; the engine is told by /version")
    func basics() async throws {
        try await Self.withEngine { _ in
            nil
        } _: { (engine, daemon) async throws in
            #expect(engine.name == "docker")
            #expect(try await engine.list() == [])
            #expect(daemon.requests.allSatisfy { $0.headers["host"] == ["docker"] })
            #expect(daemon.requests.map(\.path) == ["/version", "/v1.41/containers/json"])
        }
        try await Self.withEngine(version: StubDaemon.podman) { _ in
            nil
        } _: { (engine, _) async throws in
            #expect(engine.name == "podman")
        }
    }

    @Test("U5: a Docker that has dropped 1.41 is spoken to in the oldest version it takes")
    func newerDocker() async throws {
        let version = #"{"Components":null,"ApiVersion":"1.52","MinAPIVersion":"1.44"}"#
        try await Self.withEngine(version: version) { _ in
            nil
        } _: { (engine, daemon) async throws in
            _ = try await engine.list()
            #expect(daemon.requests.last?.path == "/v1.44/containers/json")
        }
    }

    @Test("U5: an engine that is too old, or no engine at all, is told in one line")
    func noEngine() async throws {
        let old = #"{"ApiVersion":"1.39"}"#
        let tooOld = await #expect(throws: PlatformError.self) {
            try await Self.withEngine(version: old) { _ in
                nil
            } _: { (_, _) async throws in
            }
        }
        #expect(tooOld?.code == .notSupported)
        let garbage = await #expect(throws: PlatformError.self) {
            try await Self.withEngine(version: "<html>") { _ in
                nil
            } _: { (_, _) async throws in
            }
        }
        #expect(garbage?.code == .engineUnavailable)
        try await withTemporaryDirectory { folder in
            let error = await #expect(throws: PlatformError.self) {
                _ = try await DockerEngine.connect(
                    try Self.configuration(folder.path + "/none.sock", folder), clock: SystemClock(),
                    logger: EngineHarness.logger)
            }
            #expect(error?.code == .engineUnavailable)
            #expect(error?.message.contains(folder.path) == false)
            #expect(await !DockerEngine.answers(socketPath: folder.path + "/none.sock", clock: SystemClock()))
        }
    }

    @Test(
        "C12: a pull that fails is told with the registry's reason and advice, whether by status or inside the stream",
        arguments: [
            (500, #"{"message":"unauthorized: authentication required"}"#, "docker login registry.example"),
            (404, #"{"message":"manifest for app:1 not found: manifest unknown"}"#, "Check its name and tag"),
            (500, #"{"message":"Get \"https://registry.example/v2/\": dial tcp: no such host"}"#, "no such host"),
            (500, "plain text", "plain text"), (500, "", "no reason given"),
            (
                200,
                "{\"status\":\"Pulling\"}\r\n{\"errorDetail\":{\"message\":\"toomanyrequests\"},\"error\":\"toomanyrequests\"}\r\n",
                "toomanyrequests"
            ),
            (200, "{\"errorDetail\":{\"message\":\"denied\"}}", "docker login"),
            (200, "{\"status\":\"Done\"}\nnot json\n", "does not have it"),
        ])
    func pullFailures(status: Int, body: String, expected: String) async throws {
        try await Self.withEngine { request in
            request.path.hasSuffix("/images/create") ? .json(body, status: status) : nil
        } _: { (engine, daemon) async throws in
            let error = await #expect(throws: PlatformError.self) { try await engine.prepare(Self.plan()) { _ in } }
            #expect(error?.code == .imageUnavailable)
            #expect(error?.message.contains("registry.example/app:1") == true)
            #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
            let pull = try #require(daemon.requests("POST", "/images/create").first)
            #expect(pull.headers["x-registry-auth"] == ["e30="])
            #expect(pull.query == "fromImage=registry.example%2Fapp&tag=1")
        }
    }

    @Test("C12: a pull in odd pieces ends well, its progress is told, the file's credentials go along")
    func pull() async throws {
        let isPulled = Mutex(false)
        let lines = Mutex<[String]>([])
        let clock = ManualClock()
        try await StubDaemon.with { request in
            if request.path.contains("/images/create") {
                isPulled.withLock { $0 = true }
                let text = Array(
                    "{\"status\":\"Pulling fs layer\",\"id\":\"a\"}\n{\"status\":\"Download complete\",\"id\":\"a\"}\n"
                        .utf8)
                return .chunks(text.map { [$0] })
            }
            return request.path.contains("/images/") && isPulled.withLock { $0 } ? .json("{}") : nil
        } _: { (daemon, socket, folder) async throws in
            let auth = Data("me:secret".utf8).base64EncodedString()
            try #"{"auths":{"registry.example":{"auth":"\#(auth)"}}}"#.write(
                toFile: folder.path + "/config.json", atomically: true, encoding: .utf8)
            let engine = try await DockerEngine.connect(
                try Self.configuration(socket, folder), clock: clock, logger: EngineHarness.logger)
            try await engine.prepare(Self.plan()) { line in lines.withLock { $0.append(line) } }
            #expect(lines.withLock { $0 } == ["Pulling registry.example/app:1", "Pulled registry.example/app:1"])
            let header = try #require(daemon.requests("POST", "/images/create").first?.headers["x-registry-auth"].first)
            let data = Data(base64Encoded: header.replacing("-", with: "+").replacing("_", with: "/"))
            #expect(String(decoding: data ?? Data(), as: UTF8.self).contains(#""password":"secret""#))
            try await engine.prepare(Self.plan()) { _ in Issue.record("it is there already") }
            await engine.shutDown()
        }
    }

    @Test("C12: names that only this machine can have are never asked for elsewhere")
    func localNames() async throws {
        try await Self.withEngine { _ in
            nil
        } _: { (engine, daemon) async throws in
            let error = await #expect(throws: PlatformError.self) {
                try await engine.prepare(Self.plan("localhost/app")) { _ in }
            }
            #expect(error?.code == .imageUnavailable)
            let bad = await #expect(throws: PlatformError.self) { try await engine.prepare(Self.plan("A B")) { _ in } }
            #expect(bad?.code == .imageUnavailable)
            #expect(daemon.requests("POST", "/").isEmpty)
        }
    }

    @Test(
        "C14: a name that is taken is only taken over from our own; Docker says 409",
        arguments: [(409, true), (409, false), (500, true)])
    func nameTaken(status: Int, isOurs: Bool) async throws {
        try await Self.withEngine { request in
            if request.path.hasSuffix("/containers/create") { return .json(#"{"message":"Conflict"}"#, status: status) }
            if request.path.hasSuffix("/containers/name/json") {
                return .json(#"{"Id":"theone","Config":{"Labels":null}}"#)
            }
            return nil
        } _: { (engine, _) async throws in
            if isOurs {
                #expect(try await engine.client.createContainer("name", body: [:]) { _ in true } == "theone")
            } else {
                await #expect(throws: DockerError.self) { try await engine.client.createContainer("name", body: [:]) }
            }
        }
    }

    @Test("C13: a removal that is at work already (409) is waited for; gone is gone")
    func removal() async throws {
        let asked = Mutex(0)
        try await Self.withEngine { request in
            if request.method == "DELETE" { return .json(#"{"message":"removal already in progress"}"#, status: 409) }
            guard request.path.hasSuffix("/containers/x/json") else { return nil }
            return asked.withLock {
                $0 += 1; return $0
            } < 3 ? .json(#"{"Id":"x"}"#) : .status(404)
        } _: { (engine, daemon) async throws in
            try await engine.client.removeContainer("x")
            #expect(daemon.requests("DELETE", "/containers/x").allSatisfy { $0.query == "force=1&v=1" })
            #expect(daemon.requests("DELETE", "/containers/x").count == 3)
        }
        try await Self.withEngine { _ in
            nil
        } _: { (engine, _) async throws in
            try await engine.client.removeContainer("unknown")
            try await engine.client.stopContainer("unknown", grace: .milliseconds(1))
        }
    }

    @Test(
        "U4: started already (304) and stopped already (304) are no errors; the grace goes in whole seconds, rounded up"
    )
    func notModified() async throws {
        try await Self.withEngine { request in
            request.method == "POST" ? .status(304) : nil
        } _: { (engine, daemon) async throws in
            try await engine.client.startContainer("x")
            try await engine.client.stopContainer("x", grace: .milliseconds(1200))
            #expect(daemon.requests.last?.query == "t=2")
        }
    }

    @Test("U4: what an engine leaves out or sends as null is taken for nothing")
    func lenient() async throws {
        let list =
            #"[{"Id":"1","Labels":null,"State":null},{"Id":"2"},{"Id":"3","Labels":{"cortex.role":"other","cortex.pod":"x"}},"#
            + [
                Self.listed("4", pod: "hello-1", state: "Running", ["cortex.api": "hello", "cortex.created-at": "x"])
                    .replacing("Running", with: "running"),
                Self.listed("6", pod: "hello-1", member: "api", state: "exited"),
                Self.listed("7", pod: "hello-1", member: "gone", state: "dead"),
                Self.listed("8", pod: "hello-2", member: "api", state: "paused"),
            ].joined(separator: ",") + "]"
        try await Self.withEngine { request in
            if request.path.hasSuffix("/containers/json") { return .json(list) }
            if request.path.hasSuffix("/containers/6/json") {
                return .json(#"{"Id":"6","State":null,"HostConfig":{}}"#)
            }
            return nil
        } _: { (engine, _) async throws in
            let pods = try await engine.list()
            #expect(pods.map(\.id) == ["hello-1", "hello-2"])
            #expect(pods[0].isAlive && !pods[1].isAlive)
            #expect(pods[0].createdAt == Timestamp(seconds: 0))
            let states = Dictionary(uniqueKeysWithValues: pods[0].containers.map { ($0.name, $0.state) })
            #expect(states == ["api": .exited(ContainerExit(code: 0)), "gone": .exited(ContainerExit(code: 137))])
            #expect(pods[1].containers.map(\.state) == [.running])
        }
    }

    @Test(
        "C12: what ran out of memory: Docker tells, but only of a main process; Podman is guessed",
        arguments: [
            (StubDaemon.docker, 137, true, 0, true), (StubDaemon.docker, 1, true, 1 << 26, false),
            (StubDaemon.docker, 137, false, 1 << 26, false), (StubDaemon.podman, 137, false, 1 << 26, true),
            (StubDaemon.podman, 137, false, 0, false), (StubDaemon.podman, 139, false, 1 << 26, false),
        ])
    func outOfMemory(version: String, code: Int, told: Bool, limit: Int64, expected: Bool) async throws {
        try await Self.withEngine(version: version) { _ in
            nil
        } _: { (engine, _) async throws in
            let text =
                #"{"Id":"x","State":{"ExitCode":\#(code),"OOMKilled":\#(told)},"HostConfig":{"Memory":\#(limit)}}"#
            let details = try JSONDecoder().decode(DockerClient.ContainerDetails.self, from: Data(text.utf8))
            #expect(engine.exit(of: details) == ContainerExit(code: code, outOfMemory: expected))
            engine.state.noteStopped("x")
            #expect(engine.exit(of: details).outOfMemory == (told && code == 137))
        }
    }

    @Test(
        "U5: an answer that is no JSON, or breaks off, is the engine's fault and named so",
        arguments: ["{", "[{\"Id\":\"1\"}", "<html>", ""])
    func garbage(text: String) async throws {
        try await Self.withEngine {
            $0.path.hasSuffix("/containers/json") ? .json(text) : nil
        } _: { (engine, _) async throws in
            let error = await #expect(throws: PlatformError.self) { _ = try await engine.list() }
            #expect(error?.code == .engineUnavailable)
        }
    }

    @Test("U5: an answer without end is cut off in size; one that does not come, in time")
    func bounds() async throws {
        let chunk = [UInt8](repeating: 32, count: 4 << 20)
        try await Self.withEngine {
            $0.path.hasSuffix("/containers/x/json") ? .chunks(Array(repeating: chunk, count: 9)) : nil
        } _: { (engine, _) async throws in
            let error = await #expect(throws: PlatformError.self) { _ = try await engine.client.container("x") }
            #expect(error?.code == .engineUnavailable)
        }
        let clock = ManualClock()
        try await StubDaemon.with {
            $0.path.hasSuffix("/containers/json") ? .chunks([], staysOpen: true) : nil
        } _: { (daemon, socket, folder) async throws in
            let client = DockerClient(socketPath: socket, clock: clock)
            let call = Task { try await client.containers(labels: []) }
            #expect(try await eventually { !daemon.requests.isEmpty && clock.sleepers == 1 })
            clock.advance(by: .seconds(61))
            let error = await #expect(throws: PlatformError.self) { _ = try await call.value }
            #expect(error?.code == .timedOut)
            let cancelled = Task { try await client.containers(labels: []) }
            #expect(try await eventually { clock.sleepers == 1 })
            cancelled.cancel()
            await #expect(throws: CancellationError.self) { _ = try await cancelled.value }
            await client.shutDown()
        }
    }

    @Test("C12: a command that is not there fails the start with Docker's words (400) and nothing is left")
    func startFailure() async throws {
        let removed = Mutex<[String]>([])
        let made = Mutex<Set<String>>([])
        try await Self.withEngine { request in
            let path = request.path
            if request.method == "DELETE" {
                if path.contains("/containers/") { removed.withLock { $0.append(path) } }
                return .status(204)
            }
            if path.contains("/images/") { return .json(#"{"Id":"sha256:1"}"#) }
            if path.hasSuffix("/networks/cortex-abc.pods") { return .json(Self.network) }
            if path.hasSuffix("/containers/create") {
                let id = request.query.contains("hello-1.api") ? "member" : "owner"
                made.withLock { _ = $0.insert(id) }
                return .json(#"{"Id":"\#(id)","Warnings":null}"#, status: 201)
            }
            if path.hasSuffix("/containers/member/start") {
                return .json(
                    #"{"message":"failed to create shim: exec: \"nope\": executable file not found in $PATH: unknown"}"#,
                    status: 400)
            }
            let isMade: (String) -> Bool = { id in made.withLock { $0.contains(id) } }
            if path.hasSuffix("/containers/cortex-abc-hello-1/json"), isMade("owner") {
                return .json(Self.inspected("owner", pod: "hello-1", ["cortex.containers": "api"]))
            }
            if path.hasSuffix("/containers/cortex-abc-hello-1.api/json"), isMade("member") {
                return .json(Self.inspected("member", pod: "hello-1", member: "api", state: #""Status":"created""#))
            }
            return request.method == "POST" ? .status(204) : nil
        } _: { (engine, daemon) async throws in
            let error = await #expect(throws: PlatformError.self) { try await engine.start(Self.plan()) }
            #expect(error?.code == .containerFailed)
            #expect(error?.message.contains("nope") == true && error?.message.contains("api") == true)
            #expect(removed.withLock { $0 } == ["/v1.41/containers/member", "/v1.41/containers/owner"])
            #expect(!FileManager.default.fileExists(atPath: engine.configuration.dataDirectory + "/pods/hello-1"))
            // A removal needs no list, which the description of another container may spoil.
            #expect(daemon.requests("GET", "/containers/json").isEmpty)
        }
    }

    @Test("C12: what Docker refuses beside another's namespace is not sent to it; limits are sent whole")
    func bodies() async throws {
        try await Self.withEngine { _ in
            nil
        } _: { (engine, _) async throws in
            var container = ContainerPlan(name: "api", image: "a:1", command: ["run"], args: ["x"])
            container.compute = Compute(cpu: Quantity("500m"), mem: Quantity("64Mi"), shm: Quantity("1Mi"))
            let platform = EngineState.Platform(
                podInitImage: "i", user: "7:8", filter: "{}", subnet: try #require(IPv4Subnet("10.9.0.0/20")))
            let folder = try #require(PodFolder(pods: "/pods", id: "p"))
            let body = engine.body(platform).member(
                container, of: Self.plan(), image: "a:1", folder: folder, podInit: "owner")
            #expect(body["Hostname"] == nil && body["User"] == nil && body["WorkingDir"] == nil)
            #expect(body["Entrypoint"] == ["run"] && body["Cmd"] == ["x"])
            let host = try #require(body["HostConfig"])
            #expect(host["NetworkMode"] == "container:owner")
            #expect(host["CapDrop"] == ["ALL"] && host["CapAdd"] == nil && host["Privileged"] == nil)
            #expect(host["OomScoreAdj"] == 500)
            #expect(
                host["SecurityOpt"] == ["no-new-privileges", "seccomp={}"] && host["RestartPolicy"] == ["Name": "no"])
            #expect(host["Memory"] == .integer(64 << 20) && host["MemorySwap"] == host["Memory"])
            #expect(host["CpuShares"] == 512 && host["ShmSize"] == .integer(1 << 20) && host["NanoCpus"] == nil)
            #expect(
                host["Init"] == nil && host["DeviceRequests"] == nil && host["Sysctls"] == nil && host["Binds"] == nil)
            let bare = engine.body(platform).member(
                ContainerPlan(name: "b", image: "b"), of: Self.plan(), image: "b", folder: folder, podInit: "o")
            #expect(bare["Entrypoint"] == nil && bare["Cmd"] == nil && bare["HostConfig"]?["Memory"] == nil)
            let owner = engine.body(platform).podInit(
                Self.plan(), folder: folder, allowed: ["10.1.0.0/16"], blocked: ["10.0.0.0/8"])
            guard case .array(let words)? = owner["Cmd"] else { return #expect(Bool(false)) }
            let command = words.map(\.text).joined(separator: " ")
            #expect(command.contains("--user 7:8") && command.hasSuffix("--allow 10.1.0.0/16 --block 10.0.0.0/8"))
            guard case .array(let mounts)? = owner["HostConfig"]?["Mounts"] else { return #expect(Bool(false)) }
            #expect(mounts.map { $0["Source"]?.text.hasSuffix("/g") } == [false, true, false])
            #expect(mounts.map { $0["ReadOnly"] } == [false, true, true])
            #expect(owner["HostConfig"]?["ReadonlyRootfs"] == true)
        }
    }

    @Test("C12: what the machine lacks is refused, every problem with its field")
    func problems() async throws {
        try await Self.withEngine { _ in
            nil
        } _: { (engine, _) async throws in
            var first = ContainerSpecification(
                name: "a", compute: Compute(cpu: Quantity("3"), mem: Quantity("1Mi"), disk: Quantity("1Gi"), gpu: 1))
            first.volumes = [.init(source: "/not/there", target: "/x"), .init(source: "/", target: "/y")]
            var second = ContainerSpecification(
                name: "b", image: "Bad Image", compute: Compute(cpu: Quantity("2"), mem: Quantity("9G")))
            let specification = {
                APISpecification.async(
                    name: "h", networking: .init(endpoint: "/h"), pod: .init(containers: [first, second]))
            }
            let found = await engine.problems(with: specification())
            for part in [
                "containers[0].image: is required", "containers[0].volumes[0]: /not/there", "containers[0].compute.gpu",
                "containers[0].compute.disk: the docker engine cannot limit it",
                "containers[0].compute.mem", "containers[1].image", "5000m of cpu", "of mem, this machine has",
            ] {
                #expect(found.contains { $0.contains(part) }, "\(part)")
            }
            #expect(found.count == 8)
            first = ContainerSpecification(name: "a", image: "a")
            second = ContainerSpecification(name: "b", image: "b:1")
            #expect(await engine.problems(with: specification()) == [])
        }
    }

    @Test(
        "C14: a command that can't be run is told apart from one that fails",
        arguments: [
            (127, "OCI runtime exec failed: exec: \"x\": not found", true), (127, "sh: x: not found", false),
            (3, "OCI runtime", false),
        ])
    func exec(code: Int, output: String, isError: Bool) async throws {
        let asked = Mutex(0)
        try await Self.withEngine { request in
            if request.path.hasSuffix("hello-1.api/json") { return .json(#"{"Id":"c","State":{"Running":true}}"#) }
            if request.path.hasSuffix("/containers/c/exec") { return .json(#"{"Id":"e"}"#, status: 201) }
            if request.path.hasSuffix("/exec/e/start") { return .chunks([frame(output)]) }
            // The first answers still say that it runs.
            guard request.path.hasSuffix("/exec/e/json") else { return nil }
            return asked.withLock {
                $0 += 1; return $0
            } < 3
                ? .json(#"{"Running":true,"ExitCode":null}"#) : .json(#"{"Running":false,"ExitCode":\#(code)}"#)
        } _: { (engine, _) async throws in
            let call = { try await engine.exec(["x"], container: "api", pod: "hello-1", timeout: .seconds(30)) }
            if isError {
                let error = await #expect(throws: PlatformError.self) { _ = try await call() }
                #expect(error?.code == .containerFailed)
            } else {
                #expect(try await call() == ExecResult(exitCode: code, output: output))
            }
            let stopped = await #expect(throws: PlatformError.self) {
                _ = try await engine.exec(["x"], container: "other", pod: "hello-1", timeout: .seconds(30))
            }
            #expect(stopped?.code == .containerFailed)
        }
    }

    @Test(
        "C14: before the first events, and after they broke off, every pod is hinted at, since anything may have happened"
    )
    func hints() async throws {
        let connections = Mutex(0)
        try await Self.withEngine { request in
            if request.path.hasSuffix("/containers/json") {
                return .json(#"[{"Id":"1","Labels":{"cortex.role":"init","cortex.pod":"listed"}}]"#)
            }
            guard request.path.hasSuffix("/events") else { return nil }
            let number = connections.withLock {
                $0 += 1; return $0
            }
            if number == 2 { return .json(#"{"message":"starting"}"#, status: 503) }
            let text = #"{"Action":"die","Actor":{"Attributes":{"cortex.pod":"event-\#(number)"}}}"# + "\n"
            return .chunks([Array(text.utf8)], staysOpen: number == 3)
        } _: { (engine, daemon) async throws in
            var seen: [String] = []
            for await hint in engine.hints() {
                seen.append(hint)
                if hint == "event-3" { break }
            }
            #expect(seen == ["listed", "event-1", "listed", "event-3"])
            #expect(daemon.requests("GET", "/events").allSatisfy { $0.query.contains("cortex.installation%3Dabc") })
        }
    }
}
