package import Core
import Support

/// Containers' logs: files in the pod's folder, written by `PodInit`.
extension SandboxEngine {
    package func logs(container: String, pod: String, follow: Bool, tail: Int?) async throws -> LogStream<[UInt8]> {
        let folder = try await folder(of: container, pod)
        let reader = LogTail(
            path: folder.log(container), podFolder: folder.path, follows: follow, tail: tail.map { max(0, $0) })
        return LogStream { write in try await reader.copy(to: write) }
    }

    package func lastLines(container: String, pod: String, count: Int, since mark: String?) async throws -> LogExcerpt?
    {
        let folder = try await folder(of: container, pod)
        let path = folder.log(container)
        return try await LogTail.pool.run {
            let file = try LogFile(path)
            let present = file.map { "\($0.identity.inode) \($0.size)" } ?? "none"
            guard present != mark else { return nil }
            var bytes: [UInt8] = []
            if let reader = try LogFileReader(path: path, tail: max(0, count), follows: false) {
                // The lines are the last ones, of bounded length: a few blocks at most.
                reading: while bytes.count < Limits.logLookBytes {
                    switch try reader.step(podFolder: folder.path) {
                    case .lines(let lines): bytes += lines
                    case .nothing, .end: break reading
                    }
                }
            }
            let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
            return LogExcerpt(lines: lines.suffix(count).map { String(decoding: $0, as: UTF8.self) }, mark: present)
        }
    }

    private func folder(of container: String, _ pod: String) async throws -> PodFolder {
        let folder = folder(pod)
        let record = try await blocking { folder.read() }
        guard Self.isName(pod), let record, record.plan.containers.contains(where: { $0.name == container }) else {
            throw PlatformError(.notFound, "There is no container \(container) in pod \(pod).")
        }
        return folder
    }
}
