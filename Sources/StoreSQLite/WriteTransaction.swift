import Core
import Foundation
import GRDB

/// A transaction while it is written: its SQL, and the effects that follow its commit.
struct WriteTransaction {
    let db: Database
    let hotPath: HotPathStatements
    /// The state after the commit.
    var state: StoreState
    var changes = StoreChanges()
    /// Body files that no row names any more.
    var orphanedFiles: [String] = []
    /// Whether it deletes data that must be removed from the disk soon (contract A12, C6).
    var erasesBytes = false
    /// Open jobs whose counts changed; they are written once, before the commit.
    var countedJobs: Set<RequestID> = []

    init(db: Database, hotPath: HotPathStatements, state: StoreState) {
        self.db = db
        self.hotPath = hotPath
        self.state = state
    }

    /// Runs a statement that is prepared once.
    ///
    /// - Returns: the number of changed rows.
    @discardableResult
    func run(_ sql: String, _ arguments: StatementArguments) throws -> Int {
        let statement = try db.cachedStatement(sql: sql)
        statement.setUncheckedArguments(arguments)
        try statement.execute()
        return db.changesCount
    }

    /// All rows of a statement that is prepared once.
    func rows(_ sql: String, _ arguments: StatementArguments) throws -> [Row] {
        try Row.fetchAll(try db.cachedStatement(sql: sql), arguments: arguments)
    }

    func row(_ sql: String, _ arguments: StatementArguments) throws -> Row? {
        try Row.fetchOne(try db.cachedStatement(sql: sql), arguments: arguments)
    }

    mutating func count(_ api: StoredAPI, inQueue: Int = 0, inProgress: Int = 0) {
        state.counts[api.number, default: QueueCounts()].inQueue += inQueue
        state.counts[api.number, default: QueueCounts()].inProgress += inProgress
    }

    /// Removes a request from the count of its previous state.
    mutating func countOut(_ api: StoredAPI, of old: StoredState) {
        switch old.status {
        case .inQueue: count(api, inQueue: -1)
        case .inProgress: count(api, inProgress: -1)
        case .completed, .failed, .cancelled: break
        }
    }
}

extension RequestID {
    var data: Data { Data(bytes) }

    init(_ data: Data) throws {
        guard let id = RequestID(bytes: data) else { throw RequestHead.Damaged() }
        self = id
    }
}

enum JSONCoding {
    /// The same bytes for the same value, always.
    static func encode(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return try encoder.encode(value)
    }
}

extension Body {
    /// Reads the columns bytes, file and size from `first` on; `nil` if there is no body row.
    init?(_ row: Row, from first: Int) {
        if let name: String = row[first + 1] {
            self = .stored(key: name, size: row[first + 2])
        } else if let size: Int64 = row[first + 2] {
            // SQLite may return a missing address for an empty blob.
            let bytes: Data? = row[first]
            self = .inline(size == 0 ? [] : [UInt8](bytes ?? Data()))
        } else {
            return nil
        }
    }
}
