import Core
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import StoreSQLite

/// Every file call of the store in a short scenario fails once, in every way; afterwards the answers of the callers
/// must hold.
@Suite("StoreSQLite: every file call fails", .serialized, .timeLimit(.minutes(20)))
struct SQLiteFaultTests {
    enum Fault: String, CaseIterable, Sendable, CustomTestStringConvertible {
        /// One call fails with EIO.
        case once
        /// One call finds the disk full.
        case fullOnce
        /// One read fails with EIO.
        case unreadable
        /// From one call on, every write fails with EIO.
        case dead
        /// From one call on, the disk is full.
        case full

        var testDescription: String { rawValue }
        var lasts: Bool { self == .dead || self == .full }
        /// Lasting faults begin at every third call: neighbouring calls differ little.
        var stride: Int { lasts ? 3 : 1 }

        func arm(_ disk: WatchedFolder, _ number: Int) {
            switch self {
            case .once: disk.fail(.writing, from: number, count: 1, code: EIO)
            case .fullOnce: disk.fail(.spending, from: number, count: 1, code: ENOSPC)
            case .unreadable: disk.fail(.reading, from: number, count: 1, code: EIO)
            case .dead: disk.fail(.writing, from: number, code: EIO)
            case .full: disk.fail(.spending, from: number, code: ENOSPC)
            }
        }
    }

    @Test(
        "A1, A4, A10: for every failing file call, the store refuses by name, keeps reading, recovers by itself, and after a restart has everything acknowledged and nothing refused",
        arguments: Fault.allCases)
    func everyCall(_ fault: Fault) async throws {
        var number = 1
        while try await isReached(number, by: fault) { number += fault.stride }
        // A scenario without file calls would prove nothing.
        #expect(number > 30)
    }

    /// - Returns: whether the scenario made that number of calls.
    private func isReached(_ number: Int, by fault: Fault) async throws -> Bool {
        try await withTemporaryDirectory { folder in
            let disk = try WatchedFolder(folder)
            let directory = folder.appending(path: "data")
            let label = "\(fault) \(number)"
            let atOnce = AtOnce()
            let scenario = DiskScenario(
                label,
                refused: { ledger in
                    // One fault, and a kill of the process right after it.
                    guard fault == .once || fault == .fullOnce else { return }
                    atOnce.ledger.withLock { $0 = ledger }
                    try Self.copyFolder(directory, to: folder.appending(path: "at-once"))
                })
            var isReached = false
            fault.arm(disk, number)
            do {
                try await scenario.open(directory)
            } catch {
                isReached = true
                let code = (error as? PlatformError)?.code
                // SQLite treats an unreadable file as damaged.
                #expect(code == .setup || fault == .unreadable && code == .storeCorrupt, "\(label): \(error)")
                // The fault is over, or the disk is repaired.
                if fault.lasts { disk.heal() }
                try await scenario.open(directory)
            }
            await scenario.run()
            if disk.calls >= number { isReached = true }
            if !fault.lasts { disk.heal() }
            let what = "\(label), \(disk.firstFailure ?? "nothing failed")"
            let store = try #require(await scenario.store)
            let ledger = await scenario.ledger
            let leases = await scenario.leases
            // During the fault, reads work.
            let during = try await StoreAudit(store: store, possible: ledger.possible()).read()
            #expect(during.problems == [], "\(what), while it lasts")
            disk.heal()

            let killed = folder.appending(path: "killed")
            try Self.copyFolder(directory, to: killed)
            try await audit(killed, "\(what), killed", ledger, leases, refusalsMayCount: fault == .dead)
            if let ledger = atOnce.ledger.withLock({ $0 }) {
                try await audit(folder.appending(path: "at-once"), "\(what), killed at once", ledger, [])
            }

            // Recovers without a restart.
            await scenario.deployIfMissing()
            await scenario.submit(9, size: 100)
            await scenario.submit(10, size: 70_000)
            await scenario.submit(11, size: 270_000)
            await scenario.step("maintain") { _ = try await $0.maintain(now: DiskScenario.end) }
            let healed = await scenario.ledger
            #expect(healed.steps.suffix(4).allSatisfy { $0.acknowledged != nil }, "\(what), healed")
            try await store.close()
            try await audit(directory, "\(what), healed and restarted", healed, leases)
            return isReached
        }
    }

    private final class AtOnce: Sendable {
        let ledger = Mutex<Ledger?>(nil)
    }

    private func audit(
        _ directory: URL, _ label: String, _ ledger: Ledger, _ leases: [Lease], refusalsMayCount: Bool = false
    ) async throws {
        do {
            let store = try await openSample(directory, now: DiskScenario.end)
            let possible = ledger.possible(refusalsMayCount: refusalsMayCount)
            let problems = try await StoreAudit(store: store, possible: possible, leases: leases).afterRestart()
            #expect(problems == [], "\(label)")
            try await store.close()
        } catch {
            Issue.record("\(label): \(error)")
        }
    }

    /// The files after a kill of the process.
    private static func copyFolder(_ folder: URL, to copy: URL) throws {
        try FileManager.default.createDirectory(at: copy, withIntermediateDirectories: true)
        for name in try FileManager.default.subpathsOfDirectory(atPath: folder.path) {
            var isFolder: ObjCBool = false
            let source = folder.appending(path: name).path
            guard FileManager.default.fileExists(atPath: source, isDirectory: &isFolder) else { continue }
            if isFolder.boolValue {
                try FileManager.default.createDirectory(
                    at: copy.appending(path: name), withIntermediateDirectories: true)
            } else if let data = FileManager.default.contents(atPath: source) {
                // The store may be removing a file at this moment.
                try data.write(to: copy.appending(path: name))
            }
        }
    }
}
