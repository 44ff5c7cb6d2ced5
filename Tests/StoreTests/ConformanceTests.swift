import Core
import Foundation
import Logging
import StoreConformance
import StoreMemory
import StoreSQLite
import TestSupport
import Testing

@Suite("Conformance of StoreMemory", .timeLimit(.minutes(10)))
struct MemoryConformanceTests {
    @Test("StoreMemory", arguments: StoreCheck.all(for: [.exclusive]))
    func contract(_ check: StoreCheck) async throws {
        try await check(StoreFixture(MemoryStore()))
    }

    @Test("StoreMemory for several processes", arguments: StoreCheck.all(for: [.shared]))
    func shared(_ check: StoreCheck) async throws {
        try await check(StoreFixture(MemoryStore(isShared: true)))
    }
}

@Suite("Conformance of StoreSQLite", .timeLimit(.minutes(10)))
struct SQLiteConformanceTests {
    @Test("StoreSQLite", arguments: StoreCheck.all(for: [.durable, .exclusive]), SQLiteStore.Durability.allCases)
    func contract(_ check: StoreCheck, durability: SQLiteStore.Durability) async throws {
        try await withTemporaryDirectory { directory in
            let opened = OpenStores()
            let open: @Sendable () async throws -> any Store = {
                try await opened.open(directory.path, durability: durability)
            }
            let fixture = StoreFixture(try await open()) { old in
                try await (old as? SQLiteStore)?.close()
                return try await open()
            }
            do {
                try await check(fixture)
            } catch {
                try await opened.closeAll()
                throw error
            }
            try await opened.closeAll()
        }
    }
}

/// The stores of one test, closed together before their folder is removed.
actor OpenStores {
    private var stores: [SQLiteStore] = []

    func open(_ directory: String, durability: SQLiteStore.Durability = .full) async throws -> SQLiteStore {
        let store = try await SQLiteStore.open(
            configuration: .init(directory: directory, durability: durability), now: Timestamp(seconds: 1_800_000_000),
            logger: .quiet)
        stores.append(store)
        return store
    }

    func closeAll() async throws {
        for store in stores { try await store.close() }
        stores = []
    }
}

extension Logger {
    static var quiet: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }
}
