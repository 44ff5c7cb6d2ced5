import CPodInit
import Core
import Foundation
import Logging
import Support

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
            try? await client.removeContainer(id)
            throw error
        }
        try await client.removeContainer(id)
    }
}
