import Core
import Foundation
import GRDB
import TestSupport
import Testing

@testable import StoreSQLite

@Suite("StoreSQLite: settings, lock and refusals", .timeLimit(.minutes(10)))
struct SQLiteSettingsTests {
    @Test(
        "A1: the settings on which durability and erasing depend are in force",
        arguments: SQLiteStore.Durability.allCases)
    func settings(_ durability: SQLiteStore.Durability) async throws {
        try await withStore(durability: durability) { store, _ in
            func pragma(_ name: String) async throws -> String? {
                try await store.committer.onWriterThread { pool in
                    try pool.writeWithoutTransaction { try String.fetchOne($0, sql: "PRAGMA \(name)") }
                }
            }
            let synchronous = durability == .full ? "2" : "1"
            #expect(try await pragma("synchronous") == synchronous)
            #expect(try await pragma("journal_mode") == "wal")
            #expect(try await pragma("secure_delete") == "1")
            #expect(try await pragma("auto_vacuum") == "2")
            #expect(try await pragma("application_id") == "\(Schema.applicationID)")
            #expect(try await pragma("user_version") == "\(Schema.latest)")
            // A claim is not synced; the submission after it is.
            try await store.deploySample()
            try await store.submitSample(1)
            _ = try await store.claim(api: "echo", limit: 1, visibility: .seconds(1), holder: "h", now: sampleStart)
            #expect(try await pragma("synchronous") == "1")
            try await store.submitSample(2)
            #expect(try await pragma("synchronous") == synchronous)
        }
    }

    @Test("U5: a second instance on the same directory is refused with advice, and accepted after the first has closed")
    func lock() async throws {
        try await withTemporaryDirectory { directory in
            let first = try await openSample(directory)
            let error = await #expect(throws: PlatformError.self) { _ = try await openSample(directory) }
            #expect(error?.code == .setup)
            #expect(error?.message.contains("process \(getpid())") == true)
            #expect(error?.message.contains("--data-dir") == true)
            try await first.close()
            try await first.close()
            try await openSample(directory).close()
        }
    }

    enum Unusable: String, CaseIterable, Sendable {
        case garbage, empty, tooShort, foreign, newer, versionless, unknownVersion, readOnly, cutOff, folder
        case logWithoutDatabase, damagedInside
    }

    @Test(
        "U5: a foreign, damaged, newer or read-only file is refused and not changed",
        arguments: Unusable.allCases)
    func refusals(_ kind: Unusable) async throws {
        try await withTemporaryDirectory { directory in
            let path = directory.path + "/cortex.sqlite"
            try await prepare(kind, path, directory)
            let before = try contents(directory)
            let error = await #expect(throws: PlatformError.self) { _ = try await openSample(directory) }
            #expect(error?.code == (kind == .readOnly ? .setup : .storeCorrupt))
            #expect(error?.message.contains(directory.path) == false)
            #expect(error?.message.contains("--data-dir") == true)
            #expect(try contents(directory) == before)
        }
    }

    @Test(
        "U5: a directory that is read-only or not writable for this user is refused and not changed",
        arguments: [EROFS, EACCES])
    func readOnlyDirectory(_ code: Int32) async throws {
        try await withTemporaryDirectory { folder in
            let directory = folder.appendingPathComponent("data")
            let store = try await openSample(directory)
            try await store.deploySample()
            try await store.submitSample(1)
            try await store.close()
            let before = try contents(directory)
            let disk = try WatchedFolder(folder, recording: true)
            disk.fail(.writing, from: 1, code: code)
            let error = await #expect(throws: PlatformError.self) { _ = try await openSample(directory) }
            #expect(error?.code == .setup)
            #expect(error?.message.contains("--data-dir") == true)
            #expect(error?.message.contains(directory.path) == false)
            disk.heal()
            #expect(try contents(directory) == before)
            // After the repair it is opened with its content.
            let again = try await openSample(directory)
            #expect(try await again.counts() == ["echo": QueueCounts(inQueue: 1)])
            try await again.close()
        }
    }

