import Client
import Core
import Foundation
import Support
import Wire

extension JobStatus {
    /// The words of the original's tables (reference: cortex.md §11).
    var words: String {
        switch self {
        case .enqueueFailed: "failed while enqueuing"
        case .workerOOM: "out of memory"
        default: rawValue.replacing("_", with: " ")
        }
    }
}

/// A job's times as the views show them.
private struct JobTime {
    let text: String
    private let seconds: Int64

    /// `nil` for another form than that of the platform.
    init?(_ rfc3339: String?) {
        guard let rfc3339, let date = try? Date(rfc3339, strategy: .iso8601) else { return nil }
        let seconds = Int64(date.timeIntervalSince1970)
        let civil = CivilTime(Timestamp(seconds: seconds))
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let day = "\(two(civil.day)) \(Self.months[civil.month - 1]) \(two(civil.year % 100))"
        self.text = "\(day) \(two(civil.hour)):\(two(civil.minute)):\(two(civil.second)) UTC"
        self.seconds = seconds
    }

    static func duration(from start: String?, to end: String?, now: Timestamp) -> String {
        guard let start = JobTime(start) else { return "-" }
        return Age.text(of: .seconds((JobTime(end)?.seconds ?? now.seconds) - start.seconds))
    }

    static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
}

/// Jobs as tables (reference: cortex.md §9.3). Columns that the original does not have stand on the right.
enum JobTable {
    /// Jobs of one API, newest first; all are of its kind.
    static func render(_ jobs: [JobStatusDocument], kind: APIKind, now: Timestamp, style: TextStyle) -> String {
        guard !jobs.isEmpty else { return "no submitted \(kind == .batch ? "batch" : "task") jobs" }
        let isBatch = kind == .batch
        var table = Table(
            (isBatch
                ? ["job id", "status", "total batches", "start time", "duration", "succeeded", "failed"]
                : ["task job id", "status", "start time", "duration"]).map { .init($0) }
                + [.init("reason", isText: true)])
        for job in jobs {
            switch job {
            case .batch(let job):
                table.append([
                    "\(job.jobID)", job.status.words, "\(job.totalBatchCount)", JobTime(job.startTime)?.text ?? "-",
                    JobTime.duration(from: job.startTime, to: job.endTime, now: now), "\(job.itemCounts.succeeded)",
                    "\(job.itemCounts.failed)", job.reason ?? "",
                ])
            case .task(let job):
                table.append([
                    "\(job.jobID)", job.status.words, JobTime(job.startTime)?.text ?? "-",
                    JobTime.duration(from: job.startTime, to: job.endTime, now: now), job.reason ?? "",
                ])
            }
        }
        if jobs.allSatisfy({ $0.reason == nil }) { table.remove(column: "reason") }
        return table.render(style)
    }

    /// The jobs that an API's document lists.
    static func jobs(of api: APIDocument) -> [JobStatusDocument] {
        (api.batchJobStatuses ?? []).map { .batch($0) } + (api.taskJobStatuses ?? []).map { .task($0) }
    }

    /// The columns running jobs and latest job id of a list of APIs.
    static func summary(of api: APIDocument, now: Timestamp) -> [String] {
        let jobs = jobs(of: api)
        let running = jobs.count { [.enqueuing, .running].contains($0.status) }
        guard let latest = jobs.max(by: { $0.jobID < $1.jobID }) else { return ["\(running)", "-"] }
        let submitted =
            switch latest {
            case .batch(let job): job.createdTime
            case .task(let job): job.createdTime
            }
        return ["\(running)", "\(latest.jobID) (submitted \(Age.since(rfc3339: submitted, now: now)) ago)"]
    }
}

