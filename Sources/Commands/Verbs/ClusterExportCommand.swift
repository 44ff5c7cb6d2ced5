import ArgumentParser
import Client
import Core
import Foundation
import Support
import Wire

struct ClusterExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write each deployed API's configuration into a folder, a file an API.",
        discussion: """
            The files can be deployed as they are; folders in volumes are absolute. Only you can read them: variables may hold secrets.

            Examples:
              cortex cluster export
              cortex cluster export backup --force
            """)

    @Argument(
        help: ArgumentHelp("The folder (default: export-<cluster>).", valueName: "folder"), completion: .directory)
    var folder: String?
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Write over files that are there.")
    var force = false
    @OptionGroup var format: OutputOption

    /// One written file.
    struct Written: Encodable, Sendable {
        var api: String
        var file: String
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let (files, clusterName) = try await context.withOperator(cluster) { client in
            let info = try await client.info()
            var files: [ExportedAPI] = []
            for entry in try await client.apis() {
                let name = APITable.name(of: entry)
                let api = try await client.api(name)
                guard let spec = api.spec else { continue }
                files.append(ExportedAPI(spec: spec, cluster: cluster.operatorEndpoint))
            }
            return (files, info.clusterConfig.clusterName)
        }
        let target = folder ?? "export-\(clusterName)"
        let written = files.isEmpty ? [] : try write(files, to: target)
        try context.show(written, as: format.output) { _ in
            guard !written.isEmpty else { return "no apis are deployed" }
            return written.map { "exported \($0.api) to \($0.file.inOneLine)" }.joined(separator: "\n")
        }
    }

    private func write(_ files: [ExportedAPI], to target: String) throws -> [Written] {
        let paths = files.map { (file: $0, path: "\(target)/\($0.name).yaml") }
        let manager = FileManager.default
        if !force, let present = paths.first(where: { manager.fileExists(atPath: $0.path) }) {
            throw PlatformError(
                .conflict, "\(present.path) is there already; write over it with --force, or name another folder")
        }
        do {
            try manager.createDirectory(
                atPath: target, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw PlatformError(
                .setup, "the folder \(target) cannot be made; name another one that you can write to", cause: error)
        }
        for (file, path) in paths {
            try OwnerFile(path, advice: "name another folder").replace(with: try file.yaml())
        }
        return paths.map { Written(api: $0.file.name, file: $0.path) }
    }
}
