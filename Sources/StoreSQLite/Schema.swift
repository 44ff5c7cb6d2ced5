import Core
import GRDB

/// The tables, as a list of steps that is only extended: step n creates version n from version n - 1.
enum Schema {
    /// `CRTX`: marks the file as a store of Cortex.
    static let applicationID: Int32 = 0x4352_5458

    static let migrations: [String] = [version1, version2, version3]

    static var latest: Int { migrations.count }

    static var newerVersion: PlatformError {
        PlatformError(
            .storeCorrupt,
            "The store in the data directory was written by a newer cortex; nothing was changed. Use that version, or choose another directory with --data-dir."
        )
    }

    static func version(_ db: Database) throws -> Int {
        try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    }

    static func checkIdentity(_ db: Database) throws {
        guard try Int32.fetchOne(db, sql: "PRAGMA application_id") == applicationID else {
            throw PlatformError(
                .storeCorrupt,
                "The database in the data directory belongs to another program. Choose another directory with --data-dir."
            )
        }
    }

    /// Migrates the file to the last version, each step in its own transaction with its number.
    static func migrate(_ db: Database, migrations: [String] = migrations) throws {
        let present = try version(db)
        guard present <= migrations.count else { throw newerVersion }
        for number in present..<migrations.count {
            try db.inTransaction(.immediate) {
                try db.execute(sql: migrations[number])
                try db.execute(sql: "PRAGMA user_version = \(number + 1)")
                return .commit
            }
        }
    }

    /// Bodies may be in segments (``SegmentPlace``), whose files an older release would treat as leftovers and remove.
    /// The tables are not changed.
    private static let version2 = "SELECT 1"

    /// The state of a TrafficSplitter's present version, as a `SplitStateRecord`.
    private static let version3 = "ALTER TABLE api ADD COLUMN split BLOB"

    /// Requests have the key (api, id): ids grow with time, so inserts append, and a list of an API is a range of the
    /// key. The data of callers and containers is in separate tables, see ``BodyLog``. States are those of
    /// ``StoredState``; each index contains only its rows. Times are microseconds since 1970.
    private static let version1 = """
        CREATE TABLE api (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT UNIQUE,
            deployed INTEGER NOT NULL,
            closing INTEGER NOT NULL DEFAULT 0,
            replicas INTEGER
        ) STRICT;
        CREATE TABLE version (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            api INTEGER NOT NULL,
            id TEXT NOT NULL,
            document BLOB NOT NULL,
            UNIQUE (api, id)
        ) STRICT;
        CREATE TABLE request (
            api INTEGER NOT NULL,
            id BLOB NOT NULL,
            state INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            token INTEGER NOT NULL DEFAULT 0,
            submitted_at INTEGER NOT NULL,
            not_before INTEGER,
            deadline INTEGER,
            lease_end INTEGER,
            holder BLOB,
            ended_at INTEGER,
            purge_at INTEGER,
            keep_until INTEGER,
            key TEXT,
            payload INTEGER,
            answer INTEGER,
            PRIMARY KEY (api, id)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX request_queue ON request (api, id) WHERE state = 0;
        CREATE INDEX request_waiting ON request (api, not_before) WHERE state = 5;
        CREATE INDEX request_leased ON request (lease_end) WHERE state = 1;
        CREATE INDEX request_failed ON request (api, id) WHERE state = 3;
        CREATE INDEX request_cancelled ON request (api, id) WHERE state = 4;
        CREATE INDEX request_deadline ON request (deadline) WHERE deadline IS NOT NULL;
        CREATE INDEX request_purge ON request (purge_at) WHERE purge_at IS NOT NULL;
        CREATE INDEX request_keep ON request (keep_until) WHERE keep_until IS NOT NULL;
        CREATE TABLE payload (
            number INTEGER PRIMARY KEY,
            api INTEGER,
            id BLOB,
            head BLOB,
            bytes BLOB,
            file TEXT,
            size INTEGER
        ) STRICT;
        CREATE INDEX payload_file ON payload (file) WHERE file IS NOT NULL;
        CREATE TABLE answer (
            number INTEGER PRIMARY KEY,
            api INTEGER,
            id BLOB,
            head BLOB,
            bytes BLOB,
            file TEXT,
            size INTEGER
        ) STRICT;
        CREATE INDEX answer_file ON answer (file) WHERE file IS NOT NULL;
        CREATE TABLE idempotency (
            api INTEGER NOT NULL,
            key TEXT NOT NULL,
            fingerprint BLOB NOT NULL,
            id BLOB NOT NULL,
            PRIMARY KEY (api, key)
        ) STRICT, WITHOUT ROWID;
        """
}

/// A request's status in its row. `waiting` is shown as `in_queue`, but its retry time has not come.
enum StoredState: Int {
    case queued = 0
    case inProgress = 1
    case completed = 2
    case failed = 3
    case cancelled = 4
    case waiting = 5

    /// The states that are not final.
    static let open: [StoredState] = [.queued, .inProgress, .waiting]

    var status: RequestStatus {
        switch self {
        case .queued, .waiting: .inQueue
        case .inProgress: .inProgress
        case .completed: .completed
        case .failed: .failed
        case .cancelled: .cancelled
        }
    }
}
