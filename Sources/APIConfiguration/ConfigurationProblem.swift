package import Core

/// A problem of a `cortex.yaml`, with its place (contract Y3).
package struct ConfigurationProblem: Sendable, Hashable {
    /// The kind of problem, for programs.
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        // The file.
        case notUTF8 = "not_utf8"
        case tooLarge = "too_large"
        case tooDeep = "too_deep"
        case syntax
        case multipleDocuments = "multiple_documents"
        case duplicateKey = "duplicate_key"
        case invalidKey = "invalid_key"
        case unknownAlias = "unknown_alias"
        case unsupportedTag = "unsupported_tag"
        case malformedConfig = "malformed_config"
        case noAPIs = "no_apis"
        // A field.
        case unknownKey = "unknown_key"
        case missing
        case nullNotAllowed = "null_not_allowed"
        case wrongType = "wrong_type"
        case invalidFormat = "invalid_format"
        case outOfRange = "out_of_range"
        case notAllowed = "not_allowed"
        case notSupported = "not_supported"
        case unknownKind = "unknown_kind"
        case kindNotServed = "kind_not_served"
        case resourceReference = "cortex_resource_not_allowed"
        case reservedEnvironment = "cortex_prefixed_env_var_not_allowed"
        // Rules over several fields; with the original's word if it had one.
        case specifyExactlyOne = "specify_exactly_one_field"
        case duplicateName = "duplicate_name"
        case duplicateContainerName = "duplicate_container_name"
        case duplicateEndpoint = "duplicate_endpoint_in_one_deploy"
        case duplicateValue = "duplicate_value"
        case minReplicasGreaterThanMax = "min_replicas_greater_than_max"
        case initReplicasGreaterThanMax = "init_replicas_greater_than_max"
        case initReplicasLessThanMin = "init_replicas_less_than_min"
        case surgeAndUnavailableBothZero = "surge_and_unavailable_both_zero"
        case shmCannotExceedMem = "shm_cannot_exceed_mem"
        case computeResourceConflict = "compute_resource_conflict"
        case targetInFlightLimitReached = "target_in_flight_limit_reached"
        case incorrectTrafficSplitterWeight = "incorrect_traffic_splitter_weight"
        case trafficSplitterAPIsNotUnique = "traffic_splitter_apis_not_unique"
        case oneShadowPerTrafficSplitter = "one_shadow_per_traffic_splitter"
        case apiNotInTrafficSplitter = "api_not_in_traffic_splitter"
        case apisNotDeployed = "apis_not_deployed"
        /// In the submission of a schedule.
        case invalidSubmission = "invalid_submission"
        case tooManyProblems = "too_many_problems"
        case `internal`
    }

    package var file: String
    /// From 1.
    package var line: Int
    /// From 1, in Unicode scalars.
    package var column: Int
    /// The API's name; `nil` if it has none (yet).
    package var api: String?
    /// `pod.containers[0].readiness_probe.http_get.port`; empty for a whole API or the file.
    package var path: String
    package var kind: Kind
    /// The length of the marked part of the line, in Unicode scalars; at least 1.
    package var length: Int
    /// What was found and what is allowed, in one line.
    package var message: String
    /// What to do about it, in one line, if the message does not make that clear.
    package var hint: String?
    /// The known key that is similar to a misspelt one.
    package var suggestion: String?

    package init(
        file: String, line: Int, column: Int, length: Int = 1, api: String? = nil, path: String = "", kind: Kind,
        message: String, hint: String? = nil, suggestion: String? = nil
    ) {
        self.file = file
        self.line = line
        self.column = column
        self.length = length
        self.api = api
        self.path = path
        self.kind = kind
        self.message = message
        self.hint = hint
        self.suggestion = suggestion
    }

    /// `cortex.yaml:3:5: iris: pod.port: …`, in one line.
    package var rendered: String { ReportedProblem(self).text }
}

extension Sequence<ConfigurationProblem> {
    /// All problems, one per line.
    package var rendered: String { map(\.rendered).joined(separator: "\n") }
}

extension ReportedProblem {
    /// The problem as a document.
    package init(_ problem: ConfigurationProblem) {
        self.init(
            file: problem.file, line: problem.line, column: problem.column, length: problem.length, api: problem.api,
            path: problem.path.isEmpty ? nil : problem.path, kind: problem.kind.rawValue, message: problem.message,
            hint: problem.hint, suggestion: problem.suggestion, text: "")
        text = inOneLine(file: problem.file)
    }

    /// Place, API, path and message.
    ///
    /// - Parameter file: the shown name of the file.
    package func headline(file: String) -> String {
        [place(file: file), api, path, message].compactMap(\.self).joined(separator: ": ")
    }

    /// `cortex.yaml:3:5`.
    package func place(file: String) -> String {
        guard let line else { return file }
        return "\(file):\(line)" + (column.map { ":\($0)" } ?? "")
    }

    /// What to do about it, one element for each advice.
    package var advice: [String] {
        [hint, suggestion.map { "did you mean \($0.quoted)?" }].compactMap(\.self)
    }

    /// The headline with the advice.
    package func inOneLine(file: String) -> String {
        ([headline(file: file)] + advice).joined(separator: "; ")
    }
}
