import Core
import Foundation
import GRDB

/// One transaction while it is being written: its SQL, and what follows from it once it is committed.
struct WriteTransaction {
    let db: Database
    let hotPath: HotPathStatements
    /// As it will be after the commit.
    var state: StoreState
    var changes = StoreChanges()
    /// Body files that no row names any more.
    var orphanedFiles: [String] = []
    /// Whether it deletes what must be gone from the disk soon (contract A12, C6).
    var erasesBytes = false

    init(db: Database, hotPath: HotPathStatements, state: StoreState) {
        self.db = db
        self.hotPath = hotPath
        self.state = state
    }

    /// Runs a statement that is prepared once.
    ///
    /// - Returns: how many rows it changed.
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

    /// Counts a request out of the state it leaves.
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
    /// Reads the columns bytes, file and size from `first` on; `nil` when there is no body row.
    init?(_ row: Row, from first: Int) {
        if let name: String = row[first + 1] {
            self = .file(name: name, size: row[first + 2])
        } else if let size: Int64 = row[first + 2] {
            // SQLite may hand an empty blob back as nothing.
            let bytes: Data? = row[first]
            self = .inline(size == 0 ? [] : [UInt8](bytes ?? Data()))
        } else {
            return nil
        }
    }
}
