import Core

/// The schema of `kind: BatchAPI` (contract B, "Fields of cortex.yaml").
enum BatchAPISchema {
    static let root = SchemaObject(
        [
            CommonSchema.name,
            CommonSchema.kind(.batch, "BatchAPI: a job processes many items, then ends."),
            SchemaField(
                "pod", .object(PodSchema.batch), .defaultObject, "The containers that run together as one worker."),
            CommonSchema.networking, CommonSchema.nodeGroups,
            CommonSchema.retries(on: RetryPolicy.Reason.allCases, backoff: "1s"),
            JobSchema.timeout("How long the container may work on one delivery of a batch."), JobSchema.retention,
            SchemaField(
                "max_payload", .size(JobSchema.bytes), .default("1Gi"),
                "Largest submission of items as JSON Lines, in bytes."),
            JobSchema.maxResult("Largest reply that is stored, in bytes."),
            SchemaField(
                "keep_failed", .duration(.zero...CommonSchema.year), .default("24h"),
                "How long the items of failed and cancelled batches are kept for cortex retry; 0s keeps nothing."),
        ] + JobSchema.limits
            + [JobSchema.schedules(job: .required, "The submission of its jobs; its items are in it or are listed.")],
        rules: [JobSchema.uniqueSchedules])
}

/// The schema of `kind: TaskAPI` (contract T, "Fields of cortex.yaml").
enum TaskAPISchema {
    static let root = SchemaObject(
        [
            CommonSchema.name,
            CommonSchema.kind(.task, "TaskAPI: a job runs a program once, then ends."),
            SchemaField(
                "pod", .object(PodSchema.task), .defaultObject, "The containers that run together as one worker."),
            CommonSchema.networking, CommonSchema.nodeGroups, retries,
            JobSchema.timeout("How long one attempt may take."), JobSchema.retention,
            JobSchema.maxResult("Largest result.json that is the result of a worker, in bytes."),
            SchemaField(
                "max_artifacts", .size(0...JobSchema.bytes.upperBound), .default("1Gi"),
                "Artifacts that are kept of one attempt, in bytes; further files are omitted."),
        ] + JobSchema.limits + [JobSchema.schedules(job: .derived("{}"), "The submission of its jobs.")],
        rules: [JobSchema.uniqueSchedules])

    private static let retries = SchemaField(
        "retries",
        .object(
            SchemaObject([
                SchemaField(
                    "max_attempts", .integer(1...100), .default("1"),
                    "Attempts of one worker in total, including the first."),
                SchemaField(
                    "on", .list(of: .choice(TaskRetryPolicy.Reason.allCases.map(\.rawValue)), unique: true),
                    .defaultList([]), "The ends of an attempt that are followed by another one."),
                SchemaField(
                    "no_retry_exit_codes", .list(of: .integer(1...255), unique: true), .defaultList([]),
                    "Exit codes after which there is no other attempt, whatever on says."),
                SchemaField(
                    "on_lost", .choice(TaskRetryPolicy.LossRule.allCases.map(\.rawValue)),
                    .default(TaskRetryPolicy.LossRule.retry.rawValue),
                    "After an end that the platform or the machine caused: retry starts the worker again, fail fails it, so that nothing runs twice."
                ),
                SchemaField(
                    "backoff", .duration(.zero...Limits.retryBackoff), .default("1s"),
                    "Delay before the second attempt; doubles with each further one, up to five minutes."),
            ])), .defaultObject, "Which ends of an attempt are followed by another attempt of the same worker.")
}

/// Fields of both kinds with jobs.
enum JobSchema {
    static let bytes: ClosedRange<Int64> = 1...(1 << 40)

    static func timeout(_ summary: String) -> SchemaField {
        SchemaField("timeout", .duration(.milliseconds(1)...CommonSchema.year), .default("12h"), summary)
    }

    static let retention = SchemaField(
        "retention", .duration(.seconds(1)...CommonSchema.year), .default("7d"),
        "How long a job is readable after its end.")

    static func maxResult(_ summary: String) -> SchemaField {
        SchemaField("max_result", .size(bytes), .default("64Mi"), summary)
    }

    static let limits = [
        SchemaField(
            "max_concurrent_jobs", .integer(1...10_000), .optional, null: .asAbsent,
            "Most jobs that work at the same time; further ones are pending."),
        SchemaField(
            "max_queued_jobs", .integer(1...10_000), .optional, null: .asAbsent,
            "Most jobs that are pending; further ones are refused with status 429."),
        SchemaField(
            "start_timeout", .duration(.seconds(1)...(.seconds(86_400))), .default("15m"),
            "How long workers may fail to start before the job ends; waiting for capacity does not count."),
    ]

