import CDiskFaults
import Foundation
import Synchronization
import TestSupport

/// A folder in which every file call of SQLite and of the store is recorded, and selected ones fail (`CDiskFaults`).
final class WatchedFolder: Sendable {
    struct Calls: OptionSet, Sendable {
        let rawValue: Int
        static let reading = Calls(rawValue: disk_read)
        static let writing = Calls(
            rawValue: disk_open | disk_create | disk_write | disk_sync | disk_truncate | disk_rename | disk_unlink
                | disk_mkdir | disk_erase)
        /// Calls that need space: a full disk refuses these and accepts the others.
        static let spending = Calls(rawValue: disk_create | disk_write | disk_mkdir)
        static let syncing = Calls(rawValue: disk_sync)
        static let creating = Calls(rawValue: disk_create)
        static let removing = Calls(rawValue: disk_unlink)
        /// Holes.
        static let erasing = Calls(rawValue: disk_erase)
    }

    let path: String
    private let listener: Listener
    private let watch: Int32

    /// - Parameter recording: whether `events` are kept.
    init(_ url: URL, recording: Bool = false) throws {
        self.path = url.path
        self.listener = Listener(recording: recording)
        let context = Unmanaged.passUnretained(listener).toOpaque()
        self.watch = disk_watch(
            url.path,
            { context, event in
                guard let context, let event else { return }
                Unmanaged<Listener>.fromOpaque(context).takeUnretainedValue().hear(event.pointee)
            }, context)
        guard watch >= 0 else { throw CocoaError(.fileReadTooLarge) }
    }

    deinit { disk_unwatch(watch) }

    /// Makes calls fail, by their number from 1 on: `count` of them, or all that follow.
    func fail(_ calls: Calls, from first: Int, count: Int? = nil, code: Int32) {
        disk_fail(watch, Int32(calls.rawValue), first, count ?? .max, code)
    }

    /// Counts calls, none of which fails.
    func count(_ calls: Calls) { disk_fail(watch, Int32(calls.rawValue), .max, 0, 0) }

    /// No call fails any more.
    func heal() { disk_fail(watch, 0, .max, 0, 0) }

    /// The number of calls since `fail` or `count`.
    var calls: Int { disk_calls(watch) }

    var events: [DiskEvent] { listener.state.withLock { $0.events } }
    var eventCount: Int { listener.state.withLock { $0.events.count } }

    /// The first call that failed, for reports.
    var firstFailure: String? { listener.state.withLock { $0.firstFailure } }
}

/// An event of a file below a watched folder. `file` is the number of an opened file.
enum DiskEvent: Sendable {
    case opened(file: Int, path: String, isNew: Bool)
    case wrote(file: Int, offset: Int, bytes: Data)
    case truncated(file: Int, length: Int)
    /// A hole was made.
    case erased(file: Int, range: Range<Int>)
    case synced(file: Int)
    /// A sync that returned an error. The system may have dropped the unwritten data.
    case syncFailed(file: Int)
    case renamed(from: String, to: String)
    case unlinked(path: String)
    case madeFolder(path: String)
}

/// Called with the lock of `CDiskFaults`, from any thread.
private final class Listener: Sendable {
    struct State {
        var events: [DiskEvent] = []
        var paths: [Int: String] = [:]
        var firstFailure: String?
    }

    let recording: Bool
    let state = Mutex(State())

    init(recording: Bool) { self.recording = recording }

    func hear(_ event: disk_event) {
        state.withLock { state in
            let kind = Int(event.kind)
            let path = event.path.map { String(cString: $0) } ?? ""
            if event.error != 0, event.error != ENOENT, event.error != EEXIST, state.firstFailure == nil {
                let name = path.isEmpty ? state.paths[event.file] ?? "" : path
                let last = name.split(separator: "/").last ?? ""
                state.firstFailure = "\(Self.names[kind] ?? "?") \(last): \(String(cString: strerror(event.error)))"
            }
            if event.error == 0, kind == disk_open || kind == disk_create { state.paths[event.file] = path }
            guard recording, let event = Self.event(event, kind, path) else { return }
            state.events.append(event)
        }
    }

    private static func event(_ event: disk_event, _ kind: Int, _ path: String) -> DiskEvent? {
        if event.error != 0 { return kind == disk_sync ? .syncFailed(file: event.file) : nil }
        switch kind {
        case disk_open: return .opened(file: event.file, path: path, isNew: false)
        case disk_create: return .opened(file: event.file, path: path, isNew: true)
        case disk_write:
            guard let bytes = event.bytes, event.length > 0 else { return nil }
            return .wrote(
                file: event.file, offset: Int(event.offset), bytes: Data(bytes: bytes, count: event.length))
        case disk_truncate: return .truncated(file: event.file, length: Int(event.offset))
        case disk_erase:
            let offset = Int(event.offset)
            return .erased(file: event.file, range: offset..<offset + event.length)
        case disk_sync: return .synced(file: event.file)
        case disk_rename: return event.target.map { .renamed(from: path, to: String(cString: $0)) }
        case disk_unlink: return .unlinked(path: path)
        case disk_mkdir: return .madeFolder(path: path)
        default: return nil
        }
    }

    private static let names = [
        disk_open: "open", disk_create: "create", disk_write: "write", disk_sync: "sync", disk_truncate: "truncate",
        disk_rename: "rename", disk_unlink: "unlink", disk_mkdir: "mkdir", disk_read: "read", disk_erase: "erase",
    ]
}
