import Core
import NIOHTTP1

/// An operation on jobs: the handler of jobs answers it below `/batch/{api}` and `/tasks/{api}`, at the gateway too
/// (contract J1). A test compares this list with what the handler serves.
struct OpenAPIJobRoute: Sendable {
    var method: HTTPMethod
    var path: String
    var operation: OpenAPIOperation

    static let all = routes(of: .batch, below: "/batch/{api}") + routes(of: .task, below: "/tasks/{api}")

    private init(_ method: HTTPMethod, _ path: String, _ operation: OpenAPIOperation) {
        self.method = method
        self.path = path
        self.operation = operation
        self.operation.errors.merge(
            [
                400: "A parameter or the client's version is not understood, or the API is of another kind.",
                401: "The token is not known, or the operator listens on a network and there is no token.",
                404: "No such API, or no such job of it.",
                503: "The store does not answer. Nothing was changed; try again.",
            ]
        ) { own, _ in own }
    }

    private static func routes(of kind: APIKind, below base: String) -> [OpenAPIJobRoute] {
        let word = kind == .batch ? "Batch" : "Task"
        let job = "\(base)/{id}"
        return [
            OpenAPIJobRoute(.POST, base, submission(kind)),
            OpenAPIJobRoute(
                .GET, base,
                OpenAPIOperation(
                    id: "list\(word)Jobs", summary: "The jobs of a \(word)API, newest first, a page at a time.",
                    description: "With `jobID` it is the document of that job, as the original answers.",
                    query: [
                        OpenAPIOperation.Parameter(
                            name: "status", description: "Only jobs with this status.",
                            schema: OpenAPISchemas.words(JobStatus.allCases.map(\.rawValue))),
                        .page("before", "Only jobs older than this one: `next` of the page before."), .limit(100),
                        .page("jobID", "The id of a job."), wait,
                    ], headers: [prefer], success: "A page of jobs, or the document of one.",
                    answer: OpenAPIOperation.either("\(word)JobList", "\(word)Job"),
                    answerHeaders: preferenceApplied)),
            OpenAPIJobRoute(
                .DELETE, base,
                OpenAPIOperation(
                    id: "stop\(word)JobByParameter", summary: "Stops a job, as the original does.",
                    query: [.page("jobID", "The id of the job.", isRequired: true)],
                    answer: OpenAPIOperation.json("Message"), errors: [409: "The job has ended."])),
            OpenAPIJobRoute(
                .GET, job,
                OpenAPIOperation(
                    id: "get\(word)Job", summary: "The document of a job; with `wait` when it has ended.",
                    query: [wait], headers: [prefer], answer: OpenAPIOperation.json("\(word)Job"),
                    answerHeaders: preferenceApplied)),
            OpenAPIJobRoute(
                .DELETE, job,
                OpenAPIOperation(
                    id: "stop\(word)Job", summary: "Stops a job. What it has recorded stays readable.",
                    description:
                        "Workers get the API's `termination_grace_period`; the status becomes `stopped` when they have ended.",
                    answer: OpenAPIOperation.json("Message"), errors: [409: "The job has ended."])),
            OpenAPIJobRoute(.POST, "\(job)/retry", retry(kind)),
            OpenAPIJobRoute(
                .GET, "\(base)/schedules",
                OpenAPIOperation(
                    id: "list\(word)Schedules",
                    summary: "The schedules of a \(word)API, with their last and next times.",
                    answer: OpenAPIOperation.json("ScheduleList"))),
        ] + (kind == .batch ? results(job) : artifacts(job))
    }

    // MARK: Parts of both kinds

    private static let wait = OpenAPIOperation.Parameter(
        name: "wait", description: "Answer when the job has ended, at the latest after this many seconds (at most 60).",
        schema: ["type": "integer", "minimum": 0])
    private static let prefer = OpenAPIOperation.Parameter(
        name: "Prefer", description: "`wait=N`: the same as the parameter.", schema: OpenAPISchemas.text)
    private static let preferenceApplied: [String: OpenAPIOperation.Header] = [
        "Preference-Applied": .init("`wait=N`, when the caller sent `Prefer`.", isRequired: false)
    ]
    private static let submitted: [String: OpenAPIOperation.Header] = preferenceApplied.merging([
        "Location": .init("The path of the job.", isRequired: false)
    ]) { first, _ in first }

