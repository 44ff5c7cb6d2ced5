package import Core
import Foundation
import GRDB
import Logging
import Records
import Synchronization

extension SQLiteStore {
    package func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool {
        // The open requests from before a deletion are cancelled first, in separate steps.
        while let old = committer.state.apis[api.name], old.isClosing {
            let deletion = Deletion(number: old.number, keptName: api.name)
            guard try await committer.perform({ try $0.step(deletion, limit: Self.stepLimit, now: now) }) else { break }
        }
        return try await committer.perform { transaction in
            guard transaction.state.deployed(api.name)?.present.id == expecting else { return false }
            try transaction.deploy(api, now: now)
            return true
        }
    }

    package func deployedAPIs() async throws -> [DeployedAPI] {
        committer.state.apis.values.filter(\.isDeployed).map(\.present).sorted { $0.name < $1.name }
    }

    package func versions(of api: String) async throws -> [DeployedAPI] {
        guard let stored = committer.state.deployed(api) else { return [] }
        return try await reading { db in
            try Data.fetchAll(
                db, sql: "SELECT document FROM version WHERE api = ? ORDER BY sequence DESC", arguments: [stored.number]
            ).map { try JSONDecoder().decode(DeployedAPIRecord.self, from: $0).api }
        }
    }

    package func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        let deletion = try await committer.perform { try $0.delete(api: api, keepRequests: keepRequests) }
        guard let deletion else { return false }
        // It is deleted, also if the rest fails now.
        do {
            if try await advance(deletion, steps: Self.promptSteps, now: now) { return true }
        } catch {
            logger.warning("the requests of a deleted API are erased later", metadata: ["error": "\(error)"])
        }
        continueDeletions(now: now)
        return true
    }

    package func requestedReplicas(of api: String) async throws -> Int? {
        committer.state.deployed(api)?.requestedReplicas
    }

    package func replaceRequestedReplicas(
        _ count: Int, of api: String, version: String, expecting current: Int
    ) async throws -> Bool {
        try await committer.perform { transaction in
            guard let stored = transaction.state.deployed(api), stored.present.id == version,
                (stored.requestedReplicas ?? current) == current
            else { return false }
            guard stored.requestedReplicas != count else { return true }
            try transaction.run("UPDATE api SET replicas = ? WHERE number = ?", [count, stored.number])
            transaction.state.apis[api]?.requestedReplicas = count
            transaction.changes.replicas.insert(api)
            return true
        }
    }

    package func splitState(of splitter: String) async throws -> SplitState? {
        guard let stored = committer.state.deployed(splitter) else { return nil }
        let document = try await reading { db in
            try Row.fetchOne(db, sql: "SELECT split FROM api WHERE number = ?", arguments: [stored.number])
                .flatMap { row -> Data? in row[0] }
        }
        return try document.map { try JSONDecoder().decode(SplitStateRecord.self, from: $0).state }
    }

    package func saveSplitState(_ state: SplitState, of splitter: String, version: String) async throws -> Bool {
        let document = try JSONCoding.encode(SplitStateRecord(state))
        return try await committer.perform { transaction in
            guard let stored = transaction.state.deployed(splitter), stored.present.id == version else { return false }
            try transaction.run("UPDATE api SET split = ? WHERE number = ?", [document, stored.number])
            return true
        }
    }

    // MARK: Deletions in steps

    /// A deletion whose first step is committed: the API is not visible any more. The rest is done in steps, so that a
    /// long queue does not delay other callers, and is continued after a crash.
    struct Deletion: Sendable {
        let number: Int64
        /// Set if its requests are only cancelled and kept.
        let keptName: String?
        /// Whether it is that of a job and its queue.
        var isOfJob = false
    }

    /// Does some steps of a deletion.
    ///
    /// - Returns: whether it is finished.
    private func advance(_ deletion: Deletion, steps: Int, now: Timestamp) async throws -> Bool {
        for _ in 0..<steps {
            let hasMore = try await committer.perform { try $0.step(deletion, limit: Self.stepLimit, now: now) }
            if !hasMore { return true }
        }
        return false
    }

    /// Continues every unfinished deletion: does a few steps of each, and the rest in the background.
    func finishDeletions(now: Timestamp) async throws {
        guard deletions.withLock({ $0 == nil }) else { return }
        var areFinished = true
        for deletion in try await unfinishedDeletions() {
            areFinished = try await advance(deletion, steps: Self.promptSteps, now: now) && areFinished
        }
        if !areFinished { continueDeletions(now: now) }
    }

    private func unfinishedDeletions() async throws -> [Deletion] {
        try await reading { db in
            try Row.fetchAll(db, sql: "SELECT number, name, owner FROM api WHERE closing = 1 OR name IS NULL LIMIT 100")
                .map { Deletion(number: $0[0], keptName: $0[1], isOfJob: ($0[2] as Int64?) != nil) }
        }
    }

    /// Continues all deletions until they are finished or the store closes, unless this is already running.
    func continueDeletions(now: Timestamp) {
        deletions.withLock { task in
            guard task == nil else { return }
            task = Task {
                do {
                    while !Task.isCancelled, let deletion = try await unfinishedDeletions().first {
                        // What a power cut undoes is erased again after the next start.
                        try await inPacedSteps(durable: false) {
                            try $0.step(deletion, limit: $1, now: now) ? $1 : 0
                        }
                    }
                } catch {
                    // The upkeep, or the next start, continues the deletion.
                    if !Task.isCancelled {
                        logger.warning(
                            "the requests of a deleted API are erased later", metadata: ["error": "\(error)"])
                    }
                }
                deletions.withLock { $0 = nil }
            }
        }
    }

    /// Ends the work of `continueDeletions`; the next start does the rest.
    func stopDeletions() async {
        let task = deletions.withLock { $0 }
        task?.cancel()
        await task?.value
    }

    /// Rows that one step of a long job changes, when a caller waits for the job.
    static let stepLimit = 500
    /// Steps of a deletion for which its caller waits: well below a second.
    private static let promptSteps = 4
}

