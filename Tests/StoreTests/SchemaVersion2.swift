import Foundation
import GRDB

@testable import StoreSQLite

/// A data directory of version 2 of the schema: that of version 1, with a body in a segment. Never changed, like
/// `SchemaVersion1`.
enum SchemaVersion2 {
    static let segment = "5f-1.bodies"

    static func write(to directory: URL) throws {
        try SchemaVersion1.write(to: directory)
        let blobs = directory.appending(path: "blobs")
        try FileManager.default.removeItem(at: blobs.appending(path: "1-1"))
        var bytes = Data("leftover".utf8)
        bytes.append(Data(count: 4096 - bytes.count))
        bytes.append(Data("in a segment".utf8))
        bytes.append(Data(count: 2 * 4096 - bytes.count))
        try bytes.write(to: blobs.appending(path: segment))
        let queue = try DatabaseQueue(path: directory.path + "/cortex.sqlite")
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: "UPDATE payload SET file = '5f-1+1000+c', size = 12 WHERE number = 4")
            try db.execute(sql: "PRAGMA user_version = 2")
        }
        try queue.close()
    }
}
