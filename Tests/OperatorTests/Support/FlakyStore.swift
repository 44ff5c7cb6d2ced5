import Core
import StoreMemory
import Synchronization
import TestSupport

/// A memory store that fails where a test wants it to.
final class FlakyStore: WrappedStore {
    struct Faults {
        /// `deploy` fails for these APIs.
        var deploying: Set<String> = []
        var counting = false
        var reading = false
    }

    let base = MemoryStore()
    let faults = Mutex(Faults())
    /// What another process deploys just before each of the next deploys.
    let rivals = Mutex<[[DeployedAPI]]>([])

    private func fail(if condition: (Faults) -> Bool) throws {
        guard faults.withLock({ condition($0) }) else { return }
        throw PlatformError(.storeUnavailable, "the disk is full: make room, then try again")
    }

    func deploy(_ api: DeployedAPI, expecting: String?, now: Timestamp) async throws -> Bool {
        try fail { $0.deploying.contains(api.name) }
        for other in rivals.withLock({ $0.isEmpty ? [] : $0.removeFirst() }) {
            try await base.deploy(other, now: now)
        }
        return try await base.deploy(api, expecting: expecting, now: now)
    }
    func deployedAPIs() async throws -> [DeployedAPI] {
        try fail { $0.reading }
        return try await base.deployedAPIs()
    }
    func delete(api: String, keepRequests: Bool, now: Timestamp) async throws -> Bool {
        try fail { $0.reading }
        return try await base.delete(api: api, keepRequests: keepRequests, now: now)
    }
    func counts() async throws -> [String: QueueCounts] {
        try fail { $0.counting }
        return try await base.counts()
    }
}
