import ArgumentParser
import Client
import Core
import NIOCore
import NIOPosix
import Support
import Wire

struct ArtifactsCommand: APICommand {
    static let kinds: Set<APIKind> = [.task]
    static let configuration = CommandConfiguration(
        commandName: "artifacts",
        abstract: "List, print or download the files that a Task job left in /cortex/artifacts.",
        discussion: """
            Without PATH and DIR it lists the artifacts of each worker's last attempt.
            PATH, as the list shows it, prints one file. With -o they are written to DIR:
            all of them, or only PATH and what is below it.

            Examples:
              cortex artifacts train 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
              cortex artifacts train 0190f3a2-5d1c-7aaa-8bbb-1234567890ab 0/report.txt
              cortex artifacts train 0190f3a2-5d1c-7aaa-8bbb-1234567890ab -o DIR
            """)

    @OptionGroup var target: APIArgument
    @Argument(help: "The id of the job.", completion: .jobs(), transform: RequestID.typed)
    var id: RequestID
    @Argument(
        help: ArgumentHelp("An artifact: the worker's index, a slash and the path.", valueName: "path"),
        completion: .list([]))
    var path: String?
    @OptionGroup var environment: EnvironmentOption
    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("Write the files to this folder.", valueName: "dir"), completion: .directory)
    var folder: String?
    @Flag(help: "Print the list as JSON.")
    var json = false

    func validate() throws {
        guard !json || (path == nil && folder == nil) else {
            throw ValidationError("--json is for the list: give no PATH and no -o.")
        }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        try await context.withJobs(cluster, api: target.api, kinds: Self.kinds) { jobs in
            try await JobOutput.findingJob(target.api) {
                if let folder { return try await download(to: folder, jobs, context) }
                if let path { return try await printFile(path, jobs, context) }
                let list = try await jobs.artifacts(id)
                try context.show(list, as: json ? .json : .pretty) { ArtifactView.render(list, style: $0) }
            }
        }
    }

    private func printFile(_ path: String, _ jobs: JobClient, _ context: CommandContext) async throws {
        let parts = path.split(separator: "/", maxSplits: 1)
        guard parts.count == 2, let worker = Int(parts[0]) else {
            throw PlatformError(
                .usage,
                "\"\(path.inOneLine)\" is no artifact; write the worker's index and the path: 0/\(path.inOneLine)")
        }
        var output = ResponseOutput(context.console)
        try await jobs.artifact(id, worker: worker, path: String(parts[1])) { try await output.write($0) }
        try await output.finish()
    }

    private func download(to folder: String, _ jobs: JobClient, _ context: CommandContext) async throws {
        let list = try await jobs.artifacts(id)
        let wanted = list.artifacts.filter { artifact in
            guard let path else { return true }
            return artifact.name == path || artifact.name.hasPrefix(path.hasSuffix("/") ? path : path + "/")
        }
        guard path == nil || !wanted.isEmpty else {
            throw PlatformError(
                .notFound,
                "the job has no artifact \(path?.inOneLine ?? ""); list them with: cortex artifacts \(target.api) \(id)"
            )
        }
        // Checked before anything is written.
        if let name = wanted.map(\.name).first(where: { DownloadFolder.components(of: $0) == nil }) {
            throw PlatformError(
                .containerFailed,
                "the artifact \(JSONText.quoted(name).inOneLine) would leave \(folder); nothing was written")
        }
        let target = try DownloadFolder(path: folder)
        defer { target.close() }
        for artifact in wanted {
            let file = try target.file(artifact.name)
            do {
                try await jobs.artifact(id, worker: artifact.worker, path: artifact.path) { part in
                    try await NIOThreadPool.singleton.runIfActive { try file.write(part.readableBytesView) }
                }
            } catch {
                file.discard()
                throw error
            }
            try file.finish(size: artifact.size)
            context.console.note("\(folder)/\(artifact.name)")
        }
        for omitted in list.omitted ?? [] where path == nil {
            context.console.note(
                "not kept: \(omitted.worker)/\(omitted.path.inOneLine) (\(omitted.reason.inOneLine))")
        }
    }
}

extension ArtifactListDocument.Artifact {
    /// As in lists, archives and downloads.
    fileprivate var name: String { "\(worker)/\(path)" }
}

/// `cortex artifacts`.
enum ArtifactView {
    static func render(_ list: ArtifactListDocument, style: TextStyle) -> String {
        let omitted = list.omitted ?? []
        guard !list.artifacts.isEmpty || !omitted.isEmpty else { return "no artifacts" }
        var table = Table(["path", "attempt", "bytes", "sha256"])
        for artifact in list.artifacts {
            table.append([artifact.name, "\(artifact.attempt)", "\(artifact.size)", artifact.sha256])
        }
        var parts = list.artifacts.isEmpty ? [] : [table.render(style)]
        if !omitted.isEmpty {
            var table = Table([.init("not kept"), .init("attempt"), .init("reason", isText: true)])
            for file in omitted { table.append(["\(file.worker)/\(file.path)", "\(file.attempt)", file.reason]) }
            parts.append(table.render(style))
        }
        return parts.joined(separator: "\n\n")
    }
}
