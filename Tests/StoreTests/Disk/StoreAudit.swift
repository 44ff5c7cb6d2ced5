import Core
import Foundation
import GRDB
import TestSupport

@testable import StoreSQLite

/// Compares a store with the answers that its callers got. Every problem is one line of text.
struct StoreAudit {
    let store: SQLiteStore
    let possible: Ledger.Possible
    var leases: [Lease] = []
    var now = DiskScenario.end

    /// Checks everything that can be read without a change: every request as its caller may expect it.
    ///
    /// - Returns: the found states, and the problems.
    func read() async throws -> (found: [RequestID: RequestRecord], problems: [String]) {
        var found: [RequestID: RequestRecord] = [:]
        var problems: [String] = []
        for (id, states) in possible.sorted(by: { $0.key < $1.key }) {
            let record = try await store.read(id, api: "echo", now: now)
            found[id] = record
            let result = try await bytes(of: record?.result)
            let isPossible = states.contains { state in
                guard let state, let record else { return state == nil && record == nil }
                return state.status == record.status.withoutLease && state.result == result
            }
            // After its retention it is unknown, whether it was erased yet or not.
            let isOver =
                id == DiskScenario.shortLived && record == nil && states.contains { $0?.status == .completed }
            if !isPossible && !isOver {
                let expected = states.map { $0?.status.rawValue ?? "unknown" }.sorted().joined(separator: " or ")
                problems.append("\(number(id)) is \(record?.status.rawValue ?? "unknown"), not \(expected)")
            }
        }
        return (found, problems)
    }

    /// Checks everything after a restart. Takes all requests from the queue.
    func afterRestart() async throws -> [String] {
        var (found, problems) = try await read()
        let integrity = try await store.reading { try String.fetchAll($0, sql: "PRAGMA integrity_check") }
        if integrity != ["ok"] { problems.append("the database is damaged: \(integrity)") }

        let named = try await store.reading { try NamedBodies($0).fileNames }
        let present = Set(try FileManager.default.contentsOfDirectory(atPath: store.files.path))
        if !named.isSubset(of: present) {
            problems.append("\(named.subtracting(present).count) rows without their file")
        }
        if !present.isSubset(of: named) { problems.append("\(present.subtracting(named).count) files without a row") }

        let open = found.values.count { !$0.status.isEnded }
        let counts = try await store.counts()["echo"] ?? QueueCounts()
        if counts.inQueue + counts.inProgress != open { problems.append("\(counts) counted, \(open) found") }

        _ = try await store.beat(process: "next", now: now)
        for lease in leases
        where try await store.finish(lease, outcome: .completed(.empty), now: now) != .stale {
            problems.append("an old lease of \(number(lease.id)) is still good")
        }
        let claimed = try await store.claim(
            api: "echo", limit: 1000, visibility: .seconds(30), holder: "audit", now: now)
        if claimed.count != open { problems.append("\(claimed.count) claimed, \(open) open") }
        for request in claimed {
            let payload = try await bytes(of: request.payload)
            let isPossible = (possible[request.id] ?? []).contains { $0?.payload == payload }
            if !isPossible { problems.append("\(number(request.id)) is delivered with other bytes") }
            if leases.contains(where: { $0.id == request.id && $0.token == request.lease.token }) {
                problems.append("a token of \(number(request.id)) came again")
            }
        }
        if counts != QueueCounts() || !found.isEmpty { problems += try await resubmission(found) }
        return problems
    }

    /// The idempotency key exists exactly as long as its request.
    private func resubmission(_ found: [RequestID: RequestRecord]) async throws -> [String] {
        let again = Submission(
            id: sampleID(900), api: "echo", payload: .empty, idempotency: DiskScenario.key)
        let result = try await store.submit(again, maxQueueLength: nil, now: now)
        let expected: SubmitResult = found[sampleID(3)] == nil ? .accepted : .duplicate(of: sampleID(3))
        return result == expected ? [] : ["the idempotency key gives \(result), not \(expected)"]
    }

    private func number(_ id: RequestID) -> String {
        (0..<100).first { sampleID($0) == id }.map { "request \($0)" } ?? "request \(id)"
    }

    private func bytes(of body: Body?) async throws -> [UInt8]? {
        guard let body else { return nil }
        let reader = try await store.reader(of: body)
        var bytes: [UInt8] = []
        while let piece = try await reader.read(upTo: 1 << 20) { bytes += piece }
        await reader.close()
        return bytes
    }
}

extension RequestStatus {
    /// In queue and in progress are the same.
    fileprivate var withoutLease: RequestStatus { self == .inProgress ? .inQueue : self }
}
