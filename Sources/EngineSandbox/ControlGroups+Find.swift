import Foundation

extension ControlGroups {
    static let controllers = ["memory", "cpu", "pids"]

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
        let probe = "\(folder)/cortex-probe-\(UInt64.random(in: .min ... .max))"
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
        String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
    }
}
