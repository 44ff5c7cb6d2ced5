import CLinux
package import Core
import Foundation
import PodInitProtocol
import Records
import Support

/// A pod on disk: everything the engine knows about it, so that another instance can adopt it.
struct PodFolder: Sendable, Hashable {
    /// The content of `pod.json`. It outlives the release that wrote it; the rules are those of ``DeployedAPIRecord``
    /// (architecture decision 13).
    struct Record: Codable, Sendable, Hashable {
        static let format = 1

        var plan: PodPlan
        /// By container.
        var groups: [String: ControlGroup]
        /// The user and group id on the host that its containers run as; `nil`: the platform's own.
        var user: UInt32?
        /// Whether its supervisor stages mounts (``BubblewrapArguments/stages``); `nil` for a pod of an earlier
        /// version.
        var stages: Bool?

        private enum Key: String, CodingKey { case format, plan, groups, user, stages }

        private struct GroupRecord: Codable {
            var folders: [String]
            var oomFile: String
        }

        init(plan: PodPlan, groups: [String: ControlGroup], user: UInt32? = nil, stages: Bool? = nil) {
            self.plan = plan
            self.groups = groups
            self.user = user
            self.stages = stages
        }

        init(from decoder: any Decoder) throws {
            let record = try decoder.container(keyedBy: Key.self)
            try NewerFormat.check(record.decodeIfPresent(Int.self, forKey: .format), latest: Self.format)
            plan = try record.decode(PodPlanRecord.self, forKey: .plan).plan
            groups = try (record.decodeIfPresent([String: GroupRecord].self, forKey: .groups) ?? [:]).mapValues {
                ControlGroup(folders: $0.folders, oomFile: $0.oomFile)
            }
            user = try record.decodeIfPresent(UInt32.self, forKey: .user)
            stages = try record.decodeIfPresent(Bool.self, forKey: .stages)
        }

        func encode(to encoder: any Encoder) throws {
            var record = encoder.container(keyedBy: Key.self)
            try record.encode(Self.format, forKey: .format)
            try record.encode(PodPlanRecord(plan), forKey: .plan)
            try record.encode(
                groups.mapValues { GroupRecord(folders: $0.folders, oomFile: $0.oomFile) }, forKey: .groups)
            try record.encodeIfPresent(user, forKey: .user)
            try record.encodeIfPresent(stages, forKey: .stages)
        }
    }

    /// The result of reading `pod.json`.
    enum Look: Sendable {
        case found(Record)
        /// The folder is gone or was never finished.
        case missing
        /// It exists, but is damaged, of a newer release or not readable now, with the reason. Nothing may be concluded
        /// about the pod.
        case unreadable(String)
    }

    let path: String

    init(directory: String, pod: String) {
        self.path = directory + "/" + pod
    }

    private static let probeName = ".probe-"
    /// The beginning of the names of this process's probe pods.
    private static let ownProbes = probeName + "\(UInt64.random(in: .min ... .max))-"

    /// A new name for a pod that finds out what this machine can do. No pod of an API has such a name.
    static func probe(in directory: String) -> PodFolder {
        PodFolder(directory: directory, pod: ownProbes + String(UInt64.random(in: .min ... .max)))
    }

    /// Whether it belongs to a probe pod that is not being made or removed now.
    var isProbe: Bool { id.hasPrefix(Self.probeName) && !id.hasSuffix(".new") && !id.hasSuffix(".gone") }

    /// Whether an earlier process left this folder of a probe pod. One process at a time uses the data directory, so
    /// that is every probe pod that this process did not make.
    var isProbeOfEarlierProcess: Bool {
        // Half made or half removed, it has one dot more.
        let name = id.hasPrefix("." + Self.probeName) ? id.dropFirst() : isProbe ? id[...] : ""
        return !name.isEmpty && !name.hasPrefix(Self.ownProbes)
    }

    var id: String { String(path.split(separator: "/").last ?? "") }
    var socket: String { path + "/init.sock" }
    var record: String { path + "/pod.json" }
    var shared: String { path + "/mnt" }
    var client: String { path + "/client" }
    /// The texts of ``PodPlan/files``, if there are any.
    var spec: String { path + "/spec" }
    /// What containers write to ``PodPlan/artifactsDirectory``, if the plan asks for it.
    var artifacts: String { path + "/artifacts" }
    var exits: String { "\(path)/\(ExitRecord.fileName)" }
    var system: String { path + "/etc" }
    var logs: String { path + "/logs" }
    var identity: String { path + "/init.pid" }

