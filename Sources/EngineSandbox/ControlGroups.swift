import Core
import Foundation

/// Where this process may make control groups, found by trying.
struct ControlGroups: Sendable, Hashable {
    /// Most processes and threads of a container.
    static let processes = 4096

    /// Folder in which groups are made, by controller; the same one for all in version 2.
    var parents: [String: String] = [:]
    var isUnified = false

    var hasMemory: Bool { parents["memory"] != nil }
    var hasCPU: Bool { parents["cpu"] != nil }

    /// Where a container's group will be; `nil` where none can be made.
    func group(_ name: String) -> ControlGroup? {
        let folders = Set(parents.values).map { "\($0)/cortex-\(name)" }.sorted()
        guard !folders.isEmpty else { return nil }
        let memory = parents["memory"].map { "\($0)/cortex-\(name)" }
        let events = isUnified ? "/memory.events" : "/memory.oom_control"
        return ControlGroup(folders: folders, oomFile: memory.map { $0 + events } ?? "")
    }

    /// Makes a container's group with its limits. Blocking.
    ///
    /// - Throws: `engine_unavailable` when a limit that was asked for cannot be set; nothing is left then.
    func make(_ name: String, _ compute: Compute) throws -> ControlGroup? {
        guard let group = group(name) else { return nil }
        do {
            for folder in group.folders where mkdir(folder, 0o755) < 0 && errno != EEXIST {
                throw PlatformError(
                    .engineUnavailable, "A control group cannot be made: \(String(cString: strerror(errno))).")
            }
            for (file, value) in settings(name, compute) { try Self.write(value, to: file) }
        } catch {
            group.remove()
            throw error
        }
        return group
    }

    /// What is written where.
    private func settings(_ name: String, _ compute: Compute) -> [(file: String, value: String)] {
        var settings: [(String, String)] = []
        func set(_ controller: String, _ file: String, _ value: String) {
            if let parent = parents[controller] { settings.append(("\(parent)/cortex-\(name)/\(file)", value)) }
        }
        if let bytes = compute.mem?.whole {
            set("memory", isUnified ? "memory.max" : "memory.limit_in_bytes", String(bytes))
            // The limit is on memory, not on memory and as much swap as there is.
            set(
                "memory", isUnified ? "memory.swap.max" : "memory.memsw.limit_in_bytes", isUnified ? "0" : String(bytes)
            )
        }
        if let milli = compute.cpu?.milli {
            let shares = min(max(2, milli * 1024 / 1000), 262_144)
            // The kernel's own conversion of shares (2…262144) to weight (1…10000).
            let weight = 1 + (shares - 2) * 9999 / 262_142
            set("cpu", isUnified ? "cpu.weight" : "cpu.shares", String(isUnified ? weight : shares))
        }
        set("pids", "pids.max", String(Self.processes))
        return settings
    }

    private static func write(_ value: String, to file: String) throws {
        // Swap accounting is missing on kernels without swap support; then there is no swap to limit.
        let isSwap = file.hasSuffix("memory.swap.max") || file.hasSuffix("memory.memsw.limit_in_bytes")
        guard access(file, F_OK) == 0 || !isSwap else { return }
        let descriptor = open(file, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw PlatformError(.engineUnavailable, "A limit cannot be set: \(String(cString: strerror(errno))).")
        }
        defer { close(descriptor) }
        let bytes = Array(value.utf8)
        guard Foundation.write(descriptor, bytes, bytes.count) == bytes.count else {
            throw PlatformError(.engineUnavailable, "A limit cannot be set: \(String(cString: strerror(errno))).")
        }
    }
}
