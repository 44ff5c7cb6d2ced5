import ArgumentParser
import Client
import Core
import Support
import Wire

struct LogsCommand: APICommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Print the output of the containers of an API or a job.",
        discussion: """
            Each line begins with its replica and container, or for a job with its worker,
            attempt and container. With -o json each line is a JSON document. A followed
            log of a job ends with the job.

            Examples:
              cortex logs hello
              cortex logs hello --follow --tail 20
              cortex logs hello --container model
              cortex logs train 0190f3a2-5d1c-7aaa-8bbb-1234567890ab --worker 0 --follow
            """)

    @OptionGroup var target: APIArgument
    @Argument(help: "The id of a Batch or Task job.", completion: .jobs(), transform: RequestID.typed)
    var job: RequestID?
    @OptionGroup var environment: EnvironmentOption
    @Flag(name: .shortAndLong, help: "Keep printing new lines until Ctrl-C.")
    var follow = false
    @Option(help: "Only this replica (names: cortex describe).", completion: .replicas)
    var replica: String?
    @Option(help: ArgumentHelp("Only this worker of the job.", valueName: "index"))
    var worker: Int?
    @Option(help: ArgumentHelp("Only this attempt of the job's workers.", valueName: "number"))
    var attempt: Int?
    @Option(help: "Only this container of each replica or worker.", completion: .containers)
    var container: String?
    @Option(help: ArgumentHelp("Only the last lines of each container.", valueName: "count"))
    var tail: Int?
    @Flag(help: "Only one replica, chosen by the platform; implies --follow.")
    var randomPod = false
    @Flag(name: .shortAndLong, help: .hidden)
    var yes = false
    @OptionGroup var format: OutputOption

    func validate() throws {
        guard format.output != .yaml else { throw ValidationError("logs come as pretty or json.") }
        guard (tail ?? 0) >= 0 else { throw ValidationError("--tail must be 0 or more.") }
        guard !randomPod || replica == nil else {
            throw ValidationError("--random-pod and --replica cannot be combined.")
        }
        guard job != nil || (worker == nil && attempt == nil) else {
            throw ValidationError("--worker and --attempt need the id of a job.")
        }
        guard job == nil || (!randomPod && replica == nil) else {
            throw ValidationError("A job has workers: give --worker instead of --replica or --random-pod.")
        }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        if let job {
            try await context.withJobs(cluster, api: target.api) { _ in }
            let selection = JobLogSelection(job: job, worker: worker, attempt: attempt)
            return try await printJob(selection, cluster, context)
        }
        try await context.withOperator(cluster) { client in
            var options = LogOptions(
                follow: follow || randomPod, tail: tail, replica: replica, container: container)
            if randomPod {
                let replicas = try await client.describe(target.api).status?.replicas ?? []
                options.replica = (replicas.first { $0.state == .ready } ?? replicas.first)?.id
            }
            var printer = LogPrinter(style: context.console.style)
            guard options.follow else {
                return try await print(client.logs(target.api, options: options), &printer, context)
            }
            let lines = try await client.logs(target.api, options: options)
            do {
                try await print(lines, &printer, context)
            } catch let error as PlatformError where error.isPassing {
                // The connection was lost: as with an end, the platform may be back in a moment.
            }
            try await resume(client, options, &printer, context)
        }
    }

    /// Prints a job's log. A followed one ends when the job has ended; until then a lost connection is made again.
    private func printJob(
        _ selection: JobLogSelection, _ cluster: Environment, _ context: CommandContext
    ) async throws {
        var options = LogOptions(follow: follow, tail: tail, container: container)
        var failures = 0
        while true {
            do {
                let hasEnded = try await context.withOperator(cluster) { [options] client in
                    var printer = LogPrinter(style: context.console.style)
                    let lines = try await JobOutput.findingJob(target.api) {
                        try await client.logs(target.api, options: options, job: selection)
                    }
                    try await print(lines, &printer, context)
                    guard options.follow else { return true }
                    // A platform that is shutting down ends the log, too.
                    return try await context.withJobs(cluster, api: target.api) { jobs in
                        try await !jobs.job(selection.job).status.isOpen
                    }
                }
                if hasEnded { return }
                failures = 0
            } catch let error as PlatformError where error.isPassing && options.follow {
                failures += 1
                guard failures <= Self.failuresAllowed else { throw error }
            }
            context.console.note(
                "the platform ended the log; connecting again. Lines written in between are missing here, see them with:"
                    + " cortex logs \(target.api) \(selection.job)")
            options.tail = 0
            try await context.clock.sleep(for: Self.pause)
        }
    }

    /// How often in a row the platform may be away: the time that a restart takes.
    private static let failuresAllowed = 60
    private static let pause: Duration = .seconds(1)

    /// Goes on following after the platform ended the log, which it does when it stops (contract O4). Ends with an
    /// error.
    ///
    /// - Throws: ``PlatformError`` once the platform was away for a minute, or when what was followed is gone.
    private func resume(
        _ client: OperatorClient, _ options: LogOptions, _ printer: inout LogPrinter, _ context: CommandContext
    ) async throws {
        var options = options
        // What was printed is not printed again.
        options.tail = 0
        let console = context.console
        var failures = 0
        var isAnnounced = false
        while true {
            if !isAnnounced { console.note("the platform ended the log; connecting again") }
            isAnnounced = true
            try await context.clock.sleep(for: Self.pause)
            do {
                let lines = try await client.logs(target.api, options: options)
                (failures, isAnnounced) = (0, false)
                console.note(
                    "connected again; lines written in between are missing here, see them with: cortex logs \(target.api)"
                )
                try await print(lines, &printer, context)
            } catch let error as PlatformError where error.isPassing && failures < Self.failuresAllowed {
                failures += 1
            }
        }
    }

    private func print(
        _ batches: AsyncThrowingStream<[LogLineDocument], any Error>, _ printer: inout LogPrinter,
        _ context: CommandContext
    ) async throws {
        for try await batch in batches {
            // One write for all lines that have arrived.
            var shown = ""
            for line in batch {
                guard format.output == .pretty else {
                    shown += try DocumentText.line(line) + "\n"
                    continue
                }
                if let notice = line.notice {
                    // The lines before it come first.
                    if !shown.isEmpty { try context.console.print(shown) }
                    shown = ""
                    context.console.note(notice.inOneLine)
                }
                guard let text = line.text else { continue }
                shown += printer.line(replica: line.origin, container: line.container ?? "-", text: text)
                if shown.utf8.last != UInt8(ascii: "\n") { shown += "\n" }
            }
            if !shown.isEmpty { try context.console.print(shown) }
        }
    }
}

