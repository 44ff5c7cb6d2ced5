import Core
import Foundation
import GRDB
import Records

/// The meaning of an error of SQLite or of the file system for the caller.
struct StoreFailure {
    let cause: any Error

    init(_ cause: any Error) { self.cause = cause }

    /// A failed system call on one of the store's files.
    struct SystemCall: Error, CustomStringConvertible {
        let name: String
        let code: Int32

        /// Reads `errno` after the failed call.
        init(_ name: String) {
            self.code = errno
            self.name = name
        }

        var description: String { "\(name): \(String(cString: strerror(code)))" }
    }

    enum Kind {
        /// The disk is full, or a quota or file size limit is reached.
        case full
        /// The disk cannot be read or written, or is busy; this may be temporary.
        case unavailable
        case corrupt
        /// An error of the caller or of this program; a retry does not help.
        case fault
    }

    var kind: Kind {
        if let call = cause as? SystemCall {
            switch call.code {
            case ENOSPC, EDQUOT, EFBIG: return .full
            default: return .unavailable
            }
        }
        guard let error = cause as? DatabaseError else { return .fault }
        switch error.resultCode {
        case .SQLITE_FULL: return .full
        case .SQLITE_IOERR, .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_PERM, .SQLITE_BUSY, .SQLITE_LOCKED,
            .SQLITE_NOMEM,
            .SQLITE_PROTOCOL, .SQLITE_INTERRUPT, .SQLITE_ABORT:
            return .unavailable
        case .SQLITE_CORRUPT, .SQLITE_NOTADB: return .corrupt
        default: return .fault
        }
    }

    /// Whether every other write would fail too, so that retrying the items of a batch one by one is pointless.
    var concernsEveryWrite: Bool {
        switch kind {
        case .full, .unavailable, .corrupt: true
        case .fault: false
        }
    }

    /// Whether SQLite could not sync a file.
    var isSync: Bool {
        guard let error = cause as? DatabaseError else { return false }
        return [.SQLITE_IOERR_FSYNC, .SQLITE_IOERR_DIR_FSYNC].contains(error.extendedResultCode)
    }

    /// For callers of a running store.
    var platformError: PlatformError {
        if let error = cause as? PlatformError { return error }
        switch kind {
        case .full:
            return PlatformError(
                .storeUnavailable, "The server's disk is full: nothing was accepted. Free space and try again.",
                cause: cause)
        case .unavailable:
            return PlatformError(
                .storeUnavailable,
                "The server's store cannot be read or written now: nothing was accepted. Try again later.",
                cause: cause)
        case .corrupt:
            return PlatformError(
                .storeUnavailable,
                "The server's store is damaged: nothing was accepted. Stop the server and restore its data directory.",
                cause: cause)
        case .fault:
            return PlatformError(
                .internal, "The store could not carry this out. The server's log says why.", cause: cause)
        }
    }

    /// For the user who starts the platform.
    var whileOpening: PlatformError {
        if let error = cause as? PlatformError { return error }
        if cause is NewerFormat { return Schema.newerVersion }
        switch kind {
        case .full:
            return PlatformError(
                .setup, "The disk of the data directory is full. Free space, or choose another with --data-dir.",
                cause: cause)
        case .unavailable:
            return PlatformError(
                .setup,
                "The data directory cannot be read or written. Check its permissions and its disk, or choose another with --data-dir.",
                cause: cause)
        case .corrupt, .fault:
            return PlatformError(
                .storeCorrupt,
                "The store in the data directory is damaged; nothing was changed. Restore it from a backup, or choose another with --data-dir.",
                cause: cause)
        }
    }
}