    func log(_ container: String) -> String { "\(logs)/\(container).log" }
    func temporary(_ container: String) -> String { "\(path)/rw/\(container)/tmp" }
    func home(_ container: String) -> String { "\(path)/rw/\(container)/home" }

    /// Makes the folder with its initial content, in one step: another instance sees all of it or nothing.
    func create(_ record: Record) throws {
        let parts = path.split(separator: "/").dropLast().joined(separator: "/")
        let draft = "/\(parts)/.\(id).new"
        try Self.remove(draft)
        do {
            try fill(draft, record)
            try FileManager.default.moveItem(atPath: draft, toPath: path)
        } catch {
            // Where even this fails, the folder is removed as a leftover.
            try? Self.remove(draft)
            throw error
        }
    }

    private func fill(_ draft: String, _ record: Record) throws {
        let manager = FileManager.default
        for folder in ["mnt", "client/\(PodPlan.clientScratch)", "etc", "logs", "rw"] {
            try manager.createDirectory(
                atPath: "\(draft)/\(folder)", withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        // Inside, other users than this one do not exist; the modes are what programs expect to see.
        try manager.setAttributes([.posixPermissions: 0o755], ofItemAtPath: draft + "/client")
        try manager.setAttributes(
            [.posixPermissions: 0o1777], ofItemAtPath: "\(draft)/client/\(PodPlan.clientScratch)")
        try manager.setAttributes([.posixPermissions: 0o777], ofItemAtPath: draft + "/mnt")
        for file in record.plan.clientFiles {
            try Self.write(file.text, to: "\(draft)/client/\(file.name)", mode: 0o600)
            try Self.give("\(draft)/client/\(file.name)", to: record.user)
        }
        for folder in ["mnt", "client", "client/\(PodPlan.clientScratch)"] {
            try Self.give("\(draft)/\(folder)", to: record.user)
        }
        try fillForWorker(draft, record)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let text = String(decoding: try encoder.encode(record), as: UTF8.self)
        try Self.write(text, to: draft + "/pod.json", mode: 0o600)
    }

    /// The folders that only workers of jobs have.
    private func fillForWorker(_ draft: String, _ record: Record) throws {
        func make(_ path: String, mode: Int) throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
            try Self.give(path, to: record.user)
        }
        if record.plan.hasArtifacts { try make(draft + "/artifacts", mode: 0o777) }
        guard !record.plan.files.isEmpty else { return }
        try make(draft + "/spec", mode: 0o755)
        for file in record.plan.files {
            try Self.write(file.text, to: "\(draft)/spec/\(file.name)", mode: 0o600)
            try Self.give("\(draft)/spec/\(file.name)", to: record.user)
        }
    }

    /// How its containers ended, as its supervisor recorded it. Blocking.
    func readExits() -> [String: ExitRecord] {
        guard let data = FileManager.default.contents(atPath: exits) else { return [:] }
        let records = ExitRecord.parse(String(decoding: data, as: UTF8.self))
        return Dictionary(records.map { ($0.name, $0) }) { _, last in last }
    }

    /// Empty `/tmp` and home for the next start of a container.
    func renew(_ container: String, user: UInt32?) throws {
        try Self.remove("\(path)/rw/\(container)")
        for (folder, mode) in [(temporary(container), 0o1777), (home(container), 0o755)] {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: folder)
            try Self.give(folder, to: user)
        }
    }

    /// Gives a file or folder to the pod's user id, if the pod has its own.
    private static func give(_ path: String, to user: UInt32?) throws {
        guard let user, lchown(path, user, user) < 0 else { return }
        throw PlatformError(
            .engineUnavailable,
            "A pod's files cannot be given to its user id \(user): \(String(cString: strerror(errno))).")
    }

    /// The record; `nil` when it is missing or cannot be read. Code that removes a pod without a record uses
    /// ``look()`` instead.
    func read() -> Record? {
        if case .found(let record) = look() { record } else { nil }
    }

