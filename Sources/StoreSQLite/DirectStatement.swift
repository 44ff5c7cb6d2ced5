import Core
import GRDB
import GRDBSQLite

/// A statement of the hot path: prepared once, then bound, executed and read with SQLite's C interface, without a value
/// object per column.
///
/// Used only on the thread that owns the database connection.
final class DirectStatement {
    /// Finalizes the statement.
    private let owner: Statement
    private let pointer: OpaquePointer

    /// Prepares a statement of `db`.
    init(_ db: Database, _ sql: String) throws {
        self.owner = try db.makeStatement(sql: sql)
        self.pointer = owner.sqliteStatement
    }

    /// A statement that GRDB keeps with its connection.
    init(_ cached: Statement) {
        self.owner = cached
        self.pointer = cached.sqliteStatement
    }

    // MARK: Binding, from 1 on

    func bind(_ position: Int32, _ value: Int64?) {
        if let value { sqlite3_bind_int64(pointer, position, value) } else { sqlite3_bind_null(pointer, position) }
    }

    func bind(_ position: Int32, _ id: RequestID) {
        withUnsafeBytes(of: (id.high.bigEndian, id.low.bigEndian)) { bind(position, $0) }
    }

    func bind(_ position: Int32, _ text: String?) {
        guard var text else {
            sqlite3_bind_null(pointer, position)
            return
        }
        text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { characters in
                _ = sqlite3_bind_text(pointer, position, characters.baseAddress, Int32(characters.count), transient)
            }
        }
    }

    /// Copies the bytes.
    func bind(_ position: Int32, _ bytes: UnsafeRawBufferPointer) {
        // SQLite reads a missing address as NULL.
        if bytes.isEmpty {
            sqlite3_bind_zeroblob(pointer, position, 0)
        } else {
            sqlite3_bind_blob64(pointer, position, bytes.baseAddress, UInt64(bytes.count), transient)
        }
    }

    func bind(_ position: Int32, _ bytes: [UInt8]?) {
        guard let bytes else {
            sqlite3_bind_null(pointer, position)
            return
        }
        bytes.withUnsafeBytes { bind(position, $0) }
    }

    // MARK: Running

    /// Runs the statement to its end.
    func run() throws {
        while try step() {}
    }

    /// Advances to the next row; at the end, the statement can be run again.
    func step() throws -> Bool {
        let code = sqlite3_step(pointer)
        if code == SQLITE_ROW { return true }
        defer { sqlite3_reset(pointer) }
        guard code == SQLITE_DONE else {
            let connection = sqlite3_db_handle(pointer)
            throw DatabaseError(
                resultCode: ResultCode(rawValue: sqlite3_extended_errcode(connection)),
                message: sqlite3_errmsg(connection).map { String(cString: $0) })
        }
        return false
    }

    /// Discards the remaining rows.
    func reset() {
        sqlite3_reset(pointer)
    }

    // MARK: The current row, from 0 on

    func isNull(_ column: Int32) -> Bool { sqlite3_column_type(pointer, column) == SQLITE_NULL }

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(pointer, column) }

    func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

    func text(_ column: Int32) -> String? { sqlite3_column_text(pointer, column).map { String(cString: $0) } }

    /// The bytes of a column, valid during the call; empty for NULL.
    func withBytes<Value>(_ column: Int32, _ body: (UnsafeRawBufferPointer) throws -> Value) rethrows -> Value {
        // The address first, because reading it may convert the value and change its length.
        let address = sqlite3_column_blob(pointer, column)
        return try body(UnsafeRawBufferPointer(start: address, count: Int(sqlite3_column_bytes(pointer, column))))
    }

    func bytes(_ column: Int32) -> [UInt8] { withBytes(column) { [UInt8]($0) } }

    func requestID(_ column: Int32) throws -> RequestID {
        try withBytes(column) { bytes in
            guard bytes.count == 16 else { throw RequestHead.Damaged() }
            return RequestID(
                high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    /// The columns bytes, file and size of a body row; `nil` if there is no body row.
    func body(from first: Int32) -> Body? {
        if let name = text(first + 1) { return .stored(key: name, size: integer(first + 2)) }
        return isNull(first + 2) ? nil : .inline(bytes(first))
    }
}

/// Makes SQLite copy the bound value (`SQLITE_TRANSIENT`, a cast that Swift does not import).
private let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