extension WriteTransaction {
    mutating func deploy(_ api: DeployedAPI, now: Timestamp) throws {
        if let old = state.apis[api.name], old.isClosing {
            // Its old requests must not become active again.
            let deletion = SQLiteStore.Deletion(number: old.number, keptName: api.name)
            while try step(deletion, limit: .max, now: now) {}
        }
        let inserted = try row(
            """
            INSERT INTO api (name, deployed) VALUES (?, 1)
            ON CONFLICT (name) DO UPDATE SET deployed = 1 RETURNING number, replicas
            """, [api.name])
        guard let inserted else { throw RequestHead.Damaged() }
        let number: Int64 = inserted[0]
        if state.apis[api.name]?.present.id != api.id {
            try run("UPDATE api SET split = NULL WHERE number = ?", [number])
        }
        try run("DELETE FROM version WHERE api = ? AND id = ?", [number, api.id])
        try run(
            "INSERT INTO version (api, id, document) VALUES (?, ?, ?)",
            [number, api.id, try JSONCoding.encode(DeployedAPIRecord(api))])
        try run(
            """
            DELETE FROM version WHERE api = ?1 AND sequence NOT IN
                (SELECT sequence FROM version WHERE api = ?1 ORDER BY sequence DESC LIMIT ?2)
            """, [number, Limits.versions])
        state.apis[api.name] = StoredAPI(
            number: number, isDeployed: true, requestedReplicas: inserted[1], present: api)
        changes.apis.insert(api.name)
    }

    /// - Returns: the rest of the work; `nil` if it was not deployed.
    mutating func delete(api name: String, keepRequests: Bool) throws -> SQLiteStore.Deletion? {
        guard let api = state.deployed(name) else { return nil }
        changes.apis.insert(name)
        // Requests in containers are cut off now; the rest of the queue may take longer.
        for row in try rows(
            "SELECT id FROM request INDEXED BY request_leased WHERE state = 1 AND api = ?", [api.number])
        {
            changes.ended.insert(try RequestID(row[0] as Data))
        }
        try run("DELETE FROM schedule WHERE api = ?", [api.number])
        try endJobs(of: api.number, areKept: keepRequests)
        if keepRequests {
            try run(
                "UPDATE api SET deployed = 0, closing = 1, replicas = NULL, split = NULL WHERE number = ?", [api.number]
            )
            state.apis[name]?.isDeployed = false
            state.apis[name]?.isClosing = true
            state.apis[name]?.requestedReplicas = nil
        } else {
            try run("UPDATE api SET deployed = 0, name = NULL WHERE number = ?", [api.number])
            state.apis[name] = nil
        }
        return SQLiteStore.Deletion(number: api.number, keptName: keepRequests ? name : nil)
    }

    /// Does the next part of a deletion.
    ///
    /// - Returns: whether there is more to do.
    mutating func step(_ deletion: SQLiteStore.Deletion, limit: Int, now: Timestamp) throws -> Bool {
        if let name = deletion.keptName {
            return try cancelOpen(name, number: deletion.number, limit: limit, now: now)
        }
        if deletion.isOfJob { return try eraseJob(deletion.number, limit: min(limit, 5000) * 4) }
        return try eraseAll(deletion.number, limit: limit)
    }

    private mutating func cancelOpen(_ name: String, number: Int64, limit: Int, now: Timestamp) throws -> Bool {
        // Deployed again in the meantime: that deploy has done the rest.
        guard let api = state.apis[name], api.number == number, api.isClosing else { return false }
        for old in StoredState.open {
            let open = try rows(
                "SELECT id FROM request WHERE api = ? AND state = \(old.rawValue) LIMIT ?", [number, limit])
            for row in open {
                let id = try RequestID(row[0] as Data)
                guard let request = try requestRow(of: id, api: number) else { continue }
                try end(id, api: api, request, to: .cancelled, now: now)
            }
            if !open.isEmpty { return true }
        }
        try run("UPDATE api SET closing = 0 WHERE number = ?", [number])
        state.apis[name]?.isClosing = false
        return false
    }

    private mutating func eraseAll(_ number: Int64, limit: Int) throws -> Bool {
        let requests = try rows("SELECT id, state FROM request WHERE api = ? LIMIT ?", [number, limit])
        for row in requests {
            let id = try RequestID(row[0] as Data)
            if try !StoredState(reading: row[1]).status.isEnded { changes.ended.insert(id) }
            try erase(id, api: number)
        }
        guard requests.isEmpty else { return true }
        guard try !beginErasingJobs(of: number, limit: limit) else { return true }
        try run("DELETE FROM version WHERE api = ?", [number])
        try run("DELETE FROM api WHERE number = ?", [number])
        state.counts[number] = nil
        return false
    }
}
