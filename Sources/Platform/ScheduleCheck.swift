package import APIConfiguration
package import Core
import Jobs

/// The checks of schedules that need no running platform. The operator and `cortex deploy --check` use the same ones
/// (contract J14).
package enum ScheduleCheck {
    /// Finds the problems of the submissions of schedules.
    package static let problems: SubmissionCheck = { text, kind in
        Jobs.problems(ofSubmission: text, for: kind).map { SubmissionProblem(path: $0.path, message: $0.message) }
    }

    /// The first planned times of a schedule after `time`, without its jitter: RFC 3339 with the offset of its time
    /// zone. Fewer than `limit` if no more follow within 50 years.
    ///
    /// - Throws: ``PlatformError`` `not_supported` if the time zone is not in this machine's time zone data.
    package static func plannedTimes(_ limit: Int, of schedule: ScheduleSpecification, after time: Timestamp) throws
        -> [String]
    {
        do throws(ScheduleSpecification.Problem) {
            let plan = try SchedulePlan(schedule.timing)
            return plan.times(after: time, limit: limit).map(plan.rfc3339)
        } catch {
            throw PlatformError(
                .notSupported, "the \(error.field) of the schedule \(schedule.name) \(error.message)", cause: error)
        }
    }
}
