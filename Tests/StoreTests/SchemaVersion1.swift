import Core
import Foundation
import GRDB
import Records

@testable import StoreSQLite

/// A data directory of version 1 of the schema. Never changed: a change would hide that an old file cannot be opened
/// any more. Only the two documents in it are those of the current code: their form is defined in `Core`.
enum SchemaVersion1 {
    static func id(_ number: Int) -> RequestID {
        let bytes = [UInt8](repeating: 0, count: 6) + [0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, UInt8(number)]
        return RequestID(bytes: bytes) ?? sampleID(number)
    }

    static func write(to directory: URL) throws {
        let blobs = directory.appending(path: "blobs")
        try FileManager.default.createDirectory(at: blobs, withIntermediateDirectories: true)
        try Data("in a file".utf8).write(to: blobs.appending(path: "1-1"))
        let queue = try DatabaseQueue(path: directory.path + "/cortex.sqlite")
        try queue.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA application_id = 1129469016")
            try db.execute(sql: tables)
            try db.execute(sql: rows)
            let specification = APISpecification.async(
                name: "echo", networking: .init(endpoint: "/echo"), pod: .init(containers: [.init(name: "main")]))
            let api = DeployedAPI(
                specification: specification, id: "echo-1", specID: "s", podID: "p", deploymentID: "d",
                initialDeployment: sampleStart, lastUpdated: sampleStart)
            // Version 1 wrote no format.
            let record = try JSONCoding.encode(DeployedAPIRecord(api))
            var document = try JSONSerialization.jsonObject(with: record) as? [String: Any]
            document?["format"] = nil
            try db.execute(
                sql: "INSERT INTO version (api, id, document) VALUES (1, 'echo-1', ?)",
                arguments: [try JSONSerialization.data(withJSONObject: document ?? [:])])
            var head = FailureHead()
            head.failure = RequestFailure(.timeout, "late")
            head.failures = [AttemptFailure(at: sampleStart, failure: RequestFailure(.timeout, "late"))]
            try db.execute(
                sql: "INSERT INTO answer (number, api, id, head) VALUES (2, 1, ?, ?)",
                arguments: [id(4).data, try JSONCoding.encode(head)])
            try db.execute(sql: "PRAGMA user_version = 1")
            _ = try String.fetchOne(db, sql: "PRAGMA journal_mode = WAL")
        }
        try queue.close()
    }

    private static let tables = """
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

    /// One request in each state: queued, in progress, completed, failed, cancelled, waiting for its retry.
    private static let rows = """
        INSERT INTO api (number, name, deployed) VALUES (1, 'echo', 1);
        INSERT INTO request (api, id, state, submitted_at, payload)
            VALUES (1, x'00000000000070008000000000000001', 0, 1800000000000000, 1);
        INSERT INTO request (api, id, state, token, submitted_at, lease_end, holder, payload)
            VALUES (1, x'00000000000070008000000000000002', 1, 7, 1800000000000000, 1800000030000000, x'68', 2);
        INSERT INTO request (api, id, state, attempts, token, submitted_at, ended_at, purge_at, answer)
            VALUES (1, x'00000000000070008000000000000003', 2, 1, 1, 1800000000000000, 1800000000000000, 1900000000000000, 1);
        INSERT INTO request (api, id, state, attempts, token, submitted_at, ended_at, purge_at, keep_until, payload, answer)
            VALUES (1, x'00000000000070008000000000000004', 3, 1, 1, 1800000000000000, 1800000000000000, 1900000000000000,
                1900000000000000, 3, 2);
        INSERT INTO request (api, id, state, submitted_at, ended_at, purge_at)
            VALUES (1, x'00000000000070008000000000000005', 4, 1800000000000000, 1800000000000000, 1900000000000000);
        INSERT INTO request (api, id, state, attempts, token, submitted_at, not_before, payload)
            VALUES (1, x'00000000000070008000000000000006', 5, 1, 1, 1800000000000000, 1800000500000000, 4);
        INSERT INTO payload (number, api, id, head, bytes, size)
            VALUES (1, 1, x'00000000000070008000000000000001',
                x'010100000003713D3100000001610000000162', CAST('payload' AS BLOB), 7);
        INSERT INTO payload (number, api, id, head, bytes, size)
            VALUES (2, 1, x'00000000000070008000000000000002', x'0100', x'', 0);
        INSERT INTO payload (number, api, id, head, bytes, size)
            VALUES (3, 1, x'00000000000070008000000000000004', x'0100', x'00FF', 2);
        INSERT INTO payload (number, api, id, head, file, size)
            VALUES (4, 1, x'00000000000070008000000000000006', x'0100', '1-1', 9);
        INSERT INTO answer (number, api, id, bytes, size)
            VALUES (1, 1, x'00000000000070008000000000000003', CAST('{}' AS BLOB), 2);
        INSERT INTO idempotency (api, key, fingerprint, id) VALUES (1, 'key', x'01', x'00000000000070008000000000000001');
        """
}
