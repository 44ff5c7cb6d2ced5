import Core
import Foundation

/// The control groups of one container: one folder in version 2, one a controller in version 1.
struct ControlGroup: Sendable, Hashable {
    var folders: [String]
    /// File whose `oom_kill` line counts what the kernel killed for want of memory.
    var oomFile: String

    var members: [String] { folders.map { $0 + "/cgroup.procs" } }

    /// Kills what is left in it and removes it. Blocking; best effort, `setUp` of the next start tries again.
    func remove() {
        for folder in folders {
            for _ in 0..<200 {
                let text = FileManager.default.contents(atPath: folder + "/cgroup.procs") ?? Data()
                for word in String(decoding: text, as: UTF8.self).split(separator: "\n") {
                    if let process = pid_t(word), process > 1 { _ = kill(process, SIGKILL) }
                }
                if rmdir(folder) == 0 || errno == ENOENT { break }
                usleep(10_000)
            }
        }
    }
}
