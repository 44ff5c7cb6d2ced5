import ArgumentParser
import Client
import Core
import Foundation
import Support
import Wire
import Yams

struct ClusterExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write each deployed API's configuration into a file of a folder.",
        discussion: """
            The files can be deployed unchanged; folders in volumes are absolute. Only you
            can read them, because variables may hold secrets.

            Examples:
              cortex cluster export
              cortex cluster export backup --force
            """)

    @Argument(
        help: ArgumentHelp("The folder (default: export-<cluster>).", valueName: "folder"), completion: .directory)
    var folder: String?
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Overwrite existing files.")
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
                .conflict, "\(present.path) exists; overwrite it with --force, or name another folder")
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

/// A deployed API as a `cortex.yaml` of its own: what its user wrote, with what depended on the file's place made
/// absolute.
struct ExportedAPI: Sendable {
    let name: String
    private let submitted: JSONValue
    private let header: String

    /// Keys in the order in which people write them; all others follow by name.
    private static let order = ["name", "kind", "image", "networking", "pod", "autoscaling"]

    init(spec: SpecDocument, cluster: String) {
        self.name = spec.name
        self.submitted = Self.absolute(spec.submittedAPISpec, volumes: spec.pod?.containers.map(\.volumes) ?? [])
        self.header = "# \(spec.name) as deployed at \(cluster), version \(spec.id)".inOneLine
    }

    /// The file's text.
    func yaml() throws -> String {
        try "\(header)\n"
            + Yams.serialize(node: .sequence(.init([Self.node(submitted)])), indent: 2, width: -1, allowUnicode: true)
    }

    private static func absolute(_ submitted: JSONValue, volumes: [[String]]) -> JSONValue {
        guard case .object(var api) = submitted, case .object(var pod)? = api["pod"],
            case .array(var containers)? = pod["containers"]
        else { return submitted }
        for index in containers.indices where index < volumes.count {
            guard case .object(var container) = containers[index], container["volumes"] != nil else { continue }
            container["volumes"] = .array(volumes[index].map { .string($0) })
            containers[index] = .object(container)
        }
        pod["containers"] = .array(containers)
        api["pod"] = .object(pod)
        return .object(api)
    }

    private static func node(_ value: JSONValue) -> Node {
        switch value {
        case .null: return Node("null", Tag(.null))
        case .bool(let value): return Node(value ? "true" : "false", Tag(.bool))
        case .integer(let value): return Node("\(value)", Tag(.int))
        case .number(let value): return Node("\(value)", Tag(.float))
        case .string(let value): return text(value)
        case .array(let values): return .sequence(.init(values.map(node)))
        case .object(let members):
            let keys = order.filter { members[$0] != nil } + members.keys.filter { !order.contains($0) }.sorted()
            return .mapping(.init(keys.map { (text($0), node(members[$0] ?? .null)) }))
        }
    }

    /// Words whose bare form is not a text, in one version of YAML or another.
    private static let reserved: Set<String> = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"]

    /// Quoted unless it is plain beyond doubt.
    private static func text(_ text: String) -> Node {
        let isPlain =
            text.wholeMatch(of: /[A-Za-z_\/][A-Za-z0-9_.\/@-]*(:[A-Za-z0-9_.\/@-]+)*/) != nil
            && !reserved.contains(text.lowercased())
        if isPlain { return Node(text) }
        let isOneLine = text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
        return Node(text, Tag(.str), isOneLine ? .singleQuoted : .doubleQuoted)
    }
}
