package import Core
import HTTPServing
import Support

/// Reads a submission of a job, a JSON object, and reports all its problems at once (contract B1, T1).
package struct SubmissionParser {
    /// What a submission says.
    package struct Parsed: Sendable {
        package var submission: JobSubmission
        /// The places of the items in the text; empty unless the submission contains them.
        package var items: [Range<Int>]
    }

    private let text: JSONSlices
    private var problems: [String] = []
    private var ignored: [String] = []

    /// - Parameter bytes: what the caller sent.
    /// - Throws: ``PlatformError`` `bad_request` with all problems, `specify_exactly_one_key`, `conflicting_fields` or
    ///   `not_supported`.
    package static func parse(_ bytes: [UInt8], for kind: APIKind) throws -> Parsed {
        if let problem = JSONValidator.problem(in: bytes) {
            throw PlatformError(
                .badRequest,
                "the submission must be a JSON object: \(problem.reason) (at byte \(problem.offset))")
        }
        let text = JSONSlices(bytes)
        guard let members = text.members(of: text.whole) else {
            throw PlatformError(.badRequest, "the submission must be a JSON object")
        }
        var parser = SubmissionParser(text: text)
        let parsed = try parser.read(members, kind)
        guard parser.problems.isEmpty else {
            throw PlatformError(.badRequest, parser.problems.joined(separator: "; "))
        }
        return parsed
    }

    /// The problems of a submission, each with the path of its member.
    package static func problems(in bytes: [UInt8], for kind: APIKind) -> [(path: String, message: String)] {
        do {
            let text = JSONSlices(bytes)
            guard JSONValidator.problem(in: bytes) == nil, let members = text.members(of: text.whole) else {
                return [("", "must be a JSON object")]
            }
            var parser = SubmissionParser(text: text)
            _ = try parser.read(members, kind)
            return parser.problems.map(split)
        } catch {
            return [split((error as? PlatformError)?.message ?? "\(error)")]
        }
    }

    private static func split(_ problem: String) -> (path: String, message: String) {
        guard let range = problem.firstRange(of: ": "), !problem[..<range.lowerBound].contains(" ") else {
            return ("", problem)
        }
        return (String(problem[..<range.lowerBound]), String(problem[range.upperBound...]))
    }

    private mutating func read(_ members: [(name: String, value: Range<Int>)], _ kind: APIKind) throws -> Parsed {
        // Of two members with the same name the last one counts; null is the same as no member.
        let values = Dictionary(members.map { ($0.name, $0.value) }) { $1 }.filter { !text.isNull($0.value) }
        switch kind {
        case .batch: return try batch(values)
        case .task: return task(values)
        case .async, .realtime, .trafficSplitter:
            throw PlatformError(.internal, "a submission for an API without jobs")
        }
    }

    private init(text: JSONSlices) { self.text = text }

    private typealias Members = [String: Range<Int>]

    // MARK: BatchAPI

    /// Bytes of `args` and `env` together: what engines start a container with, less a share for the API's own.
    static let largestCommand = 512 << 10

    private static let inputs = ["item_list", "file_path_lister", "delimited_files"]

    private mutating func batch(_ members: Members) throws -> Parsed {
        guard members["sqs_dead_letter_queue"] == nil else {
            throw PlatformError(
                .notSupported,
                "sqs_dead_letter_queue: there is no SQS here. Read failed items from the results of the job, and run them again with its retry"
            )
        }
        let inputs = Self.inputs.filter { members[$0] != nil }
        guard let input = inputs.first else {
            throw PlatformError(
                .specifyExactlyOneKey, "specify exactly one of \(Self.inputs.joined(separator: ", ")): none is there")
        }
        guard inputs.count == 1 else {
            throw PlatformError(
                .conflictingFields,
                "specify exactly one of \(Self.inputs.joined(separator: ", ")): found \(inputs.joined(separator: " and "))"
            )
        }
        ignore(members, except: ["workers", "timeout", "config", "max_failed_batches"] + Self.inputs)
        let workers = integer("workers", members["workers"], in: 1...Int.max, isRequired: true)
        var work = JobSubmission.BatchWork(batchSize: 1)
        work.maxFailedBatches = integer("max_failed_batches", members["max_failed_batches"], in: 0...Int.max)
        let part = object(input, members[input])
        work.batchSize =
            integer("\(input).batch_size", part["batch_size"], in: 1...Int.max, isRequired: true) ?? 1
        var items: [Range<Int>] = []
        if input == "item_list" {
            ignore(part, except: ["items", "batch_size"], in: input)
            items = part["items"].flatMap { text.elements(of: $0) } ?? []
            if items.isEmpty { problems.append("item_list.items: must be an array of at least one JSON value") }
        } else {
            ignore(part, except: ["s3_paths", "includes", "excludes", "batch_size"], in: input)
            let use: JobSubmission.FileInput.Use = input == "file_path_lister" ? .paths : .contents
            work.files = JobSubmission.FileInput(
                use: use, paths: strings("\(input).s3_paths", part["s3_paths"], isRequired: true) ?? [],
                includes: strings("\(input).includes", part["includes"]) ?? [],
                excludes: strings("\(input).excludes", part["excludes"]) ?? [])
        }
        return Parsed(
            submission: common(members, workers: workers ?? 1, work: .batch(work)), items: items)
    }

    /// Reads the parameters of a submission of JSON Lines (contract B2).
    ///
    /// - Throws: ``PlatformError`` `bad_request` with all problems.
    static func lines(_ request: IncomingRequest) throws -> JobSubmission {
        // Written as the members of an object, so that both forms have the same rules.
        var members: [String] = []
        var ignored: [String] = []
        for (name, value) in Dictionary(
            request.parameters.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        {
            switch name {
            case "wait", "dryRun": break
            case "workers", "batch_size", "timeout", "max_failed_batches", "config":
                // What is no JSON becomes a text, which the rule of the member refuses.
                let isJSON = JSONValidator.problem(in: Array(value.utf8)) == nil
                members.append("\(JSONText.quoted(name)):\(isJSON ? value : JSONText.quoted(value))")
            default: ignored.append(name)
            }
        }
        var parser = SubmissionParser(text: JSONSlices(Array("{\(members.sorted().joined(separator: ","))}".utf8)))
        let values = parser.object("query", parser.text.whole)
        let workers = parser.integer("workers", values["workers"], in: 1...Int.max, isRequired: true)
        let size = parser.integer("batch_size", values["batch_size"], in: 1...Int.max, isRequired: true)
        let most = parser.integer("max_failed_batches", values["max_failed_batches"], in: 0...Int.max)
        parser.ignored = ignored.sorted()
        let work = JobSubmission.BatchWork(batchSize: size ?? 1, maxFailedBatches: most)
        let submission = parser.common(values, workers: workers ?? 1, work: .batch(work))
        guard parser.problems.isEmpty else {
            throw PlatformError(.badRequest, parser.problems.joined(separator: "; "))
        }
        return submission
    }

    // MARK: TaskAPI

    private mutating func task(_ members: Members) -> Parsed {
        ignore(members, except: ["workers", "timeout", "config", "args", "env", "retries"])
        let workers = integer("workers", members["workers"], in: 1...1000) ?? 1
        var work = JobSubmission.TaskWork()
        work.args = strings("args", members["args"])
        for (index, argument) in (work.args ?? []).enumerated() where argument.contains("\0") {
            problems.append("args[\(index)]: has a NUL, which no argument of a process can have")
        }
        if let env = members["env"] {
            for (name, value) in object("env", env).sorted(by: { $0.key < $1.key }) {
                let path = "env.\(name)"
                guard let value = text.string(value) else {
                    problems.append("\(path): must be a string")
                    continue
                }
                if name.hasPrefix("CORTEX_") || name.hasPrefix("KUBEXIT_") {
                    problems.append("\(path): names that begin with CORTEX_ or KUBEXIT_ are the platform's")
                } else if name.isEmpty || name.contains("=") || name.contains("\0") || value.contains("\0") {
                    problems.append("\(path): is not a variable that a process can have")
                } else {
                    work.env[name] = value
                }
            }
        }
        let size =
            (work.args ?? []).reduce(0) { $0 + $1.utf8.count + 1 }
            + work.env.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count + 2 }
        if size > Self.largestCommand {
            problems.append(
                "args and env: have \(size) bytes together; at most \(Self.largestCommand) are possible. Put larger input into config, which is in /cortex/spec/job.json"
            )
        }
        if let retries = members["retries"] {
            let part = object("retries", retries)
            ignore(part, except: TaskRetries.fields, in: "retries")
            let read = TaskRetries.read(part, text)
            problems += read.problems
            work.retries = Array(text.bytes[retries])
        }
        return Parsed(submission: common(members, workers: workers, work: .task(work)), items: [])
    }

    // MARK: Members of both

    private mutating func common(_ members: Members, workers: Int, work: JobSubmission.Work) -> JobSubmission {
        let timeout = integer("timeout", members["timeout"], in: 1...Limits.jobTimeout)
        var config: [UInt8]?
        if let value = members["config"] {
            if text.isObject(value) {
                config = Array(text.bytes[value])
            } else {
                problems.append("config: must be an object")
            }
        }
        return JobSubmission(
            workers: workers, timeout: timeout.map { .seconds($0) }, config: config, ignoredFields: ignored, work: work)
    }

    private mutating func ignore(_ members: Members, except known: [String], in parent: String? = nil) {
        for name in members.keys.sorted() where !known.contains(name) {
            ignored.append(parent.map { "\($0).\(name)" } ?? name)
        }
    }

    private mutating func object(_ path: String, _ value: Range<Int>?) -> Members {
        guard let value else { return [:] }
        guard let members = text.members(of: value) else {
            problems.append("\(path): must be an object")
            return [:]
        }
        return Dictionary(members.map { ($0.name, $0.value) }) { $1 }.filter { !text.isNull($0.value) }
    }

    private mutating func integer(
        _ path: String, _ value: Range<Int>?, in range: ClosedRange<Int>, isRequired: Bool = false
    ) -> Int? {
        let allowed =
            range.upperBound == .max
            ? "must be an integer of at least \(range.lowerBound)"
            : "must be an integer from \(range.lowerBound) to \(range.upperBound)"
        guard let value else {
            if isRequired { problems.append("\(path): is required; \(allowed)") }
            return nil
        }
        guard let number = text.integer(value), range.contains(number) else {
            problems.append("\(path): \(allowed), found \(excerpt(value))")
            return nil
        }
        return number
    }

    private mutating func strings(_ path: String, _ value: Range<Int>?, isRequired: Bool = false) -> [String]? {
        guard let value else {
            if isRequired { problems.append("\(path): is required; must be an array of strings") }
            return nil
        }
        guard let elements = text.elements(of: value) else {
            problems.append("\(path): must be an array of strings, found \(excerpt(value))")
            return nil
        }
        if isRequired, elements.isEmpty { problems.append("\(path): must have at least one element") }
        return elements.enumerated().compactMap { index, element in
            if let string = text.string(element) { return string }
            problems.append("\(path)[\(index)]: must be a string, found \(excerpt(element))")
            return nil
        }
    }

    private func excerpt(_ value: Range<Int>) -> String {
        let bytes = text.bytes[value]
        let shown = String(decoding: bytes.prefix(40), as: UTF8.self)
        return bytes.count > 40 ? "\(shown)…" : shown
    }
}