    func look() -> Look {
        let data: Data
        do {
            data = try Data(contentsOf: URL(fileURLWithPath: record))
        } catch {
            return access(record, F_OK) != 0 && errno == ENOENT ? .missing : .unreadable("it cannot be read")
        }
        do {
            return .found(try JSONDecoder().decode(Record.self, from: data))
        } catch let error as NewerFormat {
            return .unreadable("it was written by a newer release: \(error)")
        } catch {
            return .unreadable(data.isEmpty ? "it is empty" : "it is damaged")
        }
    }

    static func write(_ text: String, to path: String, mode: Int) throws {
        guard
            FileManager.default.createFile(
                atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: mode])
        else {
            throw PlatformError(
                .engineUnavailable, "A pod cannot be written to disk: \(String(cString: strerror(errno))).")
        }
    }

    /// Removes everything that containers left in it: folders without permissions, thousands of levels, links.
    static func remove(_ path: String) throws {
        let result = cx_remove_tree(path)
        guard result >= 0 else {
            throw PlatformError(
                .engineUnavailable, "A pod's folder cannot be removed: \(String(cString: strerror(-result))).")
        }
    }
}

/// What pods store in the data directory (contract N7).
extension SandboxEngine {
    /// One pod is measured at a time, on a thread that does nothing else.
    private static let pool = BlockingPool(threads: 1)

    package func artifactsFolder(pod: String) async throws -> String? {
        guard Self.isName(pod) else { return nil }
        let path = folder(pod).artifacts
        return try await blocking { access(path, F_OK) == 0 ? path : nil }
    }

    package func diskUsage(pod: String, limit: Int64, upTo time: Duration?) async throws -> DiskUsage? {
        guard Self.isName(pod) else { return nil }
        let folder = folder(pod)
        return try await Self.pool.run {
            let deadline = time.map { cx_milliseconds() + $0.wholeMicroseconds / 1000 }
            var sum: Int64 = 0
            for path in [folder.shared, folder.path + "/rw", folder.client, folder.artifacts] where sum <= limit {
                if path == folder.artifacts, access(path, F_OK) != 0 { continue }
                let bytes = cx_tree_usage(path, limit - sum, deadline ?? .max)
                guard access(folder.path, F_OK) == 0 else { return nil }
                switch CInt(clamping: -bytes) {
                case ELOOP, EACCES, EPERM: return .unknown
                case 1...:
                    throw PlatformError(
                        .engineUnavailable,
                        "A pod's folder cannot be measured: \(String(cString: strerror(CInt(clamping: -bytes)))).")
                default: sum += bytes
                }
            }
            return .bytes(sum)
        }
    }
}

/// The files of `/etc` that a sandbox has of its own: names, users, and where names are looked up.
enum SystemFiles {
    /// The user that everything in a sandbox runs as.
    static let user = PodInitLimits.user
    static let home = "/home/cortex"

    /// File name → text.
    static func all(hostname: String, network: String) -> [String: String] {
        // The addresses are `PodInit`'s (PodNetwork); where it could make no veth pair it listens on the pod's own
        // loopback.
        let (gateway, operatorAddress) =
            network == "veth" ? ("169.254.77.1", "169.254.77.2") : ("127.0.0.80", "127.0.0.81")
        return [
            "hosts": """
            127.0.0.1 localhost \(hostname)
            ::1 localhost ip6-localhost ip6-loopback
            \(gateway) \(ClusterNames.gateway)
            \(operatorAddress) \(ClusterNames.operatorIngress) \(ClusterNames.operatorService)

            """,
            "hostname": hostname + "\n",
            "nsswitch.conf":
                "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
            "passwd": """
            root:x:0:0:root:/root:/bin/sh
            cortex:x:\(user):\(user):cortex:\(home):/bin/sh
            nobody:x:65534:65534:nobody:/nonexistent:/bin/false

            """,
            "group": "root:x:0:\ncortex:x:\(user):\nnogroup:x:65534:\n",
        ]
    }

    /// A host name has 63 characters at most.
    static func hostname(_ pod: String) -> String { String(pod.suffix(63)) }

    /// Written in place, so that containers that run see it too. Blocking.
    static func write(_ folder: PodFolder, network: String) throws {
        for (name, text) in all(hostname: hostname(folder.id), network: network) {
            try PodFolder.write(text, to: "\(folder.system)/\(name)", mode: 0o644)
        }
    }
}
