import Foundation
import GRDB

@testable import StoreSQLite

/// A data directory of version 4 of the schema: that of version 3, with a job. Its first batch succeeded, its second
/// failed, its third waits. Never changed, like `SchemaVersion1`.
enum SchemaVersion4 {
    static func write(to directory: URL) throws {
        try SchemaVersion3.write(to: directory)
        let queue = try DatabaseQueue(path: directory.path + "/cortex.sqlite")
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: tables)
            let owner = try Int64.fetchOne(db, sql: "SELECT number FROM api WHERE name = 'echo'") ?? 0
            let version = try Data.fetchOne(db, sql: "SELECT document FROM version WHERE api = ?", arguments: [owner])
            let payload = (try Int64.fetchOne(db, sql: "SELECT max(number) FROM payload") ?? 0) + 1
            let answer = (try Int64.fetchOne(db, sql: "SELECT max(number) FROM answer") ?? 0) + 1
            try db.execute(
                sql: "INSERT INTO api (number, name, deployed, owner) VALUES (77, 'b-\(job)', 0, ?)", arguments: [owner]
            )
            let rows: [(table: String, number: Int64, id: Data, head: Data, bytes: Data?)] = [
                ("payload", payload, owners[0], Data(submission.utf8), version),
                ("payload", payload + 1, batch(1), place(1, 3..<6), Data("[3,4,5]".utf8)),
                ("payload", payload + 2, batch(2), place(2, 6..<7), Data("[6]".utf8)),
                ("answer", answer, owners[0], Data(#"{"format":1,"isInputComplete":true,"runningSince":5}"#.utf8), nil),
                ("answer", answer + 1, owners[1], Data(), Data("[0,1,2]".utf8)),
                ("answer", answer + 2, owners[2], Data(failure.utf8), nil),
                ("answer", answer + 3, batch(1), Data(failure.utf8), nil),
            ]
            for row in rows {
                try db.execute(
                    sql: "INSERT INTO \(row.table) (number, api, id, head, bytes, size) VALUES (?, 77, ?, ?, ?, ?)",
                    arguments: [row.number, row.id, row.head.isEmpty ? nil : row.head, row.bytes, row.bytes?.count])
            }
            try db.execute(
                sql: """
                    INSERT INTO job (number, api, id, status, payload, answer, batches, open_batches, failed_batches, items,
                        items_succeeded, items_failed, deliveries_succeeded, deliveries_failed, busy, lines)
                    VALUES (77, ?1, ?2, 'running', ?3, ?4, 3, 1, 1, 7, 3, 3, 1, 1, 1000, 2);
                    """, arguments: [owner, id, payload, answer])
            try db.execute(
                sql: """
                    INSERT INTO request (api, id, state, attempts, submitted_at, ended_at, keep_until, payload, answer, items)
                    VALUES (77, ?, 3, 1, 5, 6, 9000000000000000, ?, ?, 3)
                    """, arguments: [batch(1), payload + 1, answer + 3])
            try db.execute(
                sql: "INSERT INTO request (api, id, state, submitted_at, payload, items) VALUES (77, ?, 0, 5, ?, 1)",
                arguments: [batch(2), payload + 2])
            try db.execute(
                sql: """
                    INSERT INTO outcome (job, line, kind, attempts, first, count, answer)
                    VALUES (77, 1, 1, 1, 0, 3, ?), (77, 2, 2, 1, 3, 3, ?)
                    """, arguments: [answer + 1, answer + 2])
            try db.execute(sql: "PRAGMA user_version = 4")
        }
        try queue.close()
    }

    static let job = "01a31d9b-0001-7000-8000-000000000001"
    private static let id = Data([0x01, 0xA3, 0x1D, 0x9B, 0x00, 0x01, 0x70, 0x00, 0x80, 0, 0, 0, 0, 0, 0, 1])
    /// Of the job, and of its first two lines.
    private static let owners = [
        Data(count: 16), Data([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
        Data([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]),
    ]
    private static let submission =
        #"{"batch":{"batchSize":3},"config":"{}","createdAt":5,"format":1,"workers":2}"#
    private static let failure =
        #"{"failure":{"kind":"timeout","message":"late"},"failures":[],"format":1}"#

    private static func batch(_ index: UInt8) -> Data {
        id.prefix(8) + Data([0x80, 0, 0, 1, 0, 0, 0, index])
    }

    private static func place(_ index: UInt8, _ items: Range<UInt8>) -> Data {
        Data([2, 0, 0, 0, 0, 0, 0, 0, index]) + Data([0, 0, 0, 0, 0, 0, 0, items.lowerBound])
            + Data([0, 0, 0, 0, 0, 0, 0, items.upperBound])
    }

    private static let tables = """
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
}
