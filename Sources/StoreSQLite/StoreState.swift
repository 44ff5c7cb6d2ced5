import Core
import Foundation
import GRDB
import Records

/// The writer's copy of the last commit in memory: the APIs and the number of open requests of each. With it, counts,
/// policies and the check for work need no SQL. It is correct because this process is the only writer.
struct StoreState: Sendable {
    /// The deployed APIs, and deleted ones whose requests are kept.
    var apis: [String: StoredAPI] = [:]
    /// By the API's number.
    var counts: [Int64: QueueCounts] = [:]
    var payloads = BodyLog(table: .payload)
    var answers = BodyLog(table: .answer)

    init(loading db: Database) throws {
        try payloads.load(db)
        try answers.load(db)
        let rows = try Row.fetchAll(
            db,
            sql: """
                SELECT api.number, api.name, api.deployed, api.closing, api.replicas, version.document FROM api
                JOIN version ON version.sequence = (SELECT max(sequence) FROM version WHERE version.api = api.number)
                WHERE api.name IS NOT NULL
                """)
        for row in rows {
            let name: String = row[1]
            let data: Data = row[5]
            let api = try JSONDecoder().decode(DeployedAPIRecord.self, from: data).api
            apis[name] = StoredAPI(
                number: row[0], isDeployed: row[2], isClosing: row[3], requestedReplicas: row[4], present: api)
        }
        for state in StoredState.open {
            for row in try Row.fetchAll(
                db, sql: "SELECT api, count(*) FROM request WHERE state = \(state.rawValue) GROUP BY api")
            {
                let number: Int64 = row[0]
                let count: Int = row[1]
                if state.status == .inQueue {
                    counts[number, default: QueueCounts()].inQueue += count
                } else {
                    counts[number, default: QueueCounts()].inProgress += count
                }
            }
        }
    }

    func deployed(_ name: String) -> StoredAPI? {
        guard let api = apis[name], api.isDeployed else { return nil }
        return api
    }
}

/// An API's row and its current version.
struct StoredAPI: Sendable {
    var number: Int64
    var isDeployed: Bool
    /// It was deleted, and not all of its open requests are cancelled yet.
    var isClosing: Bool
    var requestedReplicas: Int?
    private let version: Version

    /// A declaration has dozens of members; as an object it is not copied by every request that reads its API.
    private final class Version: Sendable {
        let api: DeployedAPI
        init(_ api: DeployedAPI) { self.api = api }
    }

    init(
        number: Int64, isDeployed: Bool, isClosing: Bool = false, requestedReplicas: Int?, present: DeployedAPI
    ) {
        self.number = number
        self.isDeployed = isDeployed
        self.isClosing = isClosing
        self.requestedReplicas = requestedReplicas
        self.version = Version(present)
    }

    var present: DeployedAPI { version.api }

    var policy: RequestPolicy { version.api.specification.requests }
}
