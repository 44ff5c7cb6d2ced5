import CLinux
import Core
import Foundation
import Logging
import Support

/// A pod's folder on the host: `init` (its socket), `mnt`, `client`, `hosts` and the like, and `record`. Blocking work
/// runs on threads of its own.
struct PodFolder: Sendable {
    let path: String

    /// The folder of a pod below `pods`; `nil` when `id` does not have the form of a pod's id.
    init?(pods: String, id: String) {
        guard ResourceNames.isPodID(id) else { return nil }
        self.path = "\(pods)/\(id)"
    }

    var initFolder: String { path + "/init" }
    var initSocket: String { path + "/init/init.sock" }
    var mnt: String { path + "/mnt" }
    var client: String { path + "/client" }
    /// The part of `client` that containers may write to.
    var clientScratch: String { "\(client)/\(PodPlan.clientScratch)" }
    /// The texts of ``PodPlan/files``, if there are any.
    var spec: String { path + "/spec" }
    /// What containers write to ``PodPlan/artifactsDirectory``, if the plan asks for it.
    var artifacts: String { path + "/artifacts" }
    var hosts: String { path + "/hosts" }
    var hostName: String { path + "/hostname" }
    var resolver: String { path + "/resolv.conf" }
    /// An empty file, for files of the engine that containers would otherwise write.
    var empty: String { path + "/empty" }
    /// The names of the pod's containers, one a line; written before the first of them is made.
    var record: String { path + "/record" }

    /// Texts of the files that every container of the pod sees.
    struct Files: Sendable {
        var client: [(name: String, text: String)]
        var spec: [PodFile]
        var hasArtifacts: Bool
        var hosts: String
        var hostName: String
        /// `nil`: the engine's own.
        var resolver: String?
        var containers: [String]
    }

    /// Creates everything again. The parent is private, so its content may be accessible to any user of a container.
    func make(_ files: Files) async throws {
        try await Self.offPool {
            let manager = FileManager.default
            try manager.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
            try Self.makeDirectory(path, mode: 0o755)
            try Self.write(files.containers.joined(separator: "\n") + "\n", to: record)
            try Self.makeDirectory(initFolder, mode: 0o700)
            try Self.makeDirectory(client, mode: 0o755)
            // Any user of any container may write here, and remove only what is its own.
            try Self.makeDirectory(mnt, mode: 0o1777)
            try Self.makeDirectory(clientScratch, mode: 0o1777)
            for file in files.client { try Self.write(file.text, to: "\(client)/\(file.name)") }
            if files.hasArtifacts { try Self.makeDirectory(artifacts, mode: 0o1777) }
            if !files.spec.isEmpty { try Self.makeDirectory(spec, mode: 0o755) }
            for file in files.spec { try Self.write(file.text, to: "\(spec)/\(file.name)") }
            try Self.write(files.hosts, to: hosts)
            try Self.write(files.hostName + "\n", to: hostName)
            if let resolver = files.resolver { try Self.write(resolver, to: self.resolver) }
            try Self.write("", to: empty)
        }
    }

    /// The names that ``record`` holds; `nil` when there is none: the pod was made by an earlier version, or not at
    /// all.
    func recordedContainers() async throws -> [String]? {
        try await Self.offPool {
            FileManager.default.contents(atPath: record).map {
                String(decoding: $0, as: UTF8.self).split(separator: "\n").map(String.init)
            }
        }
    }

    /// Whether an earlier version, which kept no record, made this folder for the pod: then its id is in a file
    /// that only the platform can write.
    func isOfEarlierVersion(_ pod: String) async throws -> Bool {
        try await Self.offPool {
            guard !FileManager.default.fileExists(atPath: record) else { return false }
            let text = FileManager.default.contents(atPath: "\(client)/client-id.txt")
            return text.map { String(decoding: $0, as: UTF8.self) } == pod
        }
    }

    /// Names of the folders in `parent`; empty when there is none.
    static func names(in parent: String) async throws -> [String] {
        try await offPool {
            guard FileManager.default.fileExists(atPath: parent) else { return [] }
            return try FileManager.default.contentsOfDirectory(atPath: parent)
        }
    }

    static func exists(_ path: String) async throws -> Bool {
        try await offPool { FileManager.default.fileExists(atPath: path) }
    }

    /// Runs blocking work on threads of its own.
    static func offPool<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        do {
            return try await BlockingPool.shared.run(body)
        } catch let error as CancellationError {
            throw error
        } catch let error as PlatformError {
            throw error
        } catch {
            throw PlatformError(
                .setup, "A pod's files can't be written or removed. Check the disk and the data directory.",
                cause: error)
        }
    }

    /// `createDirectory` honours the umask; the mode must hold exactly.
    private static func makeDirectory(_ path: String, mode: Int) throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private static func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
    }
}