    private func prepare(_ kind: Unusable, _ path: String, _ directory: URL) async throws {
        func patch(_ offset: Int, _ bytes: [UInt8]) throws {
            var data = try Data(contentsOf: URL(fileURLWithPath: path))
            data.replaceSubrange(offset..<offset + bytes.count, with: bytes)
            try data.write(to: URL(fileURLWithPath: path))
        }
        func write(_ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
        func valid() async throws {
            let store = try await openSample(directory)
            try await store.deploySample()
            for number in 1...200 { try await store.submitSample(number) }
            try await store.close()
        }
        switch kind {
        case .garbage: try write(Array(repeating: 7, count: 5000))
        case .empty: try write([])
        case .tooShort: try write(Array("SQLite format 3\0".utf8))
        case .foreign:
            let queue = try DatabaseQueue(path: path)
            try await queue.write { try $0.execute(sql: "CREATE TABLE api (number INTEGER)") }
            try queue.close()
        case .newer:
            try await valid()
            try patch(60, [0, 0, 0, UInt8(Schema.latest + 1)])
        case .versionless:
            try await valid()
            try patch(60, [0, 0, 0, 0])
        case .unknownVersion:
            try await valid()
            try patch(60, [0xFF, 0xFF, 0xFF, 0xFF])
        case .readOnly:
            try await valid()
            #expect(chmod(path, 0o444) == 0)
        case .cutOff:
            try await valid()
            let data = try Data(contentsOf: URL(fileURLWithPath: path))
            try data.prefix(data.count - 4096).write(to: URL(fileURLWithPath: path))
        case .folder: try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        case .logWithoutDatabase: try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path + "-wal"))
        case .damagedInside:
            try await valid()
            let size = try Data(contentsOf: URL(fileURLWithPath: path)).count
            try patch(100, Array(repeating: 0xAA, count: size - 100))
        }
    }

    /// Every file with its bytes, except the lock and SQLite's shared memory, which do not matter.
    private func contents(_ directory: URL) throws -> [String: Data] {
        var files: [String: Data] = [:]
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory.path) where name != "lock" {
            guard !name.hasSuffix("-shm"), let data = FileManager.default.contents(atPath: "\(directory.path)/\(name)")
            else { continue }
            // An empty log that SQLite created while reading is no change.
            if name.hasSuffix("-wal"), data.isEmpty { continue }
            files[name] = data
        }
        return files
    }

    @Test("A new file is private to its user")
    func permissions() async throws {
        try await withStore { store, directory in
            try await store.deploySample()
            for name in ["cortex.sqlite", "cortex.sqlite-wal", "lock"] {
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory.path)/\(name)")
                #expect(attributes[.posixPermissions] as? Int == 0o600, "\(name)")
            }
        }
    }

    @Test("U5: a directory that cannot be created is refused with advice")
    func impossibleDirectory() async throws {
        try await withTemporaryDirectory { directory in
            let file = directory.appendingPathComponent("file")
            try Data().write(to: file)
            let error = await #expect(throws: PlatformError.self) {
                _ = try await openSample(file.appendingPathComponent("data"))
            }
            #expect(error?.code == .setup)
        }
    }
}

// MARK: Shared by the SQLite tests

let sampleStart = Timestamp(seconds: 1_800_000_000)

func openSample(
    _ directory: URL, durability: SQLiteStore.Durability = .full, maxPages: Int? = nil, now: Timestamp = sampleStart
) async throws -> SQLiteStore {
    try await SQLiteStore.open(
        configuration: .init(directory: directory.path, durability: durability, maxPages: maxPages), now: now,
        logger: .quiet)
}

func withStore(
    durability: SQLiteStore.Durability = .full, maxPages: Int? = nil, _ body: (SQLiteStore, URL) async throws -> Void
) async throws {
    try await withTemporaryDirectory { directory in
        let store = try await openSample(directory, durability: durability, maxPages: maxPages)
        do {
            try await body(store, directory)
        } catch {
            try await store.close()
            throw error
        }
        try await store.close()
    }
}

func sampleID(_ number: Int) -> RequestID {
    var generator = SeededGenerator(seed: UInt64(number))
    return RequestID(now: sampleStart + .milliseconds(number), using: &generator)
}

func sampleAPI(_ name: String = "echo", policy: RequestPolicy = .init()) -> DeployedAPI {
    let specification = APISpecification.async(
        name: name, networking: .init(endpoint: "/\(name)"), pod: .init(containers: [.init(name: "main")]),
        requests: policy)
    return DeployedAPI(
        specification: specification, id: "\(name)-1", specID: "s", podID: "p", deploymentID: "d",
        initialDeployment: sampleStart, lastUpdated: sampleStart)
}

extension SQLiteStore {
    func deploySample(_ name: String = "echo", policy: RequestPolicy = .init()) async throws {
        try await deploy(sampleAPI(name, policy: policy), now: sampleStart)
    }

    @discardableResult
    func submitSample(
        _ number: Int, payload: Body = .inline(Array("payload".utf8)), headers: [HeaderField] = []
    ) async throws -> SubmitResult {
        let submission = Submission(id: sampleID(number), api: "echo", payload: payload, headers: headers)
        return try await submit(submission, maxQueueLength: nil, now: sampleStart)
    }

    func claimSamples(_ limit: Int) async throws -> [Lease] {
        try await claim(api: "echo", limit: limit, visibility: .seconds(30), holder: "h", now: sampleStart).map(\.lease)
    }
}