extension LogLineDocument {
    /// The replica, or for a job the worker, and its attempt behind a point if it is not the first one.
    fileprivate var origin: String {
        guard let worker else { return replica ?? "-" }
        return "worker-\(worker)" + (attempt.map { $0 > 1 ? ".\($0)" : "" } ?? "")
    }
}

/// Log lines with the replica they come from in front, each replica in its own colour (contract O4).
struct LogPrinter {
    private let style: TextStyle
    private var colors: [String: TextStyle.Color] = [:]
    private var width = 0
    /// The beginning of the line before.
    private var last: (replica: String, container: String, prefix: String)?

    init(style: TextStyle) {
        self.style = style
    }

    /// One line of a container, for standard output. The prefix is padded to the widest one so far.
    mutating func line(replica: String, container: String, text: String) -> String {
        // A file gets the text as it is; a terminal gets nothing that steers it.
        let shown = style.isTerminal ? String(text.lastOverwrite).withoutControls : text
        let reset = style.hasColor && shown.contains("\u{1B}") ? "\u{1B}[0m" : ""
        return "\(prefix(replica, container)) \(shown)\(reset)"
    }

    private mutating func prefix(_ replica: String, _ container: String) -> String {
        if let last, last.replica == replica, last.container == container { return last.prefix }
        let prefix = "\(replica)/\(container)".inOneLine
        width = max(width, prefix.count)
        let color = colors[replica] ?? TextStyle.Color.allCases[colors.count % TextStyle.Color.allCases.count]
        colors[replica] = color
        let padding = String(repeating: " ", count: width - prefix.count)
        let shown = style.colored("\(prefix)\(padding) |", color)
        last = (replica, container, shown)
        return shown
    }
}
