import Core
import Foundation

/// The machine's memory, in bytes.
struct Memory: Sendable, Hashable {
    var total: Int64
    var available: Int64

    /// Blocking.
    static func present() -> Memory {
        let data = FileManager.default.contents(atPath: "/proc/meminfo") ?? Data()
        return Memory(meminfo: String(decoding: data, as: UTF8.self))
    }

    /// `Name:   123 kB` lines. What is missing counts as plenty: better than a pod that never starts.
    init(meminfo: String) {
        var values: [Substring: Int64] = [:]
        for line in meminfo.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count > 1, let value = Int64(words[1]) { values[words[0]] = value * 1024 }
        }
        self.total = values["MemTotal:"] ?? .max
        self.available = values["MemAvailable:"] ?? .max
    }

    /// What a pod asks for.
    static func wanted(_ plan: PodPlan) -> Int64 {
        plan.containers.reduce(0) { $0 + ($1.compute.mem?.whole ?? 0) }
    }

    /// `mem` is what must be free to start: now, and beside what other pods were promised.
    func check(_ plan: PodPlan, reserved: Int64) throws {
        let wanted = Self.wanted(plan)
        let free = min(available, total - reserved)
        guard wanted > 0, wanted > free else { return }
        throw PlatformError(
            .unavailable,
            "The pod asks for \(wanted >> 20) MiB of memory, of which \(max(0, free) >> 20) MiB are free here.")
    }
}
