/// One element of `schedules`: when the platform submits a job of its own accord (contract J14).
package struct ScheduleSpecification: Sendable, Hashable {
    /// The planned times.
    package enum Timing: Sendable, Hashable {
        /// `cron` and `time_zone`, in the user's spelling.
        case cron(CronExpression, timeZone: String)
        /// `every`: the multiples of a duration since 1970-01-01T00:00:00Z.
        case every(Duration)
    }

    /// What happens at a planned time while the schedule's last job has not ended.
    package enum Overlap: String, Sendable, Hashable, Codable, CaseIterable {
        /// The planned time is skipped.
        case skip
        /// The newest planned time waits until the job has ended.
        case queue
        /// The job is stopped, and the new one starts when it has ended.
        case replace
        /// The new job starts.
        case allow
    }

    /// What happens with planned times that have passed.
    package enum CatchUp: String, Sendable, Hashable, Codable, CaseIterable {
        /// All are skipped.
        case nothing = "none"
        /// The newest leads to a job; the others are skipped.
        case latest
        /// Each leads to a job, in order; at most the newest ``Limits/scheduleCatchUp``.
        case all
    }

    /// Unique in the API.
    package var name: String
    package var timing: Timing
    package var overlap: Overlap
    package var catchUp: CatchUp
    /// Planned times older than this are skipped, whatever ``catchUp`` says.
    package var catchUpWindow: Duration
    /// The upper bound of the fixed delay of each planned time.
    package var jitter: Duration
    /// `suspended` in the file. The state that users set with `schedule suspend` and `resume` is in the store.
    package var isSuspended: Bool
    /// The submission (contract B1, T1), a JSON object.
    package var job: String

    package init(
        name: String, timing: Timing, overlap: Overlap = .skip, catchUp: CatchUp = .latest,
        catchUpWindow: Duration = .seconds(3600), jitter: Duration = .zero, isSuspended: Bool = false,
        job: String = "{}"
    ) {
        self.name = name
        self.timing = timing
        self.overlap = overlap
        self.catchUp = catchUp
        self.catchUpWindow = catchUpWindow
        self.jitter = jitter
        self.isSuspended = isSuspended
        self.job = job
    }

    /// `time_zone`; `UTC` with `every`.
    package var timeZone: String {
        switch timing {
        case .cron(_, let timeZone): timeZone
        case .every: "UTC"
        }
    }

    /// The fields on which a saved state depends. The store keeps the text with the state, so that a deploy which
    /// changes them is noticed.
    package var fingerprint: String { "\(isSuspended ? "suspended" : "active") \(timingText)" }

    /// Whether a saved state belongs to the same `cron`, `every` and `time_zone`; with others it is planned again.
    package func hasTiming(ofFingerprint fingerprint: String) -> Bool {
        fingerprint.drop { $0 != " " }.dropFirst() == timingText
    }

    /// Whether a saved state belongs to a file with the same `suspended`; with another one the file decides.
    package func hasSuspension(ofFingerprint fingerprint: String) -> Bool {
        fingerprint.hasPrefix("suspended ") == isSuspended
    }

    private var timingText: String {
        switch timing {
        case .cron(let expression, let timeZone): "cron \(expression.text) \(timeZone)"
        case .every(let period): "every \(period.wholeMicroseconds)"
        }
    }
}

/// The rules for the fields of a schedule that need more than a type.
extension ScheduleSpecification {
    /// The allowed values of `every`, `catch_up_window` and `jitter`.
    package static let periods: ClosedRange<Duration> = .seconds(1) ... .seconds(365 * 86_400)
    package static let catchUpWindows: ClosedRange<Duration> = .seconds(1) ... .seconds(365 * 86_400)
    package static let jitters: ClosedRange<Duration> = .zero ... .seconds(3600)

    /// A problem of one field.
    package struct Problem: Error, Sendable, Hashable {
        /// The key in `cortex.yaml`, such as `time_zone`.
        package var field: String
        /// What is wrong and what is allowed.
        package var message: String
        /// The value that was probably intended.
        package var suggestion: String?

        package init(field: String, message: String, suggestion: String? = nil) {
            self.field = field
            self.message = message
            self.suggestion = suggestion
        }
    }

    /// Reads `cron`, `every` and `time_zone`, each `nil` if it is absent. Throws the first problem.
    package static func timing(
        cron: String?, every: Duration?, timeZone: String?
    ) throws(Problem) -> Timing {
        switch (cron, every) {
        case (nil, nil): throw Problem(field: "", message: "one of cron and every is required")
        case (.some, .some): throw Problem(field: "every", message: "only one of cron and every is allowed")
        case (nil, let every?):
            if timeZone != nil {
                throw Problem(
                    field: "time_zone", message: "is allowed with cron only: every counts from 1970-01-01T00:00:00Z")
            }
            guard periods.contains(every) else {
                throw Problem(field: "every", message: "must be a duration from 1s to 365d")
            }
            return .every(every)
        case (let text?, nil):
            if let timeZone, let problem = problem(ofTimeZone: timeZone) { throw problem }
            do throws(CronExpression.Problem) {
                return .cron(try CronExpression(text), timeZone: timeZone ?? "UTC")
            } catch {
                throw Problem(field: "cron", message: error.message, suggestion: error.suggestion)
            }
        }
    }

    /// `nil` for the name of an IANA time zone.
    package static func problem(ofTimeZone name: String) -> Problem? {
        if TimeZoneNames.contains(name) { return nil }
        return Problem(
            field: "time_zone", message: "must be UTC or an IANA time zone name such as Europe/Berlin",
            suggestion: TimeZoneNames.suggestion(for: name))
    }

    /// The indexes of schedules whose name an earlier one has.
    package static func duplicates(in schedules: [ScheduleSpecification]) -> [Int] {
        var names: Set<String> = []
        return schedules.indices.filter { !names.insert(schedules[$0].name).inserted }
    }
}
