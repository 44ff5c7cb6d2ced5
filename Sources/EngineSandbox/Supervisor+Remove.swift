import Core
import Foundation
import PodInitProtocol

extension Supervisor {
    /// Removes all of a pod that is left: processes, control groups, folder. Blocking; nothing to do is no failure.
    func remove(_ folder: PodFolder) throws {
        let record = folder.read()
        kill(folder)
        // With the supervisor its containers get SIGKILL from the kernel; they may take a moment to go.
        for _ in 0..<500 {
            let left = orphans(of: folder)
            guard !left.isEmpty else { break }
            for process in left { _ = Foundation.kill(process, SIGKILL) }
            usleep(10_000)
        }
        for group in (record?.groups ?? [:]).values { group.remove() }
        // First out of sight in one step, then bit by bit: a crash in between leaves something for `sweep`, and no half pod.
        let parent = folder.path.split(separator: "/").dropLast().joined(separator: "/")
        let doomed = folder.id.hasPrefix(".") ? folder.path : "/\(parent)/.\(folder.id).gone"
        if doomed != folder.path {
            try PodFolder.remove(doomed)
            guard rename(folder.path, doomed) == 0 || errno == ENOENT else {
                throw PlatformError(
                    .engineUnavailable, "A pod's folder cannot be removed: \(String(cString: strerror(errno))).")
            }
        }
        try PodFolder.remove(doomed)
    }

    /// Removes what an earlier platform was in the middle of making or removing. Blocking.
    func sweep() throws {
        let manager = FileManager.default
        for name in try manager.contentsOfDirectory(atPath: configuration.directory) {
            let folder = PodFolder(directory: configuration.directory, pod: name)
            let isScrap =
                switch folder.look() {
                case _ where name.hasPrefix("."): true
                // Without a record, but not without a process: whatever it is, it may be at work.
                case .missing: !isAlive(folder)
                case .found, .unreadable: false
                }
            guard isScrap, age(folder.path) > 60 else { continue }
            try remove(folder)
        }
    }

    /// Seconds since the folder was last changed; 0 when that cannot be told.
    private func age(_ path: String) -> Int {
        var found = stat()
        guard lstat(path, &found) == 0 else { return 0 }
        return time(nil) - found.st_mtim.tv_sec
    }

    /// Bubblewraps of the pod that outlived its supervisor. Their name says whose they are; those of a pod that an earlier version
    /// started have the pod's folder among their arguments.
    private func orphans(of folder: PodFolder) -> [pid_t] {
        let name = bubblewrapName(podFolder: folder.path)
        let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return numbers.compactMap { number in
            guard let process = pid_t(number),
                let data = FileManager.default.contents(atPath: "/proc/\(number)/cmdline")
            else {
                return nil
            }
            let words = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            let isEarlier = words.first == configuration.bubblewrap && words.contains(folder.shared)
            return words.first == name || isEarlier ? process : nil
        }
    }
}
