import Core
import GRDB

/// The tables, as a list of steps that is only extended: step n creates version n from version n - 1.
enum Schema {
    /// `CRTX`: marks the file as a store of Cortex.
    static let applicationID: Int32 = 0x4352_5458

    static let migrations: [String] = [version1, version2, version3, version4]

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

    /// Jobs. Each has a row in `api` with the name of its hidden queue, whose number is the number of the job; `owner`
    /// is the number of its API. Its batches are the requests of that queue: `items` is their number of items, 0 for
    /// the call after the last batch, NULL for requests of an API. A batch that succeeded has only rows in `outcome`.
    ///
    /// What callers and containers wrote is in ``BodyLog`` rows, also texts, because rows of other tables move: see
    /// ``LogOwner``. `payload` of a job has its submission and its version, `answer` its changing part. A job without a
    /// row here is staged.
    private static let version4 = """
        ALTER TABLE api ADD COLUMN owner INTEGER;
        CREATE INDEX api_owner ON api (owner) WHERE owner IS NOT NULL;
        CREATE INDEX api_closing ON api (closing) WHERE closing = 1;
        ALTER TABLE request ADD COLUMN items INTEGER;
        CREATE TABLE job (
            number INTEGER PRIMARY KEY,
            api INTEGER NOT NULL,
            id BLOB NOT NULL,
            status TEXT NOT NULL,
            key TEXT,
            fingerprint BLOB,
            schedule TEXT,
            planned_at INTEGER,
            purge_at INTEGER,
            payload INTEGER NOT NULL,
            answer INTEGER NOT NULL,
            batches INTEGER NOT NULL DEFAULT 0,
            open_batches INTEGER NOT NULL DEFAULT 0,
            failed_batches INTEGER NOT NULL DEFAULT 0,
            items INTEGER NOT NULL DEFAULT 0,
            items_succeeded INTEGER NOT NULL DEFAULT 0,
            items_failed INTEGER NOT NULL DEFAULT 0,
            items_cancelled INTEGER NOT NULL DEFAULT 0,
            deliveries_succeeded INTEGER NOT NULL DEFAULT 0,
            deliveries_failed INTEGER NOT NULL DEFAULT 0,
            busy INTEGER NOT NULL DEFAULT 0,
            lines INTEGER NOT NULL DEFAULT 0,
            UNIQUE (api, id)
        ) STRICT;
        CREATE INDEX job_open ON job (number) WHERE purge_at IS NULL;
        CREATE INDEX job_status ON job (api, status, id);
        CREATE INDEX job_purge ON job (purge_at) WHERE purge_at IS NOT NULL;
        CREATE UNIQUE INDEX job_key ON job (api, key) WHERE key IS NOT NULL;
        CREATE UNIQUE INDEX job_planned ON job (api, schedule, planned_at) WHERE planned_at IS NOT NULL;
        CREATE TABLE outcome (
            job INTEGER NOT NULL,
            line INTEGER NOT NULL,
            kind INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            first INTEGER NOT NULL,
            count INTEGER NOT NULL,
            items BLOB,
            answer INTEGER,
            PRIMARY KEY (job, line)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE run (
            number INTEGER PRIMARY KEY,
            job INTEGER NOT NULL,
            worker INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            answer INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX run_job ON run (job, worker, attempt);
        CREATE TABLE job_file (
            number INTEGER PRIMARY KEY,
            job INTEGER NOT NULL,
            kind TEXT NOT NULL,
            worker INTEGER NOT NULL,
            attempt INTEGER NOT NULL,
            answer INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX job_file_job ON job_file (job, kind, worker, attempt);
        CREATE TABLE schedule (
            api INTEGER NOT NULL,
            name TEXT NOT NULL,
            document BLOB NOT NULL,
            PRIMARY KEY (api, name)
        ) STRICT, WITHOUT ROWID;
        """

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