/// Folders of pods on their way out. They were moved aside, so that nothing waits for their removal.
actor Trash {
    /// Two at a time: a folder may hold millions of files.
    static let threads = BlockingPool(threads: 2)
    /// Between two tries to remove what could not be removed.
    static let interval: Duration = .seconds(3600)

    private var running: [String: Task<Void, Never>] = [:]
    /// Folders that could not be removed, and when they are tried again.
    private var kept: [String: Instant] = [:]

    /// Starts `work` for a folder, unless it is under way, or was tried less than an hour ago.
    func add(_ name: String, now: Instant, _ work: @escaping @Sendable () async -> Bool) {
        guard running[name] == nil, kept[name].map({ $0 <= now }) ?? true else { return }
        running[name] = Task {
            let isGone = await work()
            self.end(name, isGone: isGone, now: now)
        }
    }

    private func end(_ name: String, isGone: Bool, now: Instant) {
        running[name] = nil
        kept[name] = isGone ? nil : now + Self.interval
    }

    /// Whether a folder failed before, so that it is named only once.
    func isKept(_ name: String) -> Bool { kept[name] != nil }

    /// The folders to try again now.
    func due(_ now: Instant) -> [String] { kept.filter { $0.value <= now }.map(\.key) }

    func waitUntilIdle() async {
        for task in running.values { await task.value }
    }
}

extension DockerEngine {
    private static let trashName = ".trash"
    private var trashFolder: String { "\(podsFolder)/\(Self.trashName)" }

    /// Takes the folder of a pod away: it has its old name no longer when this returns, and is removed beside. Never
    /// fails; what cannot even be moved is named in the log and found again at the next start.
    func discard(_ folder: PodFolder) async {
        let trash = trashFolder
        let name = "\((folder.path as NSString).lastPathComponent).\(UInt32.random(in: .min ... .max))"
        do {
            let isThere = try await PodFolder.offPool { () -> Bool in
                guard FileManager.default.fileExists(atPath: folder.path) else { return false }
                try FileManager.default.createDirectory(
                    atPath: trash, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
                guard rename(folder.path, "\(trash)/\(name)") == 0 else {
                    if errno == ENOENT { return false }
                    throw PlatformError(.setup, String(cString: strerror(errno)))
                }
                return true
            }
            if isThere { await remove(trashed: name) }
        } catch {
            let reason = (error as? PlatformError)?.message ?? "unknown"
            logger.error(
                "the folder of a pod that is gone can't be moved away; it stays until the next start",
                metadata: ["folder": "\(folder.path)", "reason": "\(reason)"])
        }
    }

    /// A crash may leave a folder behind whose containers are gone, or were never made. Nothing here stops a start.
    func sweepFolders() async {
        do {
            // In this order: a pod that is being started has its folder before its containers.
            let folders = try await PodFolder.names(in: podsFolder)
            let listed = try await ownContainers()
            for container in listed.own where container.role == .remover {
                try await client.removeContainer(container.id)
            }
            for name in try await PodFolder.names(in: trashFolder) { await remove(trashed: name) }
            // When some containers could not be read, any folder may be in use.
            guard listed.leftOut == 0 else { return }
            let known = Set(listed.own.compactMap { $0.labels[Labels.pod] })
            for name in folders where !known.contains(name) && !state.isStarting(name) {
                guard let folder = PodFolder(pods: podsFolder, id: name) else { continue }
                logger.info("removing the folder of a pod that is gone", metadata: ["replica": "\(name)"])
                await discard(folder)
            }
        } catch {
            logger.warning(
                "folders of earlier pods can't be examined; this is tried again at the next start",
                metadata: ["error": "\(error)"])
        }
    }

    /// Tries again what could not be removed an hour ago.
    func retryRemovals() async {
        for name in await trash.due(clock.instant()) { await remove(trashed: name) }
    }

    private func remove(trashed name: String) async {
        await trash.add(name, now: clock.instant()) { await self.empty(name) }
    }

    /// - Returns: whether the folder is gone.
    private func empty(_ name: String) async -> Bool {
        let path = "\(trashFolder)/\(name)"
        do {
            var result = try await Trash.threads.run { cx_remove_tree(path) }
            if result == -EACCES || result == -EPERM {
                // Files of a container's own users belong to others where the platform is not root.
                try await removeByEngine(path, name)
                result = try await Trash.threads.run { cx_remove_tree(path) }
            }
            guard result < 0 else { return true }
            throw PlatformError(.setup, String(cString: strerror(-result)))
        } catch {
            if await !trash.isKept(name) {
                let reason = ((error as? PlatformError)?.message ?? "\(error)").prefix(300)
                logger.error(
                    "files that a pod left can't be removed; this is tried again every hour",
                    metadata: ["folder": "\(path.prefix(500))", "reason": "\(reason)"])
            }
            return false
        }
    }

    /// Lets a container of the platform's own image, root there, empty the folder.
    func removeByEngine(_ path: String, _ name: String) async throws {
        let platform = try await platform()
        let remover = names.remover(String(ImageArchive.digest(Array(name.utf8)).prefix(12)))
        let id = try await client.createContainer(remover, body: body(platform).remover(path, name: remover)) {
            ownership.holds($0.settings?.labels ?? [:], name: remover)
        }
        do {
            try await client.startContainer(id)
            let code = try await client.waitContainer(id, timeout: .seconds(600))
            guard code == 0 else { throw PlatformError(.setup, "the engine could not remove them either") }
        } catch {
            // In another task: this one may be cancelled. A container that remains is removed by the next start.
            await Task { try? await client.removeContainer(id) }.value
            throw error
        }
        try await client.removeContainer(id)
    }
}
