import ArgumentParser
import Client
import Core
import Foundation
import NIOCore
import Support
import Wire

struct SubmitCommand: APICommand {
    static let kinds = APIKind.storing
    static let configuration = CommandConfiguration(
        commandName: "submit",
        abstract: "Submit a request or a job to an API; print its id, or with --wait its result.",
        discussion: """
            To an AsyncAPI it submits a request: the data goes to the container byte for
            byte. To a BatchAPI or a TaskAPI it submits a job: the data is a JSON object,
            or --items names a file with one item of the job in each line.

            Examples:
              cortex submit hello -d '{"name": "world"}' --wait
              cortex submit ocr -d @invoice.png
              cat page.pdf | cortex submit ocr --content-type application/pdf
              cortex submit sum --items rows.jsonl --workers 4 --batch-size 16 --wait
              cortex submit train --config '{"epochs": 3}' --wait
            """)

    @OptionGroup var target: APIArgument
    @OptionGroup var environment: EnvironmentOption
    @Option(
        name: .shortAndLong, parsing: .unconditional,
        help: ArgumentHelp(
            "The payload: text, @file, or - for standard input. For an AsyncAPI, piped input is read also without -d.",
            valueName: "data"))
    var data: String?
    @Option(help: ArgumentHelp("The payload's Content-Type (default: by the file's name).", valueName: "type"))
    var contentType: String?
    @Option(
        name: [.customShort("H"), .customLong("header")], parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Another header. Can be repeated.", valueName: "name:value"))
    var headers: [HeaderArgument] = []
    @OptionGroup(title: "Options for jobs") var job: JobOptions
    @OptionGroup var waiting: WaitOption
    @OptionGroup var format: OutputOption

    func validate() throws {
        guard !job.isGiven || (data == nil && contentType == nil) else {
            throw ValidationError(
                "Give either the whole submission with -d, or its parts with --items, --workers, --batch-size, --config and --timeout."
            )
        }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        let input = try data.map { try PayloadInput($0, console: context.console) }
        defer { input?.close() }
        try await context.withSubmissions(cluster, api: target.api) { client in
            switch client {
            case .requests(let gateway): try await submitRequest(input, gateway, context)
            case .jobs(let jobs): try await submitJob(input, jobs, context)
            }
        }
    }

    private func submitRequest(_ given: PayloadInput?, _ client: GatewayClient, _ context: CommandContext) async throws
    {
        guard !job.isGiven else {
            throw PlatformError(
                .usage, "\(target.api) is an AsyncAPI, which has no jobs; give the payload of a request with -d")
        }
        let input = try given ?? PayloadInput(nil, console: context.console)
        let type =
            contentType ?? (headers.contains { $0.name.lowercased() == "content-type" } ? nil : input.contentType)
        let console = context.console
        let output = RequestOutput(context: context, format: format.output, api: target.api)
        let (id, document) = try await client.submit(
            input.payload, contentType: type, headers: headers.map { ($0.name, $0.value) })
        guard waiting.isWaiting else {
            switch format.output {
            case .pretty: return try console.print(id.description)
            case .json: return try console.print(String(buffer: document))
            case .yaml: return try console.print("id: \(id)")
            }
        }
        let request = try await WaitInterruption.withHint(console, RequestOutput.waitHint(output.api, id)) {
            // With the id, the result can be fetched also after an interruption.
            console.note("id: \(id)")
            return try await client.wait(id, limit: waiting.limit, isKnown: true)
        }
        try output.printOutcome(request, hasWaited: true)
    }

    private func submitJob(_ input: PayloadInput?, _ jobs: JobClient, _ context: CommandContext) async throws {
        let output = JobOutput(context: context, format: format.output, api: target.api)
        let receipt = try await submitted(input, jobs, context)
        guard waiting.isWaiting else { return try output.printReceipt(receipt) }
        output.noteIgnored(receipt)
        context.console.note("job id: \(receipt.id)")
        let snapshot = try await output.wait(receipt.id, jobs, limit: waiting.limit, isKnown: true)
        try output.printVerbatim(snapshot.document) { snapshot.status.words }
        try output.check(snapshot, hasWaited: true)
    }

    private func submitted(
        _ input: PayloadInput?, _ jobs: JobClient, _ context: CommandContext
    ) async throws -> JobReceipt {
        let headers = headers.map { ($0.name, $0.value) }
        if let parameters = job.parameters, let items = job.items {
            guard jobs.kind == .batch else {
                throw PlatformError(
                    .usage, "\(target.api) is a TaskAPI, whose jobs have no items; pass data with --config or -d")
            }
            let lines = try PayloadInput(items == "-" ? items : "@\(items)", console: context.console)
            defer { lines.close() }
            return try await jobs.submit(lines: lines.payload ?? .bytes(ByteBuffer()), parameters, headers: headers)
        }
        if let payload = input?.payload { return try await jobs.submit(payload, headers: headers) }
        guard jobs.kind == .task, job.batchSize == nil else {
            throw PlatformError(
                .usage,
                "\(target.api) is a \(jobs.kind.rawValue); give a submission with -d"
                    + (jobs.kind == .batch ? ", or items with --items, --workers and --batch-size" : ""))
        }
        return try await jobs.submit(.bytes(ByteBuffer(bytes: try job.submission())), headers: headers)
    }
}

/// The parts of a job's submission.
struct JobOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Items of a Batch job: a file with one JSON value in each line, or - for standard input.",
            valueName: "file"), completion: .file())
    var items: String?
    @Option(help: ArgumentHelp("The number of workers.", valueName: "count"))
    var workers: Int?
    @Option(help: ArgumentHelp("The number of items that are delivered together.", valueName: "count"))
    var batchSize: Int?
    @Option(help: ArgumentHelp("A JSON object that the containers find in job.json.", valueName: "json"))
    var config: String?
    @Option(help: ArgumentHelp("Stop the job after this time.", valueName: "seconds"))
    var timeout: Int?

    func validate() throws {
        guard items == nil || (workers != nil && batchSize != nil) else {
            throw ValidationError("--items needs --workers and --batch-size.")
        }
        for (name, value) in [("--workers", workers), ("--batch-size", batchSize), ("--timeout", timeout)] {
            guard (value ?? 1) >= 1 else { throw ValidationError("\(name) must be 1 or more.") }
        }
        if let config {
            guard (try? JSONDecoder().decode([String: JSONValue].self, from: Data(config.utf8))) != nil else {
                throw ValidationError("--config must be a JSON object, such as '{\"epochs\": 3}'.")
            }
        }
    }

    var isGiven: Bool { items != nil || workers != nil || batchSize != nil || config != nil || timeout != nil }

    /// `nil` without items.
    var parameters: JobParameters? {
        guard items != nil, let workers, let batchSize else { return nil }
        return JobParameters(workers: workers, batchSize: batchSize, config: config, timeout: timeout)
    }

    /// The submission document of a Task job; `config` is in it verbatim.
    func submission() throws -> [UInt8] {
        try OrderedJSON.bytes(
            of: Submission(
                workers: workers, timeout: timeout, config: config.map { VerbatimJSON(Array($0.utf8)) }))
    }

    private struct Submission: Encodable {
        let workers: Int?
        let timeout: Int?
        let config: VerbatimJSON?
    }
}