/// `cortex get API JOB`.
enum JobView {
    /// - Parameter config: that of the submission, verbatim.
    static func render(
        _ job: JobDocument, config: VerbatimJSON?, now: Timestamp, style: TextStyle
    ) throws -> String {
        var parts: [String]
        switch job {
        case .batch(let document):
            let status = document.jobStatus
            parts = [facts(job.jobStatus, status.startTime, status.endTime, now: now, style)]
            var table = Table(["total", "succeeded", "failed attempts", "avg time per batch"])
            table.append([
                "\(status.totalBatchCount)", "\(document.metrics.succeeded)", "\(document.metrics.failed)",
                document.metrics.averageTimePerBatch.map { TrafficFigure.milliseconds($0 * 1000) } ?? "-",
            ])
            parts.append(style.bold("batch stats") + "\n" + table.render(style))
            let items = status.itemCounts
            let counts =
                "\(items.total) in total, \(items.succeeded) succeeded, \(items.failed) failed, \(items.cancelled) cancelled,"
                + " \(items.inQueue) in queue, \(items.inProgress) in progress"
            parts.append(style.fact("items", counts))
            if let completion = status.onJobComplete {
                let error = completion.error.map { ": \(FailureText.line($0))" } ?? ""
                parts[parts.count - 1] += "\n" + style.fact("on job complete", completion.status.words + error)
            }
            parts += workers(status.workerCounts, requested: status.workers, style)
        case .task(let document):
            let status = document.jobStatus
            parts = [facts(job.jobStatus, status.startTime, status.endTime, now: now, style)]
            if !status.attempts.isEmpty { parts.append(attempts(status.attempts, now: now, style)) }
            if status.artifacts > 0 {
                parts.append(style.fact("artifacts", "\(status.artifacts)"))
            }
            parts += workers(status.workerCounts, requested: status.workers, style)
        }
        parts.append(style.fact("job endpoint", job.endpoint))
        let specification = String(
            decoding: try OrderedJSON.bytes(of: Specification(job, config: config), .indented), as: UTF8.self)
        parts.append(style.bold("job configuration") + "\n" + specification.trimmedEnd)
        return parts.joined(separator: "\n\n")
    }

    private static func facts(
        _ job: JobStatusDocument, _ start: String, _ end: String?, now: Timestamp, _ style: TextStyle
    ) -> String {
        var facts = [style.fact("job id", "\(job.jobID)"), style.fact("status", job.status.words)]
        if let reason = job.reason { facts.append(style.fact("reason", reason)) }
        facts.append(style.fact("start time", JobTime(start)?.text ?? "-"))
        facts.append(style.fact("end time", JobTime(end)?.text ?? "-"))
        facts.append(style.fact("duration", JobTime.duration(from: start, to: end, now: now)))
        return facts.joined(separator: "\n")
    }

    private static func attempts(
        _ attempts: [TaskJobStatusDocument.Attempt], now: Timestamp, _ style: TextStyle
    ) -> String {
        var table = Table(
            ["worker", "attempt", "status", "exit code", "start time", "duration"].map { .init($0) }
                + [.init("reason", isText: true)])
        for attempt in attempts {
            table.append([
                "\(attempt.worker)", "\(attempt.attempt)", attempt.status.rawValue.replacing("_", with: " "),
                attempt.exitCode.map { "\($0)" } ?? "-", JobTime(attempt.startedAt)?.text ?? "-",
                JobTime.duration(from: attempt.startedAt, to: attempt.endedAt, now: now), attempt.reason ?? "",
            ])
        }
        if attempts.allSatisfy({ $0.reason == nil }) { table.remove(column: "reason") }
        return style.bold("attempts") + "\n" + table.render(style)
    }

    /// States of the original's table in its order; those in `hidden` only if a worker has them.
    private static let states: [(state: WorkerCountsDocument.State, title: String)] = [
        (.pending, "Pending"), (.creating, "Creating"), (.ready, "Ready"), (.notReady, "NotReady"),
        (.errImagePull, "ErrImagePull"), (.terminating, "Terminating"), (.failed, "Failed"), (.killed, "Killed"),
        (.killedOOM, "KilledOOM"), (.stalled, "Stalled"), (.unknown, "Unknown"), (.succeeded, "Succeeded"),
    ]
    private static let hidden: Set<WorkerCountsDocument.State> = [
        .errImagePull, .terminating, .failed, .killed, .killedOOM, .stalled, .unknown,
    ]

    /// Nothing for a job that has ended.
    private static func workers(
        _ counts: WorkerCountsDocument?, requested: Int, _ style: TextStyle
    ) -> [String] {
        guard let counts else { return [] }
        let shown = states.filter { counts[$0.state] > 0 || !hidden.contains($0.state) }
        var table = Table(["Requested"] + shown.map(\.title))
        table.append(["\(requested)"] + shown.map { "\(counts[$0.state])" })
        return [style.bold("worker stats") + "\n" + table.render(style)]
    }

