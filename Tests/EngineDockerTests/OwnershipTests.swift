import Core
import Foundation
import TestSupport
import Testing

@testable import EngineDocker

@Suite("Proofs of what the platform made", .timeLimit(.minutes(1)))
struct OwnershipTests {
    private let ownership = Ownership(key: [UInt8](repeating: 1, count: 32))

    @Test("N10: a proof holds for its name and its labels alone, and only with the key")
    func proofs() {
        var labels = ownership.labels([Labels.pod: "hello-1", Labels.role: "init"], name: "cortex-a-hello-1")
        #expect(ownership.holds(labels, name: "cortex-a-hello-1"))
        #expect(!ownership.holds(labels, name: "cortex-a-hello-2"))
        #expect(!Ownership(key: [UInt8](repeating: 2, count: 32)).holds(labels, name: "cortex-a-hello-1"))
        // What the platform did not set itself is not the image's to set.
        #expect(labels[Labels.container] == "")
        labels["other"] = "of the image"
        #expect(ownership.holds(labels, name: "cortex-a-hello-1"))
        for label in Labels.all {
            var changed = labels
            changed[label] = "../../etc"
            #expect(!ownership.holds(changed, name: "cortex-a-hello-1"), "\(label)")
        }
        #expect(!ownership.holds([:], name: "") && !ownership.holds([Labels.proof: ""], name: ""))
    }

    @Test("J6: the proof of a worker's pod covers its worker; proofs of pods without one are as they were")
    func worker() {
        let owner = PodOwner.worker(
            .init(
                set: "t-j", jobID: "j", version: .init(name: "n", apiID: "a", podID: "p", deploymentID: "d"), index: 3,
                attempt: 2))
        let plan = PodPlan(
            id: "t-j-3-x", owner: owner, createdAt: Timestamp(seconds: 1), containers: [], clientConfiguration: "")
        var labels = ownership.labels(Labels.common(plan, installation: "i"), name: "n")
        #expect(Labels.owner(in: labels) == owner && ownership.holds(labels, name: "n"))
        labels[Labels.worker] = "t-j j 4 2"
        #expect(!ownership.holds(labels, name: "n"))
        // Made before there were workers.
        var older = ownership.labels([Labels.pod: "hello-1", Labels.role: "init"], name: "cortex-a-hello-1")
        #expect(older[Labels.worker] == "")
        older[Labels.worker] = nil
        #expect(ownership.holds(older, name: "cortex-a-hello-1"))
        #expect(older[Labels.proof] == "b2456da0089b73b5f7afa85453bd287189a52be67f81ae6ef3098e37448d7fca")
    }

    @Test("N10: parts of a proof do not run into each other")
    func parts() {
        let one = ownership.labels([Labels.installation: "a", Labels.role: "b"], name: "n")
        let other = ownership.labels([Labels.installation: "ab"], name: "n")
        #expect(one[Labels.proof] != other[Labels.proof])
    }

