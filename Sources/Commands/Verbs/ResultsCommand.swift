import ArgumentParser
import Client
import Core
import Foundation
import NIOCore
import NIOPosix
import Support
import Synchronization

struct ResultsCommand: APICommand {
    static let kinds: Set<APIKind> = [.batch]
    static let configuration = CommandConfiguration(
        commandName: "results",
        abstract: "Print the results of a Batch job: one JSON object in each line.",
        discussion: """
            A line has the index of an item (or of several), and its result or its error.
            Lines come in the order in which they were recorded, also while the job runs.

            An existing FILE is continued where it ends: results are only appended, so
            the same command fetches what is new.

            After cortex retry, --merged prints the results of the job and of those it
            repeats as one: the last line of each item.

            Examples:
              cortex results sum 0190f3a2-5d1c-7aaa-8bbb-1234567890ab
              cortex results sum 0190f3a2-5d1c-7aaa-8bbb-1234567890ab --failed
              cortex results sum 0190f3a2-5d1c-7aaa-8bbb-1234567890ab --follow -o FILE
              cortex results sum 0190f3a2-5d1c-7aaa-8bbb-1234567890ab --merged
            """)

    @OptionGroup var target: APIArgument
    @Argument(help: "The id of the job.", completion: .jobs(), transform: RequestID.typed)
    var id: RequestID
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Print lines as they are recorded, until the job has ended.")
    var follow = false
    @Flag(help: "Only items that failed.")
    var failed = false
    @Flag(help: "The last line of each item of the whole chain of retries.")
    var merged = false
    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp("Write to this file, continuing it where it ends.", valueName: "file"),
        completion: .file())
    var file: String?

    func validate() throws {
        guard !merged || !follow else { throw ValidationError("--merged and --follow exclude each other.") }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        let target = target
        try await context.withJobs(cluster, api: target.api, kinds: Self.kinds) { jobs in
            try await JobOutput.findingJob(target.api) {
                guard let file else {
                    var output = ResponseOutput(context.console)
                    try await read(jobs) { try await output.write($0) }
                    return try await output.finish()
                }
                let results = try ContinuedFile(path: file)
                defer { results.close() }
                try await read(jobs) { part in
                    try await NIOThreadPool.singleton.runIfActive { try results.receive(part.readableBytesView) }
                }
                try results.finish()
            }
        }
    }

    private func read(_ jobs: JobClient, receive: (ByteBuffer) async throws -> Void) async throws {
        if merged { return try await jobs.mergedResults(id, onlyFailed: failed, receive: receive) }
        try await jobs.results(id, onlyFailed: failed, follow: follow, receive: receive)
    }
}

/// A file that holds the beginning of a text, or nothing, and gets the rest of it.
private final class ContinuedFile: Sendable {
    private let path: String
    private let descriptor: CInt
    /// How much of the text the file held at first.
    private let known: Int
    /// The number of bytes of the text that were received.
    private let position = Mutex(0)

    init(path: String) throws {
        self.path = path
        self.descriptor = Foundation.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        var information = stat()
        guard descriptor >= 0, fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            let reason = descriptor >= 0 ? "it is not a file" : String(cString: strerror(errno))
            if descriptor >= 0 { _ = Foundation.close(descriptor) }
            throw PlatformError(.setup, "\(path) cannot be written: \(reason)")
        }
        self.known = Int(information.st_size)
    }

    func close() { _ = Foundation.close(descriptor) }

    /// Compares what the file holds already, and writes the rest. Blocks the thread.
    ///
    /// - Throws: ``PlatformError`` `conflict` when the file holds another text; nothing was written then.
    func receive(_ bytes: ByteBufferView) throws {
        try position.withLock { position in
            let compared = min(bytes.count, max(0, known - position))
            if compared > 0 {
                var held = [UInt8](repeating: 0, count: compared)
                guard pread(descriptor, &held, compared, off_t(position)) == compared,
                    held.elementsEqual(bytes.prefix(compared))
                else { throw other }
                position += compared
            }
            var rest = Array(bytes.dropFirst(compared))[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, off_t(position)) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else {
                    throw PlatformError(.setup, "\(path) cannot be written: \(String(cString: strerror(errno)))")
                }
                position += count
                rest = rest.dropFirst(count)
            }
        }
    }

    /// - Throws: `conflict` when the file is longer than the text.
    func finish() throws {
        guard position.withLock({ $0 }) >= known else { throw other }
    }

    private var other: PlatformError {
        PlatformError(
            .conflict, "\(path) holds something else than the results of this job; name another file, or remove it")
    }
}
