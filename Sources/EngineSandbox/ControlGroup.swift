import CPodInit
import Core
import Foundation

/// The control groups of one container: one folder in version 2, one a controller in version 1.
struct ControlGroup: Sendable, Hashable {
    var folders: [String]
    /// File whose `oom_kill` line counts what the kernel killed for want of memory.
    var oomFile: String

    var members: [String] { folders.map { $0 + "/cgroup.procs" } }

    /// Kills what is left in it and removes it. Blocking, but brief: processes may take a moment to go, then it is to
    /// be repeated.
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

    /// Kills the processes of one folder, and never another one that has the number of one since.
    private static func kill(_ folder: String) {
        // Version 2, Linux 5.14: all at once.
        let descriptor = open(folder + "/cgroup.kill", O_WRONLY | O_CLOEXEC)
        if descriptor >= 0 {
            defer { close(descriptor) }
            if write(descriptor, "1", 1) == 1 { return }
        }
        let text = FileManager.default.contents(atPath: folder + "/cgroup.procs") ?? Data()
        // As it stands at the end of a line in /proc/PID/cgroup.
        let name = "/" + (folder as NSString).lastPathComponent + "\n"
        for word in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            if let process = pid_t(word), process > 1 { _ = cx_kill_in_group(process, name) }
        }
    }
}