    private static func submission(_ kind: APIKind) -> OpenAPIOperation {
        let word = kind == .batch ? "Batch" : "Task"
        var query = [wait, .flag("dryRun", "Check the submission and store nothing; the answer is plain text.")]
        var body: [String: JSONValue] = [
            "application/json": ["schema": OpenAPISchemas.reference("\(word)JobRequest")]
        ]
        if kind == .batch {
            query += [
                .lines("workers", "The number of workers.", ["type": "integer", "minimum": 1]),
                .lines("batch_size", "Items that are delivered together.", ["type": "integer", "minimum": 1]),
                .lines(
                    "timeout", "Seconds after which the job is stopped.",
                    ["type": "integer", "minimum": 1, "maximum": .integer(Int64(Limits.jobTimeout))]),
                .lines(
                    "max_failed_batches", "The job ends when more batches than this have failed.",
                    ["type": "integer", "minimum": 0]),
                .lines("config", "A JSON object for the containers.", OpenAPISchemas.text),
            ]
            let lines: JSONValue = [
                "schema": ["type": "string", "description": "One item in each line: a JSON text of at most 16 MiB."]
            ]
            body["application/jsonl"] = lines
            body["application/x-ndjson"] = lines
        }
        return OpenAPIOperation(
            id: "submit\(word)Job", summary: "Submits a job. It is durable when this is answered.",
            description: kind == .batch
                ? "Either a JSON object, or JSON Lines whose parameters are in the query." : nil,
            query: query,
            headers: [
                prefer,
                OpenAPIOperation.Parameter(
                    name: "Idempotency-Key",
                    description: "The same key with the same submission makes one job, however often it is sent.",
                    schema: [
                        "type": "string", "minLength": 1, "maxLength": .integer(Int64(Limits.idempotencyKey)),
                        "pattern": "^[!-~]([ -~]*[!-~])?$",
                    ]),
            ],
            body: .object(body),
            success: "The submission with the job's id, with `wait` the document of the job, or the text of a dry run.",
            answer: OpenAPIOperation.either("\(word)JobSubmission", "\(word)Job"),
            otherTypes: ["text/plain": OpenAPISchemas.text], answerHeaders: submitted,
            errors: [
                400: "The submission has problems, which are all listed; or a parameter is not understood.",
                413: "The body is too large; the message has the limit.",
                422: "The key was used for another submission.", 429: "`max_queued_jobs` jobs are pending.",
                503: "The store does not answer, or its disk is nearly full. Nothing was accepted; try again.",
            ])
    }

    private static func retry(_ kind: APIKind) -> OpenAPIOperation {
        let isBatch = kind == .batch
        let word = isBatch ? "Batch" : "Task"
        return OpenAPIOperation(
            id: "retry\(word)Job",
            summary: "Makes a new job of the \(isBatch ? "items" : "workers") of an ended one that did not succeed.",
            query: [wait], headers: [prefer],
            body: ["application/json": ["schema": OpenAPISchemas.reference("\(word)JobRetry")]], isBodyRequired: false,
            success: "The submission of the new job, or with `wait` its document.",
            answer: OpenAPIOperation.either("\(word)JobSubmission", "\(word)Job"), answerHeaders: submitted,
            errors: [
                409: isBatch
                    ? "The job has not ended, no such item exists, or its items are no longer kept."
                    : "The job has not ended, or every worker has succeeded.",
                413: "The body is larger than 64 KiB.", 429: "`max_queued_jobs` jobs are pending.",
            ])
    }

    // MARK: Results of a Batch job

