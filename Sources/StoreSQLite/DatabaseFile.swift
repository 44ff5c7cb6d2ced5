import CStoreSQLite
import Core
import Foundation
import GRDB
import Logging

/// The database file: checked before SQLite opens it, completed before it gets its name.
struct DatabaseFile {
    let directory: DataDirectory

    init(_ directory: DataDirectory) { self.directory = directory }

    /// Opens the file with all settings and the current version. Only with the lock of the directory.
    func open(
        _ configuration: SQLiteStore.Configuration, migrations: [String] = Schema.migrations, logger: Logger
    ) throws -> DatabasePool {
        // Another part of the process may have opened a database before: then this has no effect and is not needed.
        _ = store_leave_out_statistics()
        try removeUnfinished()
        if try FileHeader.read(directory.database)?.check(latest: migrations.count) == nil { try create() }
        let pool = try DatabasePool(path: directory.database, configuration: settings(configuration))
        let (from, to) = try pool.writeWithoutTransaction { db in
            try Schema.checkIdentity(db)
            let from = try Schema.version(db)
            try Schema.migrate(db, migrations: migrations)
            let to = try Schema.version(db)
            // The version is written into the file's header, where older releases look for it.
            if from != to { _ = try db.checkpoint(.truncate) }
            return (from, to)
        }
        if from != to { logger.info("store migrated", metadata: ["from": "\(from)", "to": "\(to)"]) }
        try pool.writeWithoutTransaction { db in
            // GRDB sets NORMAL while it opens the pool, so this can only be set now, and is read back.
            let wanted = configuration.durability == .full ? 2 : 1
            try db.execute(sql: "PRAGMA synchronous = \(wanted)")
            // A change to the log mode that failed on the disk is reported as done, also when the mode is read
            // afterwards. Without the log a power cut may undo the last commit.
            guard try db.checkpoint(.passive).walFrameCount >= 0 else {
                throw DatabaseError(resultCode: .SQLITE_IOERR, message: "the write-ahead log is not in use")
            }
            guard try Int.fetchOne(db, sql: "PRAGMA synchronous") == wanted,
                try Int.fetchOne(db, sql: "PRAGMA secure_delete") == 1
            else {
                throw PlatformError(
                    .setup, "SQLite does not take the store's safety settings. Install SQLite 3.40 or newer.")
            }
        }
        // SQLite makes the name of its log durable only when it creates the log, and does not report a failure; the log
        // may be that of an earlier start. And the journal of its change to the log mode must not reappear: it would
        // undo pages that were written since.
        try directory.sync()
        return pool
    }

    private func settings(_ configuration: SQLiteStore.Configuration) -> GRDB.Configuration {
        var settings = GRDB.Configuration()
        settings.label = "cortex.store"
        settings.foreignKeysEnabled = false
        settings.busyMode = .timeout(2)
        settings.maximumReaderCount = 4
        settings.persistentReadOnlyConnections = true
        settings.prepareDatabase { db in
            try db.execute(sql: "PRAGMA temp_store = MEMORY")
            guard !db.configuration.readonly else { return }
            try db.execute(sql: "PRAGMA secure_delete = ON")
            try db.execute(sql: "PRAGMA cache_size = -8192")
            try db.execute(sql: "PRAGMA wal_autocheckpoint = 4096")
            if let pages = configuration.maxPages { try db.execute(sql: "PRAGMA max_page_count = \(pages)") }
        }
        return settings
    }

    private func removeUnfinished() throws {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            guard unlink(directory.newDatabase + suffix) == 0 || errno == ENOENT else {
                throw StoreFailure.SystemCall("unlink")
            }
        }
    }

    /// Creates the file under another name and in the plain journal mode, so that a file with the final name always has
    /// its identity in its header.
    private func create() throws {
        let descriptor = Glibc.open(directory.newDatabase, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw StoreFailure.SystemCall("create database") }
        Glibc.close(descriptor)
        let queue = try DatabaseQueue(path: directory.newDatabase)
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA synchronous = FULL")
            try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL")
            try db.execute(sql: "PRAGMA application_id = \(Schema.applicationID)")
            try Schema.migrate(db)
        }
        try queue.close()
        guard rename(directory.newDatabase, directory.database) == 0 else { throw StoreFailure.SystemCall("rename") }
        try directory.sync()
    }
}
