package import Access
package import Core
import Logging
import Support
import Synchronization

extension DeployService {
    /// Deploys an earlier version again: what it declared becomes the newest version. Its queue and requests stay.
    ///
    /// - Parameters:
    ///   - version: see ``RollbackPlan``; `nil` for the one before.
    ///   - principal: who asks for it.
    /// - Returns: the version that is present now, and what happened, for people.
    /// - Throws: `not_found` with the versions that are kept; `asyncapi.api_updating` while it is being updated, unless
    ///   `force`; ``ConfigurationRejected`` when it does not fit beside the APIs of today; `store_unavailable`.
    package func rollback(api name: String, to version: String?, by principal: Principal?, force: Bool)
        async throws -> (api: DeployedAPI, message: String)
    {
        try await gate.run([name]) {
            try await repeatingOnConflict(name) {
                let target = try await rollbackTarget(of: name, wanted: version)
                return try await gate.run(Self.sharedKeys(of: [target.specification])) {
                    try await rollBack(name, to: target, by: principal, force: force)
                }
            }
        }
    }

    private func rollbackTarget(of name: String, wanted: String?) async throws -> DeployedAPI {
        guard let present = try await store.deployedAPIs().first(where: { $0.name == name }) else {
            throw PlatformError.unknownAPI(name)
        }
        return try RollbackPlan.target(of: present, among: try await store.versions(of: name), wanted: wanted)
    }

    /// - Returns: `nil` when another version became present meanwhile.
    private func rollBack(_ name: String, to target: DeployedAPI, by principal: Principal?, force: Bool)
        async throws -> (api: DeployedAPI, message: String)?
    {
        let deployed = try await store.deployedAPIs()
        guard let present = deployed.first(where: { $0.name == name }) else { throw PlatformError.unknownAPI(name) }
        let declaration = Declaration(
            specification: target.specification, submitted: target.submitted, places: nil)
        let (_, problems) = try await examine(
            [declaration], deployed: deployed, fileName: target.fileName, by: principal, links: .refuse)
        try await refuseProblems(of: [declaration], deployed: deployed, fileName: target.fileName, beside: problems)
        let status = await orchestrator.status(api: name)
        let step = try random.withLock {
            try DeployPlan.step(
                for: target.specification, submitted: target.submitted, fileName: target.fileName,
                previous: present, status: status, force: force, now: clock.now(), random: &$0)
        }
        let title = present.specification.title
        switch step {
        case .create(let api), .update(let api):
            guard try await roll(api, replacing: present) else { return nil }
            logger.info(
                "API rolled back", metadata: ["api": "\(name)", "api.id": "\(api.id)", "from": "\(target.id)"])
            return (api, "rolling \(title) back to \(target.id)")
        case .unchanged(let api, _):
            return (api, "\(title) is at \(target.id) already")
        case .refuse(let error):
            throw error
        }
    }
}