    private static func results(_ job: String) -> [OpenAPIJobRoute] {
        let lines: (type: String, schema: JSONValue) = ("application/jsonl", OpenAPISchemas.text)
        func next(_ text: String, isRequired: Bool) -> [String: OpenAPIOperation.Header] {
            ["X-Cortex-Next": .init(text, isRequired: isRequired)]
        }
        return [
            OpenAPIJobRoute(
                .GET, "\(job)/results",
                OpenAPIOperation(
                    id: "results", summary: "The results of a Batch job, in one sequence of lines that only grows.",
                    description:
                        "A line is `{index, status, attempts, result}` or, for a failure, `{index, status, attempts, error}`; several items of one line are named by `index` and `count`, or by `indexes`. `result` has the reply's tokens as they were sent; a line break between them becomes a space.",
                    query: [
                        OpenAPIOperation.Parameter(
                            name: "status", description: "Only lines with this status.",
                            schema: OpenAPISchemas.words(["succeeded", "failed"])),
                        .flag("follow", "Send further lines as they are recorded, until the job has ended."),
                        OpenAPIOperation.Parameter(
                            name: "after", description: "Continue here: `X-Cortex-Next` of an earlier answer.",
                            schema: ["type": "string", "pattern": #"^[ri][0-9]{1,18}\.[0-9]{1,18}$"#]),
                        OpenAPIOperation.Parameter(
                            name: "order", description: "Sort by the first index. Only when the job has ended.",
                            schema: OpenAPISchemas.words(["index"])),
                        .flag(
                            "merged",
                            "The last line of each item of the whole chain of retries; excludes `follow` and `after`."),
                    ], answer: lines,
                    answerHeaders: next(
                        "Where a later read continues; with `follow` a trailer, with `merged` absent.",
                        isRequired: false),
                    errors: [409: "`order` was given, and the job has not ended."])),
            OpenAPIJobRoute(
                .GET, "\(job)/items",
                OpenAPIOperation(
                    id: "items", summary: "The items of a Batch job that have not succeeded, one in each line.",
                    description:
                        "A line is `{index, status, attempts, error?, item?}`; `item` is present while it is kept.",
                    query: [
                        OpenAPIOperation.Parameter(
                            name: "status", description: "Only items with this status.",
                            schema: OpenAPISchemas.words(StoredBatch.State.allCases.map(\.rawValue))),
                        OpenAPIOperation.Parameter(
                            name: "after", description: "Continue here: `X-Cortex-Next` of an earlier answer.",
                            schema: ["type": "string", "pattern": #"^b[0-9]{1,18}\.[0-9]{1,18}$"#]),
                        .limit(Limits.listPage),
                    ], answer: lines,
                    answerHeaders: next(
                        "Where a later read continues; absent when there is nothing.", isRequired: false)
                )),
        ]
    }

    // MARK: Artifacts of a Task job

    private static func artifacts(_ job: String) -> [OpenAPIJobRoute] {
        let attempt = OpenAPIOperation.Parameter(
            name: "attempt", description: "Of this attempt, instead of each worker's last one.",
            schema: ["type": "integer", "minimum": 1, "maximum": 1_000_000])
        let binary: JSONValue = ["type": "string", "format": "binary"]
        let attachment = OpenAPIOperation.Header("`attachment`")
        let tag = OpenAPIOperation.Header("The SHA-256 of the file, in quotes.")
        return [
            OpenAPIJobRoute(
                .GET, "\(job)/artifacts",
                OpenAPIOperation(
                    id: "listArtifacts", summary: "The files that a Task job left, by worker and path.",
                    query: [attempt], answer: OpenAPIOperation.json("ArtifactList"))),
            OpenAPIJobRoute(
                .GET, "\(job)/artifacts/{worker}/{path}",
                OpenAPIOperation(
                    id: "getArtifact", summary: "One file. Its path may have several segments.", query: [attempt],
                    headers: [
                        OpenAPIOperation.Parameter(
                            name: "Range", description: "One range of bytes; others are ignored.",
                            schema: OpenAPISchemas.text),
                        OpenAPIOperation.Parameter(
                            name: "If-None-Match", description: "An `ETag`; the answer is 304 when it is the file's.",
                            schema: OpenAPISchemas.text),
                        OpenAPIOperation.Parameter(
                            name: "If-Range", description: "An `ETag`; with another one `Range` is ignored.",
                            schema: OpenAPISchemas.text),
                    ], success: "The whole file.", answer: ("application/octet-stream", binary),
                    answerHeaders: [
                        "ETag": tag, "Content-Disposition": attachment, "Accept-Ranges": .init("`bytes`"),
                    ],
                    otherAnswers: [
                        206: .init(
                            "The range of the file.", type: "application/octet-stream", schema: binary,
                            headers: ["ETag": tag, "Content-Range": .init("`bytes FIRST-LAST/SIZE`")]),
                        304: .init("The caller has this file.", headers: ["ETag": tag]),
                    ],
                    errors: [404: "No such API, job or file.", 416: "The range is not in the file."])),
            OpenAPIJobRoute(
                .GET, "\(job)/artifacts.tar",
                OpenAPIOperation(
                    id: "getArtifactArchive", summary: "All files as a tar archive: `WORKER/PATH`.", query: [attempt],
                    answer: ("application/x-tar", binary), answerHeaders: ["Content-Disposition": attachment])),
        ]
    }
}

extension OpenAPIOperation {
    /// A JSON document of one of two shapes.
    fileprivate static func either(_ first: String, _ second: String) -> (type: String, schema: JSONValue) {
        (
            "application/json",
            ["anyOf": [OpenAPISchemas.reference(first), OpenAPISchemas.reference(second)]]
        )
    }
}

extension OpenAPIOperation.Parameter {
    /// A parameter that is the id of a job.
    fileprivate static func page(_ name: String, _ description: String, isRequired: Bool = false) -> Self {
        Self(name: name, description: description, schema: OpenAPISchemas.requestID, isRequired: isRequired)
    }

    fileprivate static func limit(_ standard: Int) -> Self {
        Self(
            name: "limit", description: "At most this many.",
            schema: [
                "type": "integer", "minimum": 1, "maximum": .integer(Int64(Limits.listPage)),
                "default": .integer(Int64(standard)),
            ])
    }

    /// A parameter of a submission of JSON Lines.
    fileprivate static func lines(_ name: String, _ description: String, _ schema: JSONValue) -> Self {
        Self(name: name, description: "\(description) Only for JSON Lines.", schema: schema)
    }
}