    // MARK: Schedules

    /// - Parameter job: the presence of `job`, which is optional where an empty submission is one.
    static func schedules(job: SchemaField.Presence, _ summary: String) -> SchemaField {
        let fields = [
            SchemaField("name", .string(.apiName), .required, "Name of the schedule, unique in the API."),
            SchemaField(
                "cron", .string(.cron), .optional, null: .asAbsent,
                "Minute, hour, day of month, month and day of week of the planned times."),
            SchemaField(
                "every", .duration(ScheduleSpecification.periods), .optional, null: .asAbsent,
                "Time between the planned times, which are its multiples since 1970-01-01T00:00:00Z."),
            SchemaField(
                "time_zone", .string(.timeZone), .derived("UTC"), null: .asAbsent,
                "Time zone of cron; daylight saving time is respected."),
            SchemaField(
                "overlap", .choice(ScheduleSpecification.Overlap.allCases.map(\.rawValue)),
                .default(ScheduleSpecification.Overlap.skip.rawValue),
                "At a planned time while the last job has not ended: skip it, queue the newest one, replace the running job, or allow both."
            ),
            SchemaField(
                "catch_up", .choice(ScheduleSpecification.CatchUp.allCases.map(\.rawValue)),
                .default(ScheduleSpecification.CatchUp.latest.rawValue),
                "Planned times that passed while the platform was down: start a job for none, the latest or all of them."
            ),
            SchemaField(
                "catch_up_window", .duration(ScheduleSpecification.catchUpWindows), .default("1h"),
                "Planned times that are older than this are skipped."),
            SchemaField(
                "jitter", .duration(ScheduleSpecification.jitters), .default("0s"),
                "Upper bound of the delay of each planned time, which is the same at each start."),
            SchemaField("suspended", .boolean, .default("false"), "Whether it submits no jobs until it is resumed."),
            SchemaField("job", .document, job, summary),
        ]
        let schedule = SchemaObject(fields, rules: [ProbeSchema.exactlyOne(of: ["cron", "every"]), zoneOfCron])
        return SchemaField(
            "schedules", .list(of: .object(schedule)), .optional, null: .asAbsent,
            "When the platform submits jobs of its own accord.")
    }

    private static let zoneOfCron = SchemaRule(
        "time_zone goes with cron.",
        schema: .object([
            "not": .object([
                "required": .array([.string("every"), .string("time_zone")]),
                "properties": .object([
                    "every": .object(["type": .string("string")]), "time_zone": .object(["type": .string("string")]),
                ]),
            ])
        ])
    ) { schedule in
        guard let zone = schedule["time_zone"], schedule.given.contains("every") else { return [] }
        return [
            .init(
                path: "time_zone", mark: zone.mark, kind: .notAllowed,
                message: "is allowed with cron only: every counts from 1970-01-01T00:00:00Z")
        ]
    }

    static let uniqueSchedules = SchemaRule("Names of schedules are unique in an API.") { api in
        var seen: [String: Int] = [:]
        return (api["schedules"]?.list ?? []).enumerated().compactMap { index, schedule in
            guard let name = schedule.object?["name"], let text = name.string else { return nil }
            guard let first = seen[text] else {
                seen[text] = index
                return nil
            }
            return .init(
                path: "schedules[\(index)].name", mark: name.mark, kind: .duplicateName,
                message: "\(text.quoted) is already the name of schedules[\(first)]; choose another")
        }
    }
}

extension StringRule {
    static let cron = StringRule(
        "a cron expression of five fields, or a macro such as @daily",
        pattern: "^[^\\u0000]+$",
        maximumLength: CronExpression.maximumLength, allowsAtSign: true
    ) { text in
        do throws(CronExpression.Problem) {
            _ = try CronExpression(text)
            return nil
        } catch {
            return Fault(message: error.message, suggestion: error.suggestion)
        }
    }

    static let timeZone = StringRule(
        "UTC or an IANA time zone name such as Europe/Berlin", pattern: "^(?!@)[^\\u0000]+$"
    ) { name in
        ScheduleSpecification.problem(ofTimeZone: name).map { Fault(message: $0.message, suggestion: $0.suggestion) }
    }
}
