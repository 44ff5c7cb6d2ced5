import Core
import Foundation
import LocalOrchestrator
import Logging
import ServiceLifecycle
import Support
import Synchronization

/// The disk space that is reserved for results (contract N7, `--disk-reserve`).
package struct DiskReserve: Sendable, Hashable {
    private enum Amount: Hashable {
        case bytes(Int64)
        case percent(Int64)
        /// The larger of 1 GiB and 5 %.
        case standard
    }

    private let amount: Amount

    package static let standard = DiskReserve(amount: .standard)

    private init(amount: Amount) { self.amount = amount }

    /// A size such as `2Gi`, `500M` or a number of bytes, or a share such as `10%`; `nil` for anything else.
    package init?(_ text: String) {
        if text.hasSuffix("%") {
            guard let percent = Int64(text.dropLast()), (0...99).contains(percent) else { return nil }
            self.amount = .percent(percent)
        } else {
            // Other common spellings: 2GiB, 2GB.
            let size = text.hasSuffix("B") ? String(text.dropLast()) : text
            guard let quantity = Quantity(size), quantity.milli >= 0 else { return nil }
            self.amount = .bytes(quantity.milli / 1000)
        }
    }

    /// The reserve on a disk of `total` bytes; `nil` if its size is not known.
    package func bytes(of total: Int64?) -> Int64 {
        switch amount {
        case .bytes(let bytes): bytes
        case .percent(let percent): (total ?? 0) / 100 * percent
        case .standard: max(1 << 30, (total ?? 0) / 20)
        }
    }
}

/// Free and total bytes of a file system.
package struct DiskSpace: Sendable, Hashable {
    package var free: Int64
    package var total: Int64

    init(free: Int64, total: Int64) {
        self.free = free
        self.total = total
    }

    /// Measures the file system of a path, or of its nearest existing folder; `nil` if it does not answer. Blocks.
    package init?(near path: String) {
        var information = statvfs()
        guard statvfs(Self.nearest(path), &information) == 0 else { return nil }
        func bytes(_ blocks: some BinaryInteger) -> Int64 {
            Int64(clamping: UInt64(blocks).multipliedReportingOverflow(by: UInt64(information.f_frsize)).partialValue)
        }
        self.init(free: bytes(information.f_bavail), total: bytes(information.f_blocks))
    }

    /// The path, or its nearest existing folder.
    package static func nearest(_ path: String) -> String {
        var url = URL(fileURLWithPath: path).standardizedFileURL
        while url.path != "/", !FileManager.default.fileExists(atPath: url.path) { url.deleteLastPathComponent() }
        return url.path
    }

    /// A number of bytes for people, such as `12.5 GiB`.
    package static func gigabytes(_ bytes: Int64) -> String {
        let tenths = bytes * 10 / (1 << 30)
        return "\(tenths / 10).\(tenths % 10) GiB"
    }
}

/// Measures the free space every second and returns how much of it submissions may use (contract N7). May be used from
/// any task.
///
/// The disk with the least space above its reserve counts for submissions; for pods only the first one counts, because
/// they store nothing elsewhere.
final class DiskWatch: Service {
    static let period: Duration = .seconds(1)
    /// After this time without an answer of the file system the last measurement stays valid.
    private static let timeLimit: Duration = .seconds(5)

    private let reserve: DiskReserve
    private let clock: any PlatformClock
    private let logger: Logger
    private let readDisks: @Sendable () async throws -> [DiskSpace]
    /// Above the reserve. Read at every submission.
    private let spareBytes = Atomic<Int64>(.max)
    /// The disk that counts for submissions, and the first one.
    private let last = Mutex<(least: DiskSpace, first: DiskSpace)?>(nil)
    private let failed = Atomic<Bool>(false)

    /// - Parameter readDisks: measures the disks; if it throws, the last measurement stays valid.
    init(
        reserve: DiskReserve, clock: any PlatformClock, logger: Logger,
        readDisks: @escaping @Sendable () async throws -> [DiskSpace]
    ) {
        self.reserve = reserve
        self.clock = clock
        self.logger = logger
        self.readDisks = readDisks
    }

    /// Watches the disks of these folders; the data directory comes first.
    convenience init(reserve: DiskReserve, folders: [String], clock: any PlatformClock, logger: Logger) {
        self.init(reserve: reserve, clock: clock, logger: logger) {
            try await withTimeLimit(Self.timeLimit, clock: clock) {
                try await BlockingPool.checks.run {
                    try folders.map { folder in
                        guard let space = DiskSpace(near: folder) else {
                            throw PlatformError(.setup, "The free space of \(folder) cannot be measured.")
                        }
                        return space
                    }
                }
            }
        }
    }

    /// Bytes that submissions may use; 0 below the reserve. Needs no system call.
    var spare: Int64 { spareBytes.load(ordering: .relaxed) }

    /// The last measurement and the reserve, for people; `nil` before the first one.
    var state: (space: DiskSpace, reserve: Int64)? {
        last.withLock { $0?.least }.map { ($0, reserve.bytes(of: $0.total)) }
    }

    /// The space on the disk of the data directory; `nil` if it is not known at the moment.
    var pods: DiskMargin? {
        guard !hasFailed, let space = last.withLock({ $0?.first }) else { return nil }
        return DiskMargin(free: space.free, reserve: reserve.bytes(of: space.total))
    }

    /// Whether the last measurement failed.
    var hasFailed: Bool { failed.load(ordering: .relaxed) }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            repeat { await self.measure() } while (try? await self.clock.sleep(for: Self.period)) != nil
        }
    }

    func measure() async {
        // Unknown is not zero: the last measurement stays valid.
        guard let spaces = try? await readDisks(), let first = spaces.first,
            let space = spaces.min(by: { above($0) < above($1) })
        else { return failed.store(true, ordering: .relaxed) }
        failed.store(false, ordering: .relaxed)
        let spare = max(0, above(space))
        let before = spareBytes.exchange(spare, ordering: .relaxed)
        last.withLock { $0 = (space, first) }
        let reserve = reserve.bytes(of: space.total)
        guard (before == 0) != (spare == 0) else { return }
        if spare == 0 {
            logger.error(
                "free space is below the reserve: submissions are refused, results are still stored",
                metadata: ["free": "\(space.free)", "reserve": "\(reserve)"])
        } else {
            logger.notice("submissions are accepted again", metadata: ["free": "\(space.free)"])
        }
    }

    /// Bytes above the reserve; negative below it.
    private func above(_ space: DiskSpace) -> Int64 { space.free - reserve.bytes(of: space.total) }
}
