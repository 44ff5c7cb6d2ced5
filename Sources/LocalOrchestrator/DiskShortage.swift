import Core

/// How much is free on the file system of the data directory, and how much of it is kept for results
/// (`--disk-reserve`). In bytes.
package struct DiskMargin: Sendable, Hashable {
    package var free: Int64
    package var reserve: Int64

    package init(free: Int64, reserve: Int64) {
        self.free = free
        self.reserve = reserve
    }

    /// Below half of the reserve.
    var isCritical: Bool { free < reserve / 2 }

    /// What is free and what is kept, for people.
    var text: String { "\(Self.text(free)) free of a reserve of \(Self.text(reserve))" }

    static func text(_ bytes: Int64) -> String {
        guard bytes >= 1 << 30 else { return "\(bytes >> 20) MiB" }
        let tenths = bytes / (1 << 30) * 10 + bytes % (1 << 30) * 10 / (1 << 30)
        return "\(tenths / 10).\(tenths % 10) GiB"
    }
}

/// Which pod is stopped when the disk is nearly full, and which APIs start no replica afterwards (contract N7).
///
/// It begins below half of the reserve and ends above the whole reserve. What was stopped is not started in between,
/// because it would fill the disk again.
struct DiskShortage: Sendable, Hashable {
    /// A pod that stores less than this part of the reserve is not stopped: its end would free too little to matter.
    private static let leastShare: Int64 = 100

    private(set) var isShort = false
    /// Why a replica was stopped, by API.
    private(set) var reasons: [String: String] = [:]

    /// Takes a measurement into account; `nil` where the space is not known, which changes nothing.
    ///
    /// - Returns: whether the shortage has just ended.
    mutating func note(_ margin: DiskMargin?) -> Bool {
        guard let margin else { return false }
        if margin.isCritical { isShort = true }
        guard isShort, margin.free > margin.reserve else { return false }
        self = DiskShortage()
        return true
    }

    /// The pod that stores most; `nil` while enough is free, or where no pod stores enough to matter.
    ///
    /// A pod that cannot be measured counts as the largest, because containers decide whether their folders can be
    /// read.
    static func victim(of usage: [String: DiskUsage], _ margin: DiskMargin?) -> (id: String, usage: DiskUsage)? {
        guard let margin, margin.isCritical else { return nil }
        let least = margin.reserve / leastShare
        let large = usage.filter { $0.value.size > least }
        // The same pod whatever the order of the table is.
        return large.max { ($0.value.size, $1.key) < ($1.value.size, $0.key) }.map { ($0.key, $0.value) }
    }

    mutating func stopped(api: String, because reason: String) { reasons[api] = reason }

    mutating func forget(api: String) { reasons[api] = nil }
}

extension DiskUsage {
    fileprivate var size: Int64 {
        switch self {
        case .bytes(let bytes): bytes
        case .unknown: .max
        }
    }
}
