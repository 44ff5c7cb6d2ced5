import CPodInit
import Core
import Foundation
import Records

/// A pod on disk: everything the engine knows about it, so that another instance can adopt it.
struct PodFolder: Sendable, Hashable {
    /// What stands in `pod.json`. It outlives the release that wrote it; the rules are those of ``DeployedAPIRecord``
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

    /// What a look at `pod.json` found.
    enum Look: Sendable {
        case found(Record)
        /// The folder is gone or was never finished.
        case missing
        /// It is there, but damaged, of a newer release or not readable now: nothing may be concluded about the pod.
        /// With the reason.
        case unreadable(String)
    }

    let path: String

    init(directory: String, pod: String) {
        self.path = directory + "/" + pod
    }

    var id: String { String(path.split(separator: "/").last ?? "") }
    var socket: String { path + "/init.sock" }
    var record: String { path + "/pod.json" }
    var shared: String { path + "/mnt" }
    var client: String { path + "/client" }
    var system: String { path + "/etc" }
    var logs: String { path + "/logs" }
    var identity: String { path + "/init.pid" }

    func log(_ container: String) -> String { "\(logs)/\(container).log" }
    func temporary(_ container: String) -> String { "\(path)/rw/\(container)/tmp" }
    func home(_ container: String) -> String { "\(path)/rw/\(container)/home" }

    /// Makes the folder with all it begins with, in one step: another instance sees it whole or not at all.
    func create(_ record: Record) throws {
        let parts = path.split(separator: "/").dropLast().joined(separator: "/")
        let draft = "/\(parts)/.\(id).new"
        try Self.remove(draft)
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
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let text = String(decoding: try encoder.encode(record), as: UTF8.self)
        try Self.write(text, to: draft + "/pod.json", mode: 0o600)
        try manager.moveItem(atPath: draft, toPath: path)
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

    /// Makes a file or folder the pod's own, if the pod has a user id of its own.
    private static func give(_ path: String, to user: UInt32?) throws {
        guard let user, lchown(path, user, user) < 0 else { return }
        throw PlatformError(
            .engineUnavailable,
            "A pod's files cannot be given to its user id \(user): \(String(cString: strerror(errno))).")
    }

    /// The record; `nil` when it is missing or cannot be read. Who would remove something for lack of it asks
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

    /// Whatever containers left in it: folders without permissions, thousands of levels, links to elsewhere.
    static func remove(_ path: String) throws {
        let result = cx_remove_tree(path)
        guard result >= 0 else {
            throw PlatformError(
                .engineUnavailable, "A pod's folder cannot be removed: \(String(cString: strerror(-result))).")
        }
    }
}
