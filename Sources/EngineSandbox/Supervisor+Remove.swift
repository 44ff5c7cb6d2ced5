import CPodInit
import Core
import Foundation
import PodInitProtocol
import Support

/// Removal of what is left of pods. Waiting holds no thread, and the erasing itself has threads of its own: a pod that
/// left millions of files delays neither a start nor another pod (contract N4, N10).
extension Supervisor {
    /// Erases pods' folders, a few at a time.
    private static let erasing = BlockingPool(threads: Limits.podRemovals)
    /// How long processes and control groups may take to be gone after SIGKILL.
    private static let killTime: Duration = .seconds(5)

    /// Removes all of a pod that is left: processes, control groups, folder. Nothing to do is no failure; it may be
    /// repeated at any time.
    ///
    /// - Throws: `engine_unavailable` when something remains; `CancellationError`, and then something may remain.
    func remove(_ folder: PodFolder) async throws {
        let groups = try await blocking { folder.read()?.groups ?? [:] }
        try await kill(folder)
        // With the supervisor its containers get SIGKILL from the kernel; they may take a moment to go.
        try await wait {
            let left = orphans(of: folder)
            for process in left { kill(orphan: process, of: folder) }
            return left.isEmpty
        }
        for group in groups.values { try await wait { group.remove() } }
        // First out of sight in one step, then bit by bit: a crash in between leaves something for `sweep`, and no half
        // pod.
        let parent = folder.path.split(separator: "/").dropLast().joined(separator: "/")
        let doomed = folder.id.hasPrefix(".") ? folder.path : "/\(parent)/.\(folder.id).gone"
        if doomed != folder.path {
            try await Self.erasing.run {
                try PodFolder.remove(doomed)
                guard rename(folder.path, doomed) == 0 || errno == ENOENT else {
                    throw PlatformError(
                        .engineUnavailable, "A pod's folder cannot be removed: \(String(cString: strerror(errno))).")
                }
            }
            // A supervisor that was still beginning may have written its number since it was looked for. From here on
            // none can: it ends when it finds its folder moved.
            try await kill(PodFolder(directory: "/" + parent, pod: ".\(folder.id).gone"))
        }
        try await Self.erasing.run { try PodFolder.remove(doomed) }
    }

    /// Removes what an earlier platform, or a removal that failed, left half made or half removed.
    ///
    /// A pod with a record that cannot be read is not touched: another version of the platform may have written it.
    ///
    /// - Returns: the error of each folder that is still there.
    func sweep() async throws -> [String: any Error] {
        let scrap = try await blocking {
            try FileManager.default.contentsOfDirectory(atPath: configuration.directory)
                .map { PodFolder(directory: configuration.directory, pod: $0) }
                .filter { folder in
                    let isScrap =
                        switch folder.look() {
                        case _ where folder.id.hasPrefix("."): true
                        // Without a record, but not without a process: whatever it is, it may be at work.
                        case .missing: !isAlive(folder)
                        case .found, .unreadable: false
                        }
                    return isScrap && age(folder.path) > 60
                }
        }
        var errors: [String: any Error] = [:]
        for folder in scrap {
            do {
                try await remove(folder)
            } catch let error as CancellationError {
                throw error
            } catch {
                errors[folder.id] = error
            }
        }
        return errors
    }

    /// Repeats a short blocking step until it says that it is done, for ``killTime`` at most.
    ///
    /// - Returns: whether it is done.
    @discardableResult
    func wait(_ step: @escaping @Sendable () throws -> Bool) async throws -> Bool {
        let deadline = clock.instant() + Self.killTime
        var pause = Duration.milliseconds(2)
        while true {
            if try await blocking(step) { return true }
            guard clock.instant() < deadline else { return false }
            try await clock.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(100))
        }
    }

    /// Seconds since the folder was last changed; 0 when that is not known.
    private func age(_ path: String) -> Int {
        var found = stat()
        guard lstat(path, &found) == 0 else { return 0 }
        return time(nil) - found.st_mtim.tv_sec
    }

    /// Bubblewraps of the pod that outlived its supervisor. Their name says whose they are; those of a pod that an
    /// earlier version started have the pod's folder among their arguments.
    private func orphans(of folder: PodFolder) -> [pid_t] {
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return numbers.compactMap { pid_t($0) }.filter { isOrphan($0, of: folder) }
    }

    private func isOrphan(_ process: pid_t, of folder: PodFolder) -> Bool {
        guard let data = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else { return false }
        let words = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        let isEarlier = words.first == configuration.bubblewrap && words.contains(folder.shared)
        return words.first == bubblewrapName(podFolder: folder.path) || isEarlier
    }

    private func kill(orphan process: pid_t, of folder: PodFolder) {
        let descriptor = cx_process_descriptor(process)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        // Looked at again: the number may have been given to another process in between.
        if isOrphan(process, of: folder) { _ = cx_signal_process(descriptor, SIGKILL) }
    }
}