/// One `-H name:value`.
struct HeaderArgument: Sendable, Hashable, ExpressibleByArgument {
    var name: String
    var value: String

    init?(argument: String) {
        guard let colon = argument.firstIndex(of: ":") else { return nil }
        let name = String(argument[..<colon])
        let value = argument[argument.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        guard Self.isToken(name), !value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) else {
            return nil
        }
        // The client frames the message itself.
        guard !["content-length", "transfer-encoding", "host", "connection"].contains(name.lowercased()) else {
            return nil
        }
        self.name = name
        self.value = value
    }
}

extension HeaderArgument {
    /// Whether a text can be the name of a header field or of a method.
    static func isToken(_ text: String) -> Bool {
        let symbols = "!#$%&'*+-.^_`|~".utf8
        return !text.isEmpty
            && text.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || symbols.contains(byte)
            }
    }
}

/// What `-d` names, opened.
struct PayloadInput {
    let payload: PayloadSource?
    /// What its name or text suggests; `nil` for no payload.
    let contentType: String?
    private let descriptor: CInt?

    /// - Parameter textType: the content type of a text that is not JSON.
    init(_ data: String?, console: Console, textType: String = "text/plain; charset=utf-8") throws {
        switch data {
        case nil:
            guard Self.isPiped(STDIN_FILENO) else {
                (payload, contentType, descriptor) = (nil, nil, nil)
                return
            }
            if !Self.hasInput(STDIN_FILENO, within: .seconds(2)) {
                console.note("reading the payload from standard input; for an empty payload give: -d ''")
            }
            (payload, contentType, descriptor) = (.descriptor(STDIN_FILENO, length: nil), Self.binary, nil)
        case "-", "@-":
            (payload, contentType, descriptor) = (
                .descriptor(STDIN_FILENO, length: nil), Self.binary, nil
            )
        case let data? where data.hasPrefix("@"):
            let path = String(data.dropFirst())
            let opened = try PayloadSource.open(path: path)
            (payload, contentType, descriptor) = (opened.payload, Self.contentType(ofFile: path), opened.descriptor)
        case let data?:
            (payload, descriptor) = (.bytes(ByteBuffer(string: data)), nil)
            contentType = Self.isJSON(data) ? "application/json" : textType
        }
    }

    func close() {
        if let descriptor { _ = Foundation.close(descriptor) }
    }

    private static let binary = "application/octet-stream"

    /// Whether a descriptor is a pipe, a file or a socket, as a shell makes it for `|` and `<`; not a terminal or
    /// `/dev/null`.
    private static func isPiped(_ descriptor: CInt) -> Bool {
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { return false }
        return [S_IFIFO, S_IFREG, S_IFSOCK].contains(information.st_mode & S_IFMT)
    }

    /// Whether bytes, or the end of the input, arrive in time. Blocks the thread, which has nothing else to do yet.
    private static func hasInput(_ descriptor: CInt, within limit: Duration) -> Bool {
        var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&watched, 1, CInt(limit.components.seconds * 1000)) != 0
    }

    private static func isJSON(_ text: String) -> Bool {
        var validator = JSONValidator()
        return validator.consume(Array(text.utf8)) && validator.finish()
    }

    static func contentType(ofFile path: String) -> String {
        let types = [
            "json": "application/json", "txt": "text/plain; charset=utf-8", "csv": "text/csv", "html": "text/html",
            "xml": "application/xml", "yaml": "application/yaml", "pdf": "application/pdf", "zip": "application/zip",
            "gz": "application/gzip", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg",
            "gif": "image/gif", "webp": "image/webp", "bmp": "image/bmp", "tif": "image/tiff", "tiff": "image/tiff",
            "wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg", "mp4": "video/mp4",
        ]
        let name = path.split(separator: "/").last ?? ""
        guard let dot = name.lastIndex(of: ".") else { return binary }
        return types[name[name.index(after: dot)...].lowercased()] ?? binary
    }
}
