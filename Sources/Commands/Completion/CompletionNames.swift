import Client
import Core
import Support
import Wire

/// Names that only the cluster or `cli.yaml` knows. Whatever goes wrong, or takes long, gives no name:
/// somebody is typing, and an error in the middle of a line helps nobody.
struct CompletionNames: Sendable {
    let context: CommandContext
    /// `--env` of the line.
    let environment: String?

    /// Longest time that a key press may take; `CORTEX_COMPLETION_TIMEOUT` says otherwise, in seconds, for a platform
    /// far away.
    private var timeout: Duration {
        let seconds = context.variables["CORTEX_COMPLETION_TIMEOUT"].flatMap(Int.init).map { max(0, min($0, 600)) }
        return seconds.map { .seconds($0) } ?? .milliseconds(1500)
    }
    private static let requestsShown = 50

    func candidates(for names: CompletionRequest.Names) async -> [CompletionRequest.Candidate] {
        await withTaskGroup(of: [CompletionRequest.Candidate].self) { group in
            group.addTask { (try? await find(names)) ?? [] }
            group.addTask {
                // Cancelled once there are names.
                try? await context.clock.sleep(for: timeout)
                return []
            }
            let first = await group.next() ?? []
            group.cancelAll()
            return first
        }
    }

    private func find(_ names: CompletionRequest.Names) async throws -> [CompletionRequest.Candidate] {
        if names == .environments {
            return try context.environments.load().environments.map { .init($0.name, $0.operatorEndpoint) }
        }
        let cluster = try context.environments.load().resolve(environment)
        let now = context.clock.now()
        return try await context.withOperator(cluster) { client in
            switch names {
            case .environments:
                return []
            case .apis:
                return try await client.apis().map { api in
                    let status = api.status.map { "\($0.ready)/\($0.requested) live" } ?? ""
                    return .init(APITable.name(of: api), status)
                }
            case .replicas(let api):
                return try await client.describe(api).status?.replicas?.map {
                    .init($0.id, DescribeView.title(of: $0.state))
                } ?? []
            case .containers(let api):
                return try await client.api(api).spec?.pod.containers.map { .init($0.name, $0.image ?? "") } ?? []
            case .versions(let api):
                return try await client.api(api).apiVersions?.map {
                    .init($0.apiID, "deployed \(Age.since(seconds: $0.lastUpdated, now: now)) ago")
                } ?? []
            case .requests(let api, let statuses):
                let wanted = statuses.isEmpty ? [nil] : statuses.map { RequestStatus(rawValue: $0) }
                var found: [CompletionRequest.Candidate] = []
                for status in wanted {
                    let page = try await client.requests(api, status: status, limit: Self.requestsShown)
                    found += page.requests.map {
                        let age = Age.since(rfc3339: $0.submittedAt, now: now)
                        return .init($0.id.description, "\($0.status.rawValue), \(age) ago")
                    }
                }
                return found
            }
        }
    }
}
