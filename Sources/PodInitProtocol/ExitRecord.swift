/// How a container of a sandbox pod ended. `PodInit` keeps these in a file of the pod's folder, so that they are known
/// also when it has ended itself.
package struct ExitRecord: Sendable, Equatable {
    /// The name of the file.
    package static let fileName = "exits"

    /// Of the container.
    package var name: String
    package var exitCode: Int
    package var outOfMemory: Bool
    /// Microseconds since the Unix epoch.
    package var endedAt: Int64

    package init(name: String, exitCode: Int, outOfMemory: Bool, endedAt: Int64) {
        self.name = name
        self.exitCode = exitCode
        self.outOfMemory = outOfMemory
        self.endedAt = endedAt
    }

    /// The content of the file: one line for each container that has ended, with four fields separated by tabs.
    package static func text(_ records: [ExitRecord]) -> String {
        records.map { "\($0.name)\t\($0.exitCode)\t\($0.outOfMemory ? 1 : 0)\t\($0.endedAt)\n" }.joined()
    }

    /// Reads the content of the file. A line that is not understood is ignored.
    package static func parse(_ text: String) -> [ExitRecord] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 4, let code = Int(fields[1]), let endedAt = Int64(fields[3]) else { return nil }
            return ExitRecord(
                name: String(fields[0]), exitCode: code, outOfMemory: fields[2] == "1", endedAt: endedAt)
        }
    }
}
