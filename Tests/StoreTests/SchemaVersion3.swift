import Foundation
import GRDB

@testable import StoreSQLite

/// A data directory of version 3 of the schema: that of version 2, with the state of a splitter. Never changed, like
/// `SchemaVersion1`.
enum SchemaVersion3 {
    static func write(to directory: URL) throws {
        try SchemaVersion2.write(to: directory)
        let state = """
            {"format":1,"owners":["a","b"],"rollBack":{"api":"b","weight":10,"reason":"r","since":1800000000000000}}
            """
        let queue = try DatabaseQueue(path: directory.path + "/cortex.sqlite")
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: "ALTER TABLE api ADD COLUMN split BLOB")
            try db.execute(sql: "UPDATE api SET split = ? WHERE name = 'echo'", arguments: [Data(state.utf8)])
            try db.execute(sql: "PRAGMA user_version = 3")
        }
        try queue.close()
    }
}
