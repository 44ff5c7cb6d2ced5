import Core
import Foundation
import GRDB
import Logging
import Records
import StoreConformance
import TestSupport
import Testing

@testable import StoreSQLite

/// `Golden/format1` is a data directory of release 1.0.0-dev at the time when it was killed, before records had a
/// format. It is never changed; the next format gets its own folder.
@Suite("Golden files of earlier releases", .timeLimit(.minutes(2)))
struct GoldenTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Golden/format1")
    static let killed = Timestamp(seconds: 1_796_021_363)

    static func id(_ text: String) throws -> RequestID { try #require(RequestID("01a22b37-\(text)")) }

    static func open(_ directory: URL, now: Timestamp = killed) async throws -> SQLiteStore {
        try await SQLiteStore.open(
            configuration: .init(directory: directory.path), now: now, logger: .init(label: "test"))
    }

    private func withGolden(_ body: (URL) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            for name in ["cortex.sqlite", "cortex.sqlite-wal", "blobs"] {
                try FileManager.default.copyItem(
                    at: Self.folder.appending(path: name), to: directory.appending(path: name))
            }
            try await body(directory)
        }
    }

    static let plain = APISpecification.async(
        name: "plain", networking: .init(endpoint: "/plain"),
        pod: PodSpecification(containers: [
            ContainerSpecification(
                name: "api", command: ["python3", "/app/app.py"],
                volumes: [.init(source: "/tmp/golden/app", target: "/app", readOnly: true)])
        ]), requests: RequestPolicy(timeout: .seconds(3600)))

    static let full = APISpecification.async(
        name: "full", networking: .init(endpoint: "/deep/full", allowOrigins: ["https://example.com"]),
        pod: PodSpecification(
            maxConcurrency: 4, terminationGracePeriod: .milliseconds(1500),
            containers: [
                ContainerSpecification(
                    name: "api", env: ["NAME": "value ü", "EMPTY": ""], command: ["python3", "/app/app.py"],
                    compute: Compute(
                        cpu: Quantity("100m"), mem: Quantity("64Mi"), shm: Quantity("1Mi")),
                    readinessProbe: Probe(
                        handler: .httpGet(.init(port: 8080, path: "/ready")), period: .seconds(1)),
                    livenessProbe: Probe(
                        handler: .exec(command: ["true"]), timeout: .seconds(5), period: .seconds(30),
                        failureThreshold: 4),
                    preStop: .httpGet(.init(port: 8080, path: "/stop")),
                    volumes: [.init(source: "/tmp/golden/app", target: "/app", readOnly: true)]),
                ContainerSpecification(
                    name: "side", command: ["sleep", "infinity"], compute: Compute(cpu: nil),
                    livenessProbe: Probe(handler: .tcpSocket(port: 8080), period: .seconds(20)),
                    preStop: .exec(command: ["true"])),
            ]),
        autoscaling: AutoscalingPolicy(
            minReplicas: 1, maxReplicas: 3, initReplicas: 1, targetInFlight: 2.5, window: .seconds(10),
            downscaleStabilizationPeriod: .seconds(20), upscaleStabilizationPeriod: .seconds(1),
            maxDownscaleFactor: 0.5, maxUpscaleFactor: 2, downscaleTolerance: 0.1, upscaleTolerance: 0.2),
        updateStrategy: UpdateStrategy(maxSurge: .count(1), maxUnavailable: .percent(50)),
        requests: RequestPolicy(
            timeout: .seconds(600), retention: .seconds(864_000), keepFailed: .seconds(777_600),
            maxPayload: 1 << 20, maxResult: 2 << 20, maxQueueLength: 50, maxQueueTime: .seconds(21_600),
            retries: RetryPolicy(maxAttempts: 2, on: [.timeout, .unreachable, .status5xx], backoff: .seconds(2))))

    @Test("S3, A1: a data directory of the release before formats is opened and served, every record as it was")
    func format1() async throws {
        try await withGolden { directory in
            let store = try await Self.open(directory)
            let apis = try await store.deployedAPIs()
            #expect(apis.map(\.specification) == [Self.full, Self.plain])
            let full = try #require(apis.first)
            #expect(full.id == "671340179708b9c7-amhz7qq1ib-736c0b24cc7fb8df3b5e9e1d8c080800")
            #expect(full.specID == "736c0b24cc7fb8df3b5e9e1d8c080800" && full.deploymentID == "amhz7qq1ib")
            #expect(full.podID == "960634138f82572f21b5ea73da3a2078e639e1fcd23ad50274ef350e483e897")
            #expect(full.initialDeployment == Timestamp(microseconds: 1_796_021_356_328_339))
            #expect(full.submitted.hasPrefix(#"{"autoscaling":{"#) && full.fileName == "cortex.yaml")
            #expect(try await store.versions(of: "plain").map(\.fileName) == ["second.yaml", "cortex.yaml"])
            #expect(
                try await store.counts() == [
                    "full": QueueCounts(), "plain": QueueCounts(inQueue: 1, inProgress: 1),
                ])

            let completed = try #require(
                try await store.read(Self.id("102c-7153-b9ec-f9cd7538f769"), api: "full", now: Self.killed))
            #expect(completed.status == .completed && completed.attempts == 1)
            #expect(
                completed.result == .inline(Array(#"{"n": 12345678901234567890, "got": {"a":1.0}}"#.utf8)))
            let failed = try #require(
                try await store.read(Self.id("103d-7a28-8086-430f5c2aea80"), api: "full", now: Self.killed))
            #expect(failed.status == .failed && failed.attempts == 2 && failed.failures.count == 2)
            #expect(failed.failure?.kind == .containerStatus && failed.failure?.statusCode == 500)
            #expect(failed.failure?.body == "boom \u{FFFD}")
            let cancelled = try await store.read(
                Self.id("1d25-7aa7-8289-b0f9280402b9"), api: "plain", now: Self.killed)
            #expect(cancelled?.status == .cancelled)
            let large = try #require(
                try await store.list(api: "plain", filter: .init(status: .completed), now: Self.killed).first)
            let body = try #require(try await store.read(large.id, api: "plain", now: Self.killed)?.result)
            let reader = try await store.reader(of: body)
            var bytes: [UInt8] = []
            while let piece = try await reader.read(upTo: 1 << 20) { bytes += piece }
            await reader.close()
            #expect(bytes == Array("\"\(String(repeating: "x", count: 70_000))\"".utf8))

            #expect(try await store.beat(process: "next", now: Self.killed) == 1)
            let claimed = try await store.claim(
                api: "plain", limit: 5, visibility: .seconds(30), holder: "h", now: Self.killed)
            #expect(claimed.map(\.payload) == ["\"slow\"", "\"queued\""].map { .inline(Array($0.utf8)) })
            #expect(claimed.last?.query == "x=y" && claimed.allSatisfy { $0.attempts == 0 && $0.interruptions == 0 })
            #expect(
                try await store.finish(claimed[0].lease, outcome: .completed(.empty), now: Self.killed) == .applied)
            // Kept for `cortex retry`, without the credential.
            _ = try await store.retry(Self.id("103d-7a28-8086-430f5c2aea80"), api: "full", now: Self.killed)
            let again = try #require(
                try await store.claim(
                    api: "full", limit: 1, visibility: .seconds(30), holder: "h", now: Self.killed
                ).first)
            #expect(again.headers.contains(HeaderField("x-custom", "v")))
            #expect(!again.headers.contains { $0.name == "authorization" })
            try await store.close()
        }
    }

    @Test("S3: this release reads what it writes, and a deploy of the same version changes no identifier")
    func rewritten() async throws {
        try await withGolden { directory in
            let store = try await Self.open(directory)
            let apis = try await store.deployedAPIs()
            for api in apis { try await store.deploy(api, now: Self.killed) }
            try await store.close()
            let again = try await Self.open(directory)
            #expect(try await again.deployedAPIs() == apis)
            try await again.close()
        }
    }

    /// Changes each version's document in a closed store.
    private func rewrite(_ directory: URL, _ change: (String) -> String) throws {
        let pool = try DatabaseFile(DataDirectory(directory.path)).open(
            .init(directory: directory.path), logger: .init(label: "test"))
        try pool.write { db in
            for row in try Row.fetchAll(db, sql: "SELECT sequence, document FROM version") {
                let text = String(decoding: row[1] as Data, as: UTF8.self)
                try db.execute(
                    sql: "UPDATE version SET document = ? WHERE sequence = ?",
                    arguments: [Data(change(text).utf8), row[0] as Int64])
            }
        }
        try pool.close()
    }

    /// The versions' documents of a closed store, and its other files.
    private func documents(_ directory: URL) throws -> [String] {
        let pool = try DatabaseFile(DataDirectory(directory.path)).open(
            .init(directory: directory.path), logger: .init(label: "test"))
        let texts = try pool.read { db in
            try Row.fetchAll(db, sql: "SELECT document FROM version ORDER BY sequence").map {
                String(decoding: $0[0] as Data, as: UTF8.self)
            }
        }
        try pool.close()
        return try texts
            + FileManager.default.contentsOfDirectory(atPath: directory.appending(path: "blobs").path).sorted()
    }

    @Test("S3: a missing field has its default, and an unknown field is ignored")
    func missingAndUnknownFields() async throws {
        try await withGolden { directory in
            try rewrite(directory) { text in
                text.replacing(#""maxConcurrency":1,"#, with: "").replacing(#","volumes":[]"#, with: "")
                    .replacing(#""specification":{"#, with: #""future":{"a":[1]},"specification":{"later":null,"#)
            }
            let store = try await Self.open(directory)
            #expect(try await store.deployedAPIs().map(\.specification) == [Self.full, Self.plain])
            try await store.close()
        }
    }

    @Test("S3, U5: a record of a newer format is refused with one line that says so; the files are not changed")
    func newerFormat() async throws {
        try await withGolden { directory in
            try rewrite(directory) { $0.replacing(#"{"deploymentID""#, with: #"{"format":2,"deploymentID""#) }
            let before = try documents(directory)
            let error = await #expect(throws: PlatformError.self) { _ = try await Self.open(directory) }
            #expect(error?.code == .storeCorrupt)
            #expect(error?.message.contains("newer cortex") == true)
            #expect(try documents(directory) == before)
        }
    }

    @Test(
        "U5: a damaged record is refused when the store opens; the files are not changed",
        arguments: ["", "{", "null", #"{"format":"x"}"#, #"{"format":1}"#])
    func damaged(_ document: String) async throws {
        try await withGolden { directory in
            try rewrite(directory) { _ in document }
            let before = try documents(directory)
            let error = await #expect(throws: PlatformError.self) { _ = try await Self.open(directory) }
            #expect(error?.code == .storeCorrupt)
            #expect(try documents(directory) == before)
        }
    }

    @Test("S3: hostile bytes in a record are an error, never a crash, and a read record is written back unchanged")
    func fuzz() throws {
        let golden = try (1...3).map { number in
            try Array(Data(contentsOf: Self.folder.appending(path: "versions/\(number).json")))
        }
        var generator = SeededGenerator(seed: 11)
        var accepted = 0
        for round in 0..<3000 {
            var bytes = golden[round % golden.count]
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0...3, using: &generator) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
                case 1: bytes.remove(at: place)
                case 2:
                    bytes.insert(Array("0123456789[]{}\",:-e".utf8).randomElement(using: &generator) ?? 0, at: place)
                default: bytes = Array(bytes.prefix(max(1, place)))
                }
            }
            guard let record = try? JSONDecoder().decode(DeployedAPIRecord.self, from: Data(bytes)) else { continue }
            accepted += 1
            let again = try JSONDecoder().decode(
                DeployedAPIRecord.self, from: try JSONCoding.encode(record))
            #expect(again.api == record.api)
        }
        #expect(accepted > 500)
        for _ in 0..<3000 {
            let bytes = (0..<Int.random(in: 0...60, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            if let head = try? RequestHead(decoding: Data([1, UInt8.random(in: 0...1, using: &generator)] + bytes)) {
                #expect(try RequestHead(decoding: head.encoded).headers.count == head.headers.count)
            }
            _ = try? FailureHead(decoding: Data(bytes))
        }
    }
}
