import Core
import Foundation
import TestSupport
import Testing

@testable import StoreSQLite

/// A short scenario in which a store does everything that it does to files: bodies in rows, in segments and in their
/// own files, every ending, upkeep. It continues after a refusal, as the platform does, and keeps the ledger.
actor DiskScenario {
    static let retention: Duration = .seconds(100)
    /// The end of the scenario.
    static let end = sampleStart + .seconds(140)
    /// The request whose retention is over at the end.
    static let shortLived = sampleID(1)
    static let key = Submission.Idempotency(key: "key", fingerprint: [3])

    private(set) var ledger = Ledger()
    private(set) var store: SQLiteStore?
    /// Every lease that was given, including ended ones.
    private(set) var leases: [Lease] = []
    private var held: [RequestID: Lease] = [:]
    private let label: String
    private let durability: SQLiteStore.Durability
    private let place: @Sendable () -> Int
    private let refused: @Sendable (Ledger) throws -> Void

    /// - Parameters:
    ///   - place: returns the current position in the recording of the disk.
    ///   - refused: called after the first step that was refused.
    init(
        _ label: String = "", durability: SQLiteStore.Durability = .full, place: @escaping @Sendable () -> Int = { 0 },
        refused: @escaping @Sendable (Ledger) throws -> Void = { _ in }
    ) {
        self.label = label
        self.durability = durability
        self.place = place
        self.refused = refused
    }

    /// - Throws: the directory could not be opened.
    func open(_ directory: URL) async throws {
        store = try await openSample(directory, durability: durability)
    }

    func run() async {
        await deployIfMissing()
        // A user whose deploy was refused tries again.
        await deployIfMissing()
        await submit(1, size: 100)
        await submit(2, size: 70_000)
        await submit(3, size: 200, key: Self.key)
        await submit(4, size: 6000)
        await claim(2, at: 0)
        await finish(1, .completed, size: 300, at: 0)
        await finish(2, .completed, size: 80_000, at: 50)
        await submit(5, size: 90_000)
        await claim(2, at: 50)
        await finish(3, .failed, at: 50)
        await retry(3, at: 50)
        await finish(4, .inQueue, at: 50)
        await cancel(5, at: 50)
        await submit(6, size: 270_000)
        await claim(2, at: 51)
        await giveBack(6, at: 52)
        await maintain(at: 70)
        await submit(7, size: 280_000)
        await cancel(7, at: 71)
        await maintain(at: 110)
        await submit(8, size: 1000)
    }

    // MARK: Steps

    @discardableResult
    func step<Value: Sendable>(
        _ name: String, making effects: [RequestID: Ledger.Expected?] = [:], isPartial: Bool = false,
        _ body: (SQLiteStore) async throws -> Value
    ) async -> Value? {
        guard let store else { return nil }
        let began = place()
        var value: Value?
        do {
            value = try await body(store)
        } catch {
            // The only allowed refusal: the problem of the disk, by name.
            let code = (error as? PlatformError)?.code
            #expect(code == .storeUnavailable, "\(label): \(name): \(error)")
        }
        ledger.steps.append(
            .init(
                name: name, began: began, acknowledged: value == nil ? nil : place(), effects: effects,
                isPartial: isPartial))
        if value == nil, ledger.steps.count(where: { $0.acknowledged == nil }) == 1 {
            #expect(throws: Never.self) { try refused(ledger) }
        }
        return value
    }

    static func bytes(_ number: Int, _ size: Int) -> [UInt8] { [UInt8](repeating: UInt8(number), count: size) }

    func deployIfMissing() async {
        await step("deploy") { store in
            guard try await store.deployedAPIs().isEmpty else { return }
            try await store.deploySample(
                policy: RequestPolicy(retention: Self.retention, keepFailed: .seconds(1000)))
        }
    }

    func submit(_ number: Int, size: Int, key: Submission.Idempotency? = nil) async {
        let bytes = Self.bytes(number, size)
        let expected = Ledger.Expected(status: .inQueue, payload: bytes)
        await step("submit \(number)", making: [sampleID(number): expected]) { store in
            let writer = try await store.makeBodyWriter()
            do {
                try await writer.write(bytes)
                let submission = Submission(
                    id: sampleID(number), api: "echo", payload: try await writer.finish(), idempotency: key)
                let result = try await store.submit(submission, maxQueueLength: nil, now: sampleStart)
                // Without its API, which could not be deployed.
                guard result == .accepted else { throw PlatformError(.storeUnavailable, "\(result)") }
            } catch {
                await writer.discard()
                throw error
            }
        }
    }

    private func claim(_ limit: Int, at second: Int) async {
        let claimed = await step("claim") { store in
            try await store.claim(
                api: "echo", limit: limit, visibility: .seconds(30), holder: "h", now: sampleStart + .seconds(second))
        }
        for lease in claimed?.map(\.lease) ?? [] {
            held[lease.id] = lease
            leases.append(lease)
        }
    }

    /// The known state of a request, if there is only one.
    private func known(_ number: Int) -> Ledger.Expected? {
        let possible = ledger.possible()[sampleID(number)] ?? [nil]
        return possible.count == 1 ? possible.first ?? nil : nil
    }

    private func finish(_ number: Int, _ status: RequestStatus, size: Int = 0, at second: Int) async {
        guard let lease = held[sampleID(number)], var expected = known(number) else { return }
        let now = sampleStart + .seconds(second)
        let result = Self.bytes(100 + number, size)
        expected.status = status
        if status == .completed { expected.result = result }
        await step("finish \(number)", making: [lease.id: expected]) { store in
            let writer = try await store.makeBodyWriter()
            do {
                var outcome = Outcome.failed(RequestFailure(.timeout, "late"))
                if status == .inQueue {
                    outcome = .retry(RequestFailure(.replicaLost, "lost"), notBefore: now + .seconds(10))
                } else if status == .completed {
                    try await writer.write(result)
                    outcome = .completed(try await writer.finish())
                }
                let applied = try await store.finish(lease, outcome: outcome, now: now)
                #expect(applied == .applied, "\(label): finish \(number)")
            } catch {
                await writer.discard()
                throw error
            }
        }
        held[lease.id] = nil
    }

    private func cancel(_ number: Int, at second: Int) async {
        guard var expected = known(number) else { return }
        expected.status = .cancelled
        await step("cancel \(number)", making: [sampleID(number): expected]) { store in
            _ = try await store.cancel(sampleID(number), api: "echo", now: sampleStart + .seconds(second))
        }
    }

    private func retry(_ number: Int, at second: Int) async {
        guard var expected = known(number), expected.status == .failed else { return }
        expected.status = .inQueue
        await step("retry \(number)", making: [sampleID(number): expected]) { store in
            _ = try await store.retry(sampleID(number), api: "echo", now: sampleStart + .seconds(second))
        }
    }

    /// Releases a request; its old lease is invalid from then on.
    private func giveBack(_ number: Int, at second: Int) async {
        guard let lease = held[sampleID(number)] else { return }
        let now = sampleStart + .seconds(second)
        await step("extend") { store in _ = try await store.extend([lease], visibility: .seconds(30), now: now) }
        guard await step("release", { try await $0.release([lease], now: now) }) != nil else { return }
        held[lease.id] = nil
        await step("finish too late") { store in
            let late = try await store.finish(lease, outcome: .completed(.inline([0])), now: now)
            #expect(late == .stale, "\(label)")
        }
    }

    private func maintain(at second: Int) async {
        let now = sampleStart + .seconds(second)
        // The first request ended at the beginning, so its retention is over.
        var effects: [RequestID: Ledger.Expected?] = [:]
        if now >= sampleStart + Self.retention, known(1)?.status == .completed {
            effects = [sampleID(1): nil]
        }
        await step("maintain \(second)", making: effects, isPartial: true) { _ = try await $0.maintain(now: now) }
    }
}