    /// What was submitted, as far as the job's document has it.
    private struct Specification: Encodable {
        let jobID: RequestID
        let apiName: String
        let kind: APIKind
        let workers: Int
        let config: OrNull<VerbatimJSON>
        let timeout: OrNull<Int64>
        let apiID: String

        init(_ job: JobDocument, config: VerbatimJSON?) {
            switch job {
            case .batch(let document):
                let status = document.jobStatus
                (jobID, apiName, kind, workers) = (status.jobID, status.apiName, status.kind, status.workers)
                (timeout, apiID) = (.init(wrappedValue: status.timeout), status.apiID)
            case .task(let document):
                let status = document.jobStatus
                (jobID, apiName, kind, workers) = (status.jobID, status.apiName, status.kind, status.workers)
                (timeout, apiID) = (.init(wrappedValue: status.timeout), status.apiID)
            }
            self.config = .init(wrappedValue: config)
        }

        enum CodingKeys: String, CodingKey {
            case jobID = "job_id"
            case apiName = "api_name"
            case kind, workers, config, timeout
            case apiID = "api_id"
        }
    }
}

extension BatchJobStatusDocument.Completion.Status {
    fileprivate var words: String { rawValue.replacing("_", with: " ") }
}

/// `cortex schedules`.
enum ScheduleView {
    static func render(_ schedules: [ScheduleDocument], style: TextStyle) -> String {
        guard !schedules.isEmpty else { return "no schedules" }
        var table = Table(["name", "schedule", "state", "last", "next"])
        for schedule in schedules {
            table.append([
                schedule.name, timing(schedule), schedule.state.rawValue, last(schedule),
                schedule.next.first.map { moment($0, in: schedule.timeZone) } ?? "-",
            ])
        }
        return table.render(style)
    }

    private static func timing(_ schedule: ScheduleDocument) -> String {
        if let cron = schedule.cron { return "\(cron) (\(schedule.timeZone))" }
        return "every \(Age.text(of: .seconds(schedule.every ?? 0)))"
    }

    private static func last(_ schedule: ScheduleDocument) -> String {
        guard let last = schedule.last else { return "-" }
        let outcome = last.status?.words ?? (last.skipped == nil ? "" : "skipped")
        return "\(moment(last.plannedAt, in: schedule.timeZone)) \(outcome)".trimmingCharacters(in: .whitespaces)
    }

    /// `29 Nov 03:00 CET`: the wall time as the platform wrote it, with the zone's abbreviation.
    static func moment(_ rfc3339: String, in zone: String) -> String {
        let parts = rfc3339.split(separator: "T")
        let date = parts.first?.split(separator: "-").compactMap { Int($0) } ?? []
        guard parts.count == 2, date.count == 3, (1...12).contains(date[1]), parts[1].count >= 6 else { return rfc3339 }
        let time = parts[1].prefix(5)
        let seconds = parts[1].dropFirst(6).prefix(2)
        let day = date[2] < 10 ? "0\(date[2])" : "\(date[2])"
        let shown = seconds == "00" ? "\(time)" : "\(time):\(seconds)"
        return "\(day) \(JobTime.months[date[1] - 1]) \(shown) \(abbreviation(rfc3339, in: zone))"
    }

    /// The zone's abbreviation at that moment, or the offset where there is none.
    private static func abbreviation(_ rfc3339: String, in zone: String) -> String {
        guard zone != "UTC", let timeZone = TimeZone(identifier: zone),
            let date = try? Date(rfc3339, strategy: .iso8601)
        else { return "UTC" }
        // In English, most zones have an abbreviation in the locale of a country that lies in them.
        for locale in ["en_GB", "en_US", "en_AU"] {
            let formatter = DateFormatter()
            formatter.locale = Locale(identifier: locale)
            formatter.timeZone = timeZone
            formatter.dateFormat = "zzz"
            let text = formatter.string(from: date)
            if !text.contains("+"), !text.contains("-") { return text }
        }
        let time = rfc3339.drop { $0 != "T" }
        guard let sign = time.lastIndex(where: { $0 == "+" || $0 == "-" }) else { return "UTC" }
        return String(time[sign...])
    }
}