    @Test("N9: the key is made once, for the user alone; a file that others may use, a link or damage is refused")
    func keyFile() async throws {
        try await withTemporaryDirectory { folder in
            let data = folder.path + "/data"
            let path = data + "/engine.key"
            let labels = try Ownership.open(dataDirectory: data).labels([:], name: "n")
            #expect(try Ownership.open(dataDirectory: data).holds(labels, name: "n"))
            let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
            #expect(mode == 0o600)
            #expect(try FileManager.default.contentsOfDirectory(atPath: data) == ["engine.key"])
            chmod(path, 0o640)
            #expect(throws: PlatformError.self) { try Ownership.open(dataDirectory: data) }
            chmod(path, 0o600)
            try FileManager.default.moveItem(atPath: path, toPath: folder.path + "/elsewhere")
            try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: folder.path + "/elsewhere")
            #expect(throws: PlatformError.self) { try Ownership.open(dataDirectory: data) }
            try FileManager.default.removeItem(atPath: path)
            try Data("short".utf8).write(to: URL(fileURLWithPath: path))
            chmod(path, 0o600)
            #expect(throws: PlatformError.self) { try Ownership.open(dataDirectory: data) }
        }
    }

    @Test(
        "N10: only what has the form of a pod's id is joined to a path",
        arguments: [
            ("hello-1", true), ("A9", true), ("", false), (".", false), ("..", false), ("../x", false), ("a/b", false),
            ("a.b", false), ("-a", false), ("a b", false), ("a\u{0}", false), ("ä", false), (".trash", false),
            (String(repeating: "a", count: 201), false),
        ])
    func podIDs(id: String, isGood: Bool) {
        #expect((PodFolder(pods: "/pods", id: id) != nil) == isGood)
    }

    @Test("N10: a pod of an earlier version is taken over only with its folder, and name and labels that agree")
    func earlierVersion() async throws {
        func container(_ id: String, name: String, _ labels: String) -> String {
            #"{"Id":"\#(id)","Names":["/\#(name)"],"State":"running","Labels":{"cortex.installation":"abc",\#(labels)}}"#
        }
        let list = [
            container("1", name: "cortex-abc-hello-old", #""cortex.role":"init","cortex.pod":"hello-old""#),
            container("2", name: "claims", #""cortex.role":"init","cortex.pod":"hello-old""#),
            container("3", name: "cortex-abc-hello-none", #""cortex.role":"init","cortex.pod":"hello-none""#),
            container("4", name: "cortex-abc-hello-new", #""cortex.role":"init","cortex.pod":"hello-new""#),
        ].joined(separator: ",")
        try await DockerDifferencesTests.withEngine {
            $0.path.hasSuffix("/containers/json") ? .json("[\(list)]") : nil
        } _: { (engine, _) async throws in
            let pods = engine.configuration.dataDirectory + "/pods/"
            for pod in ["hello-old", "hello-new"] {
                try FileManager.default.createDirectory(
                    atPath: pods + pod + "/client", withIntermediateDirectories: true)
                try pod.write(toFile: pods + pod + "/client/client-id.txt", atomically: false, encoding: .utf8)
            }
            // This version keeps a record and makes proofs: here one is missing.
            try "api\n".write(toFile: pods + "hello-new/record", atomically: false, encoding: .utf8)
            #expect(try await engine.list().map(\.id) == ["hello-old"])
        }
    }

    @Test(
        "N10: one container with a large description hides no other, and the pods of the platform are found by their folders"
    )
    func largeObject() async throws {
        let list =
            "[" + DockerDifferencesTests.listed("1", pod: "hello-1") + ","
            + #"{"Id":"2","Labels":{"cortex.installation":"abc","x":""# + String(repeating: "x", count: 3_600_000)
            + #""}},"# + DockerDifferencesTests.listed("3", pod: "hello-3") + "]"
        try await DockerDifferencesTests.withEngine { request in
            if request.path.hasSuffix("/containers/json") { return .json(list) }
            if request.path.hasSuffix("/cortex-abc-hello-2/json") {
                return .json(DockerDifferencesTests.inspected("2", pod: "hello-2"))
            }
            return nil
        } _: { (engine, _) async throws in
            try FileManager.default.createDirectory(
                atPath: engine.configuration.dataDirectory + "/pods/hello-2", withIntermediateDirectories: true)
            #expect(try await engine.list().map(\.id) == ["hello-1", "hello-2", "hello-3"])
            // Nothing is taken for abandoned while a container could not be read.
            await engine.sweepFolders()
            #expect(FileManager.default.fileExists(atPath: engine.configuration.dataDirectory + "/pods/hello-2"))
        }
    }

    @Test("N10: an image with more than 64 KiB of labels is refused by name")
    func largeLabels() async throws {
        let labels = String(repeating: "x", count: 70_000)
        try await DockerDifferencesTests.withEngine {
            $0.path.contains("/images/") ? .json(#"{"Id":"sha256:1","Config":{"Labels":{"a":"\#(labels)"}}}"#) : nil
        } _: { (engine, _) async throws in
            let error = await #expect(throws: PlatformError.self) {
                try await engine.prepare(DockerDifferencesTests.plan()) { _ in }
            }
            #expect(error?.code == .imageUnavailable)
            #expect(
                error?.message.contains("registry.example/app:1") == true && error?.message.contains("68 KiB") == true)
        }
        let endless = [UInt8](repeating: 32, count: 1 << 20)
        try await DockerDifferencesTests.withEngine {
            $0.path.contains("/images/") ? .chunks(Array(repeating: endless, count: 6)) : nil
        } _: { (engine, _) async throws in
            let error = await #expect(throws: PlatformError.self) {
                try await engine.prepare(DockerDifferencesTests.plan()) { _ in }
            }
            #expect(error?.code == .imageUnavailable)
        }
    }

    @Test(
        "N10: a list is cut into its objects, wherever its pieces end",
        arguments: [
            ("[]", []), ("null", []), (" [ ] \n", []),
            (#"[{"a":"]}\"["},{"b":[1,{}]}]"#, [#"{"a":"]}\"["}"#, #"{"b":[1,{}]}"#]),
            ("[1, \"x\",null]", ["1", "\"x\"", "null"]), (#"[{"a":"\\"}]"#, [#"{"a":"\\"}"#]),
        ])
    func splitter(text: String, expected: [String]) {
        for size in [1, 2, 3, 100] {
            var splitter = JSONListSplitter(objectLimit: 100)
            var found: [String] = []
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                found += splitter.append(rest.prefix(size)).map {
                    $0.map { String(decoding: $0, as: UTF8.self) } ?? "-"
                }
                rest = rest.dropFirst(size)
            }
            #expect(found == expected)
            #expect(splitter.isComplete)
        }
    }

    @Test(
        "N10: what is no list, or breaks off, is not taken for an empty one",
        arguments: ["", "{", "[", "[1", "nul", "<html>", "[]]"])
    func notAList(text: String) {
        var splitter = JSONListSplitter(objectLimit: 10)
        _ = splitter.append(Array(text.utf8))
        #expect(!splitter.isComplete)
    }
}
