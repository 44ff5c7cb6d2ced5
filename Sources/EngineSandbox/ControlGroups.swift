import CLinux
import Core
import Foundation
import Support

/// The folders in which this process can make control groups, found by trying.
struct ControlGroups: Sendable, Hashable {
    /// The most processes and threads of a container.
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

extension ControlGroups {
    private static let controllers = ["memory", "cpu", "pids"]

    /// A mounted hierarchy.
    struct Mount: Hashable {
        var point: String
        /// The part of the hierarchy that is visible here.
        var root: String
        var isUnified: Bool
        var options: Set<String>
    }

    /// Looks at this process's own groups and tries to make one in each. Blocking.
    static func present() -> ControlGroups {
        let mounts = self.mounts(contents("/proc/self/mountinfo"))
        let own = memberships(contents("/proc/self/cgroup"))
        var groups = ControlGroups()
        for controller in controllers {
            guard let mount = mounts.first(where: { !$0.isUnified && $0.options.contains(controller) }) else {
                continue
            }
            let folder = path(own[controller] ?? "/", in: mount)
            if isUsable(folder) { groups.parents[controller] = folder }
        }
        if groups.parents.isEmpty, let mount = mounts.first(where: \.isUnified),
            let folder = delegated(path(own[""] ?? "/", in: mount), top: mount.point)
        {
            groups.isUnified = true
            let available = words(folder + "/cgroup.subtree_control")
            for controller in controllers where available.contains(controller) { groups.parents[controller] = folder }
        }
        return groups
    }

    /// The nearest group above (or at) `folder` whose children have a memory limit, switched on if this process may.
    /// Version 2 allows that only where no process is in the group itself.
    private static func delegated(_ folder: String, top: String) -> String? {
        var folder = folder
        while folder.hasPrefix(top) {
            let available = words(folder + "/cgroup.controllers")
            for controller in controllers where available.contains(controller) {
                try? "+\(controller)".write(
                    toFile: folder + "/cgroup.subtree_control", atomically: false, encoding: .utf8)
            }
            if words(folder + "/cgroup.subtree_control").contains("memory"), isUsable(folder) { return folder }
            guard folder != top, let slash = folder.lastIndex(of: "/") else { return nil }
            folder = String(folder[..<slash])
        }
        return nil
    }

    private static func isUsable(_ folder: String) -> Bool {
        let prefix = "cortex-probe-"
        // A process that was killed here left an empty group. A new one may be another platform's; the names of
        // containers' groups have a point.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        where name.hasPrefix(prefix) && name.dropFirst(prefix.count).allSatisfy(\.isNumber) {
            var found = stat()
            let path = "\(folder)/\(name)"
            if lstat(path, &found) == 0, time(nil) - found.st_mtim.tv_sec > 60 { rmdir(path) }
        }
        let probe = "\(folder)/\(prefix)\(UInt64.random(in: .min ... .max))"
        guard mkdir(probe, 0o755) == 0 else { return false }
        return rmdir(probe) == 0
    }

    /// A group's folder. In a container without a namespace of control groups only a part of the hierarchy is mounted.
    static func path(_ group: String, in mount: Mount) -> String {
        var rest = group
        if mount.root != "/", rest.hasPrefix(mount.root) { rest = String(rest.dropFirst(mount.root.count)) }
        let folder = rest == "/" || rest.isEmpty ? mount.point : mount.point + rest
        return FileManager.default.fileExists(atPath: folder) ? folder : mount.point
    }

    /// `ID:CONTROLLERS:PATH` lines; version 2 has no controllers.
    static func memberships(_ text: String) -> [String: String] {
        var result: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            for controller in fields[1].split(separator: ",", omittingEmptySubsequences: false) {
                result[String(controller)] = String(fields[2])
            }
        }
        return result
    }

    static func mounts(_ text: String) -> [Mount] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard let mark = words.firstIndex(of: "-"), words.count > mark + 3, words.count > 4 else { return nil }
            let kind = words[mark + 1]
            guard kind == "cgroup" || kind == "cgroup2" else { return nil }
            return Mount(
                point: String(words[4]), root: String(words[3]), isUnified: kind == "cgroup2",
                options: Set(words[mark + 3].split(separator: ",").map(String.init)))
        }
    }

    private static func words(_ path: String) -> [String] {
        contents(path).split { $0 == " " || $0 == "\n" }.map(String.init)
    }

    private static func contents(_ path: String) -> String {
        String(decoding: KernelFile.read(path) ?? Data(), as: UTF8.self)
    }
}

/// The control groups of one container: one folder in version 2, one a controller in version 1.
struct ControlGroup: Sendable, Hashable {
    var folders: [String]
    /// The file whose `oom_kill` line counts the processes that the kernel killed for lack of memory.
    var oomFile: String

    var members: [String] { folders.map { $0 + "/cgroup.procs" } }

    /// Kills the processes in it and removes it. It blocks briefly. Processes may take a moment to end; then repeat
    /// the call.
    ///
    /// - Returns: whether it is gone.
    @discardableResult
    func remove() -> Bool {
        var isGone = true
        for folder in folders {
            Self.kill(folder)
            if rmdir(folder) != 0, errno != ENOENT { isGone = false }
        }
        return isGone
    }

    /// Kills the processes of one folder, never another process that has one of their numbers since.
    private static func kill(_ folder: String) {
        // Version 2, Linux 5.14: all at once.
        let descriptor = open(folder + "/cgroup.kill", O_WRONLY | O_CLOEXEC)
        if descriptor >= 0 {
            defer { close(descriptor) }
            if write(descriptor, "1", 1) == 1 { return }
        }
        let text = KernelFile.read(folder + "/cgroup.procs") ?? Data()
        // As at the end of a line in /proc/PID/cgroup.
        let name = "/" + (folder as NSString).lastPathComponent + "\n"
        for word in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            if let process = pid_t(word), process > 1 { _ = cx_kill_in_group(process, name) }
        }
    }
}
