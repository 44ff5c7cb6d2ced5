import Core
import Support

/// `retries` of a Task job's submission: it replaces the API's field by field (contract T1).
enum TaskRetries {
    static let fields = ["max_attempts", "on", "no_retry_exit_codes", "on_lost", "backoff"]

    /// The API's rules with those of a submission.
    static func policy(_ api: TaskRetryPolicy, replacedBy bytes: [UInt8]?) -> TaskRetryPolicy {
        guard let bytes else { return api }
        let text = JSONSlices(bytes)
        let members = Dictionary((text.members(of: text.whole) ?? []).map { ($0.name, $0.value) }) { $1 }
        return read(members.filter { !text.isNull($0.value) }, text, over: api).policy
    }

    /// - Returns: the rules, and what is wrong; a member with a problem leaves the rule as it is.
    static func read(_ members: [String: Range<Int>], _ text: JSONSlices, over api: TaskRetryPolicy = .init())
        -> (policy: TaskRetryPolicy, problems: [String])
    {
        var policy = api
        var problems: [String] = []
        if let value = members["max_attempts"] {
            if let count = text.integer(value), (1...100).contains(count) {
                policy.maxAttempts = count
            } else {
                problems.append("retries.max_attempts: must be an integer from 1 to 100")
            }
        }
        if let value = members["on"] {
            let reasons = text.elements(of: value)?.map { text.string($0).flatMap(TaskRetryPolicy.Reason.init) }
            if let reasons, !reasons.contains(nil) {
                policy.on = Set(reasons.compactMap { $0 })
            } else {
                problems.append("retries.on: must be an array of exit, oom and timeout")
            }
        }
        if let value = members["no_retry_exit_codes"] {
            let codes = text.elements(of: value)?.map { text.integer($0) ?? 0 }
            if let codes, codes.allSatisfy((1...255).contains) {
                policy.noRetryExitCodes = Set(codes)
            } else {
                problems.append("retries.no_retry_exit_codes: must be an array of integers from 1 to 255")
            }
        }
        if let value = members["on_lost"] {
            if let rule = text.string(value).flatMap(TaskRetryPolicy.LossRule.init) {
                policy.onLost = rule
            } else {
                problems.append("retries.on_lost: must be retry or fail")
            }
        }
        if let value = members["backoff"] {
            if let wait = text.string(value).flatMap(DurationSyntax.parse), wait >= .zero, wait <= .seconds(300) {
                policy.backoff = wait
            } else {
                problems.append("retries.backoff: must be a duration from 0s to 5m")
            }
        }
        return (policy, problems)
    }
}
