import Core

/// The documents of jobs and schedules (contract jobs, *Documents*).
extension OpenAPISchemas {
    static let jobs: [String: JSONValue] = jobRequests.merging(jobDocuments) { first, _ in first }
        .merging(scheduleDocuments) { first, _ in first }

    private static let anyObject: JSONValue = ["type": "object"]
    private static let config: JSONValue = [
        "type": ["object", "null"],
        "description": "Of the submission, byte for byte; the containers find it in `job.json`.",
    ]
    private static let jobTimeout: JSONValue = [
        "type": ["integer", "null"], "minimum": 1, "maximum": .integer(Int64(Limits.jobTimeout)),
        "description": "Seconds after which the whole job is stopped, from the moment at which it runs.",
    ]
    private static let batchSize: JSONValue = [
        "type": "integer", "minimum": 1, "description": "Items that are delivered together.",
    ]
    /// What no argument and no variable of a process can have.
    private static let withoutNUL: JSONValue = ["type": "string", "pattern": #"^[^\u0000]*$"#]

    private static func described(_ schema: JSONValue, _ description: String) -> JSONValue {
        guard case .object(var members) = schema else { return schema }
        members["description"] = .string(description)
        return .object(members)
    }

    // MARK: Submissions

    private static let files = object(
        [
            "s3_paths": [
                "type": "array", "items": text, "minItems": 1, "description": "Prefixes: `s3://…` or `file:///…`.",
            ], "batch_size": batchSize,
        ],
        optional: [
            "includes": ["type": ["array", "null"], "items": text],
            "excludes": ["type": ["array", "null"], "items": text],
        ], "`includes` and then `excludes` are globs on the whole URL.")

    private static let jobRequests: [String: JSONValue] = [
        "BatchJobRequest": [
            "type": "object", "required": ["workers"],
            "properties": [
                "workers": ["type": "integer", "minimum": 1], "timeout": jobTimeout, "config": config,
                "max_failed_batches": described(countOrNull, "The job ends when more batches than this have failed."),
                "item_list": object([
                    "items": ["type": "array", "minItems": 1, "description": "Any JSON values."],
                    "batch_size": batchSize,
                ]), "file_path_lister": described(files, "Each URL is an item."),
                "delimited_files": described(files, "Each JSON value in the files is an item."),
            ],
            "oneOf": [
                ["required": ["item_list"]], ["required": ["file_path_lister"]], ["required": ["delimited_files"]],
            ],
            "description": "Unknown members are ignored, and named in `ignored_fields` of the answer.",
        ],
        "TaskJobRequest": [
            "type": "object",
            "properties": [
                "workers": ["type": ["integer", "null"], "minimum": 1, "maximum": 1000, "default": 1],
                "timeout": jobTimeout, "config": config,
                "args": [
                    "type": ["array", "null"], "items": withoutNUL,
                    "description": "Replaces `args` of the first container.",
                ],
                "env": [
                    "type": ["object", "null"],
                    "propertyNames": ["pattern": #"^(?!CORTEX_|KUBEXIT_)[^=\u0000]+$"#],
                    "additionalProperties": withoutNUL,
                    "description": "Added to the variables of every container.",
                ],
                "retries": [
                    "type": ["object", "null"],
                    "properties": [
                        "max_attempts": ["type": ["integer", "null"], "minimum": 1, "maximum": 100],
                        "on": [
                            "type": ["array", "null"],
                            "items": words(TaskRetryPolicy.Reason.allCases.map(\.rawValue)),
                        ],
                        "no_retry_exit_codes": [
                            "type": ["array", "null"], "items": ["type": "integer", "minimum": 1, "maximum": 255],
                        ],
                        "on_lost": ["enum": ["retry", "fail", .null]],
                        "backoff": [
                            "type": ["string", "null"], "description": "A duration up to `5m`, such as `1.5s`.",
                        ],
                    ], "description": "Replaces the API's `retries` member by member.",
                ],
            ], "description": "Unknown members are ignored, and named in `ignored_fields` of the answer.",
        ],
        "BatchJobRetry": [
            "type": "object",
            "properties": [
                "workers": ["type": ["integer", "null"], "minimum": 1],
                "only": [
                    "enum": ["failed", "unfinished", .null],
                    "description": "Only items that failed, or only those that were cancelled; else both.",
                ],
            ],
        ],
        "TaskJobRetry": described(anyObject, "No member is read."),
        "JobSubmission": ["oneOf": [reference("BatchJobSubmission"), reference("TaskJobSubmission")]],
        "BatchJobSubmission": object(
            batchJob.merging(["created_time": moment]) { first, _ in first },
            optional: origin.merging(["max_failed_batches": count]) { first, _ in first }),
        "TaskJobSubmission": object(
            taskJob.merging(["created_time": moment]) { first, _ in first },
            optional: origin.merging([
                "args": list(text), "env": ["type": "object", "additionalProperties": text],
            ]) { first, _ in first }),
    ]

    /// What submissions and statuses have in common.
    private static func job(_ kind: APIKind) -> [String: JSONValue] {
        [
            "job_id": requestID, "api_name": apiName, "kind": ["type": "string", "const": .string(kind.rawValue)],
            "workers": count, "config": config, "timeout": jobTimeout, "api_id": text, "start_time": moment,
        ]
    }
    private static let batchJob = job(.batch).merging([
        "sqs_dead_letter_queue": ["type": "null"], "sqs_url": ["type": "string", "const": ""],
    ]) { first, _ in first }
    private static let taskJob = job(.task).merging(["spec_id": text, "pod_id": text]) { first, _ in first }

    private static let origin: [String: JSONValue] = [
        "ignored_fields": list(text), "retry_of": requestID,
        "schedule": object(["name": apiName, "planned_at": moment], optional: ["manual": flag]),
    ]

    // MARK: Jobs

    private static let jobState: [String: JSONValue] = [
        "status": words(JobStatus.allCases.map(\.rawValue)), "created_time": moment,
    ]
    private static let jobOptions: [String: JSONValue] = origin.merging([
        "end_time": moment, "running_since": moment, "reason": text,
        "worker_counts": [
            "type": "object", "additionalProperties": count,
            "description": "Workers by state, without zeros; only while the job is open.",
        ],
    ]) { first, _ in first }

    private static let jobDocuments: [String: JSONValue] = [
        "BatchJob": object([
            "api_spec": reference("BatchSpecification"), "job_status": reference("BatchJobStatus"),
            "metrics": object(
                ["succeeded": count, "failed": count, "average_time_per_batch": numberOrNull],
                "Deliveries that ended with success for all their items, all other attempts, and seconds."),
            "endpoint": url,
        ]),
        "BatchJobStatus": object(
            batchJob.merging(jobState) { first, _ in first }.merging([
                "total_batch_count": count, "batches_in_queue": count, "is_enqueuing": flag,
                "item_counts": object(
                    [
                        "total": count, "succeeded": count, "failed": count, "cancelled": count, "in_queue": count,
                        "in_progress": count,
                    ], "`total` is the sum of the others."),
            ]) { first, _ in first },
            optional: jobOptions.merging([
                "max_failed_batches": count,
                "on_job_complete": object(
                    ["status": words(["running", "succeeded", "not_handled", "failed"])],
                    optional: ["error": reference("Failure")]),
            ]) { first, _ in first }),
        "BatchJobList": object(
            ["jobs": list(reference("BatchJobStatus"))], optional: ["next": requestID],
            "Newest first; `next` is `before` of the next page."),
        "TaskJob": object([
            "api_spec": reference("TaskSpecification"), "job_status": reference("TaskJobStatus"), "endpoint": url,
        ]),
        "TaskJobStatus": object(
            taskJob.merging(jobState) { first, _ in first }.merging([
                "attempts": list(
                    object(
                        [
                            "worker": count, "attempt": count,
                            "status": words(
                                JobRun.Status.allCases.filter { $0 != .planned }.map(\.rawValue)),
                            "started_at": moment,
                        ], optional: ["exit_code": ["type": "integer"], "reason": text, "ended_at": moment])),
                "artifacts": count,
            ]) { first, _ in first },
            optional: jobOptions.merging([
                "progress": [
                    "type": ["object", "array"],
                    "description": "`progress.json` of the only worker, or of each worker that runs and has one.",
                ], "result": ["description": "`result.json` of the only worker."],
                "results": [
                    "type": "array", "description": "`result.json` of each worker, `null` where there is none.",
                ],
            ]) { first, _ in first }),
        "TaskJobList": object(
            ["jobs": list(reference("TaskJobStatus"))], optional: ["next": requestID],
            "Newest first; `next` is `before` of the next page."),
        "ArtifactList": object(
            [
                "artifacts": list(
                    object([
                        "worker": count, "attempt": count, "path": text, "size": count,
                        "sha256": ["type": "string", "pattern": "^[0-9a-f]{64}$"],
                    ]))
            ],
            optional: [
                "omitted": list(object(["worker": count, "attempt": count, "path": text, "reason": text]))
            ], "Of each worker those of its last attempt that ended."),
    ]

    // MARK: Schedules

    private static let scheduleDocuments: [String: JSONValue] = [
        "ScheduleList": object(["schedules": list(reference("Schedule"))]),
        "Schedule": object(
            [
                "name": apiName, "time_zone": text,
                "overlap": words(ScheduleSpecification.Overlap.allCases.map(\.rawValue)),
                "catch_up": words(ScheduleSpecification.CatchUp.allCases.map(\.rawValue)),
                "state": words(["active", "suspended"]),
                "next": described(list(moment), "The next 5 planned times; empty while it is suspended."),
                "skipped": list(object(["planned_at": moment, "count": count, "reason": text])),
            ],
            optional: [
                "cron": text, "every": described(number, "Seconds."),
                "last": object(
                    ["planned_at": moment],
                    optional: [
                        "job_id": requestID, "status": words(JobStatus.allCases.map(\.rawValue)), "skipped": text,
                    ]),
            ]),
    ]
}
