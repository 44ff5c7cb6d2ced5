import ArgumentParser
import Client
import Core
import Foundation
import Support
import Wire

struct DeployCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy",
        abstract: "Deploy the APIs of a cortex.yaml, or update them.",
        discussion: """
            Every problem of the file is reported, with its line.

            Examples:
              cortex deploy
              cortex deploy cortex.yaml --wait
              cortex deploy cortex.yaml --check
            """)

    @Argument(
        help: ArgumentHelp("The file; - reads standard input.", valueName: "config-file"),
        completion: .file(extensions: ["yaml", "yml", "json"]))
    var configFile = "cortex.yaml"
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Deploy also while an API of the file is updating.")
    var force = false
    @Flag(name: .shortAndLong, help: .hidden)
    var yes = false
    @Flag(name: .long, help: "Wait until all replicas are ready, or print why they cannot be.")
    var wait = false
    @Flag(name: .long, help: "Only check the file, on this machine, without a platform.")
    var check = false
    @Option(help: ArgumentHelp("With --wait: stop waiting after this long.", valueName: "seconds"))
    var timeout = 1800
    @OptionGroup var format: OutputOption

    func validate() throws {
        guard (1...604_800).contains(timeout) else { throw ValidationError("--timeout must be 1 to 604800 seconds.") }
        guard !check || !wait else { throw ValidationError("--check deploys nothing that --wait could wait for.") }
    }

    func run() async throws {
        let context = CommandContext.live()
        let upload = try ConfigurationUpload.read(configFile)
        let isStandardInput = configFile == "-"
        let report = ProblemReport(
            path: isStandardInput ? ProblemReport.standardInput : configFile, content: upload.content,
            console: context.console)
        guard !check else {
            let file = isStandardInput ? ProblemReport.standardInput : upload.fileName
            return try FileCheck(upload, file: file, now: context.clock.now()).show(
                report, context, as: format.output)
        }
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let console = context.console
        try await context.withOperator(cluster) { client in
            let results = try await report.explaining { try await client.deploy(upload, force: force) }
            let failures = results.filter { !$0.error.isEmpty }
            let messages = results.filter { $0.error.isEmpty }.map(\.message.inOneLine)
            if format.output != .pretty || !messages.isEmpty {
                try context.show(results, as: format.output) { _ in messages.joined(separator: "\n") }
            }
            for failure in failures { console.note("error: \(failure.error)") }
            if wait {
                let names = results.compactMap(\.api).map(APITable.name)
                let watcher = DeployWatcher(client: client, context: context, limit: .seconds(timeout))
                let hint = "it goes on; see how with: cortex describe \(names.first ?? "API")"
                try await WaitInterruption.withHint(console, hint) { try await watcher.run(names) }
            } else if format.output == .pretty, console.hasErrorTerminal, let api = results.compactMap(\.api).first {
                console.note("\nsee how it gets on with: cortex describe \(APITable.name(of: api))")
            }
            if !failures.isEmpty { throw ExitCode(ExitStatus.failure) }
        }
    }
}

extension ConfigurationUpload {
    /// Where a file that is not there may be: another spelling, or another name in the same folder.
    private static func hint(forMissing path: String) -> String? {
        let folder = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let place = folder.isEmpty ? (path.hasPrefix("/") ? "/" : "") : folder + "/"
        guard let found = configurations(in: place.isEmpty ? "." : place).first else {
            return path == "cortex.yaml" ? "; name a file: cortex deploy FILE" : nil
        }
        return "; there is \(place)\(found): cortex deploy \(place)\(found)"
    }

    /// Files of a folder that may be configurations, the most likely first.
    private static func configurations(in folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let likely = names.filter {
            let name = $0.lowercased()
            return name.hasPrefix("cortex") && [".yaml", ".yml", ".json"].contains { name.hasSuffix($0) }
        }
        return likely.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
    }

    /// The file that `deploy` sends.
    static func read(_ path: String) throws -> ConfigurationUpload {
        let handle: FileHandle
        if path == "-" {
            handle = .standardInput
        } else {
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else {
                let reason = String(cString: strerror(errno))
                let missing = errno == ENOENT ? Self.hint(forMissing: path) : nil
                throw PlatformError(.notFound, "\(path) cannot be read: \(reason)\(missing ?? "")")
            }
            handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        }
        let content: [UInt8]
        do {
            content = Array(try handle.read(upToCount: Limits.configuration + 1) ?? Data())
        } catch {
            var isFolder: ObjCBool = false
            if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
                let file = path + (path.hasSuffix("/") ? "" : "/")
                let name = Self.configurations(in: path).first ?? "cortex.yaml"
                throw PlatformError(
                    .notFound, "\(path) is a folder; name the file in it: cortex deploy \(file)\(name)")
            }
            throw PlatformError(.notFound, "\(path) cannot be read; name a file that holds the APIs", cause: error)
        }
        guard content.count <= Limits.configuration else {
            throw PlatformError(
                .payloadTooLarge, "\(path) is larger than \(Limits.configuration) bytes; is it the right file?")
        }
        let folder = FileManager.default.currentDirectoryPath
        guard path != "-" else {
            return ConfigurationUpload(content: content, fileName: "cortex.yaml", directory: folder)
        }
        let absolute = URL(fileURLWithPath: path, relativeTo: URL(fileURLWithPath: folder, isDirectory: true))
        return ConfigurationUpload(
            content: content, fileName: absolute.lastPathComponent,
            directory: absolute.standardizedFileURL.deletingLastPathComponent().path)
    }
}
