import Core
import Foundation
import TestSupport
import Testing

@testable import StoreSQLite

/// The disk of a short scenario is recorded; then the power is cut after every call, and the store is opened on the
/// content of the disk.
@Suite("StoreSQLite: power cuts", .timeLimit(.minutes(20)))
struct SQLitePowerCutTests {
    private struct Recording {
        var root: String
        var events: [DiskEvent]
        var ledger: Ledger
        /// The call that failed.
        var failure: String?
    }

    @Test("A1, A10: with full, everything acknowledged before the power cut is there, and nothing else")
    func full() async throws {
        let recording = try await record()
        // All file calls of the store must have been recorded.
        let isComplete = recording.ledger.steps.allSatisfy { $0.acknowledged != nil } && recording.events.count > 100
        #expect(isComplete)
        try await cut(recording) { recording.ledger.possible(at: $0) }
    }

    @Test("U1: with normal, a power cut loses at most the last moments: requests are complete or missing")
    func normal() async throws {
        let recording = try await record(durability: .normal)
        try await cut(recording, durability: .normal) { _ in recording.ledger.everPossible() }
    }

    @Test("A1: after a failed sync and a later power cut, nothing that was acknowledged in between is lost")
    func failedSync() async throws {
        var number = 1
        while true {
            let label = "sync \(number)"
            var isReached = false
            let recording = try await record(label) { disk in
                disk.fail(.syncing, from: number, count: 1, code: EIO)
            } after: {
                isReached = $0.calls >= number
            }
            guard isReached else { break }
            try await cut(recording, "\(label), \(recording.failure ?? "")", from: recording.events.count) {
                recording.ledger.possible(at: $0)
            }
            number += 1
        }
        #expect(number > 10)
    }

    /// Runs the scenario on a watched folder.
    private func record(
        _ label: String = "", durability: SQLiteStore.Durability = .full,
        _ arm: (WatchedFolder) -> Void = { _ in }, after: (WatchedFolder) -> Void = { _ in }
    ) async throws -> Recording {
        try await withTemporaryDirectory { folder in
            let disk = try WatchedFolder(folder, recording: true)
            let scenario = DiskScenario(label, durability: durability) { disk.eventCount }
            arm(disk)
            do {
                try await scenario.open(folder.appending(path: "data"))
            } catch {
                // A sync failed while the store was created: the user starts it again.
                try await scenario.open(folder.appending(path: "data"))
            }
            await scenario.run()
            after(disk)
            // A fault that was not reached must not affect the closing.
            disk.heal()
            let recording = Recording(
                root: folder.path, events: disk.events, ledger: await scenario.ledger,
                failure: disk.firstFailure)
            try await scenario.store?.close()
            return recording
        }
    }

    /// Cuts the power after every call from `first` on, with every kind of loss, and checks the result.
    private func cut(
        _ recording: Recording, _ label: String = "", durability: SQLiteStore.Durability = .full, from first: Int = 0,
        _ possible: (Int) -> Ledger.Possible
    ) async throws {
        var model = DiskModel(root: recording.root)
        var judged: Set<Judged> = []
        for place in 0...recording.events.count {
            if place > 0 { model.apply(recording.events[place - 1]) }
            guard place >= first else { continue }
            let possible = possible(place)
            // A kill of the process has the same effect for both durabilities.
            let losses: [DiskModel.Loss] = durability == .full ? [.all, .bytes, .nothing] : [.all, .bytes]
            for loss in losses + [.torn(UInt64(place))] {
                let image = model.image(after: loss)
                guard judged.insert(Judged(image: image.hashValue, possible: possible)).inserted else { continue }
                let what = "\(label) cut after call \(place) of \(recording.events.count), \(loss)"
                try await judge(image, recording, possible, durability, what)
            }
        }
    }

    /// Most cuts have the same result as an earlier one.
    private struct Judged: Hashable {
        var image: Int
        var possible: Ledger.Possible
    }

    private func judge(
        _ image: DiskModel.Image, _ recording: Recording, _ possible: Ledger.Possible,
        _ durability: SQLiteStore.Durability, _ label: String
    ) async throws {
        try await withTemporaryDirectory { folder in
            try image.write(below: recording.root, to: folder)
            // Watched, so that nothing is really synced.
            let disk = try WatchedFolder(folder)
            do {
                let store = try await openSample(
                    folder.appending(path: "data"), durability: durability, now: DiskScenario.end)
                let problems = try await StoreAudit(store: store, possible: possible).afterRestart()
                #expect(problems == [], "\(label)")
                try await store.close()
            } catch {
                Issue.record("\(label): \(error)")
            }
            disk.heal()
        }
    }
}
