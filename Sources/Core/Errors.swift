/// An error with a closed code, a message for the person who reads it, and its cause for the log.
///
/// `message` says what is wrong and what to do next. It never holds a path of the server, an SQL text or a stack: it
/// goes to callers as it is.
package struct PlatformError: Error, Sendable, CustomStringConvertible {
    /// What kind of error it is. The name goes onto the wire as `error.kind`.
    package struct Code: Sendable, Hashable, CustomStringConvertible {
        /// The word on the wire.
        package let kind: String
        private init(_ kind: String) { self.kind = kind }

        /// 400: broken framing or parameters.
        package static let badRequest = Code("bad_request")
        /// 401: no credential, or one that is not known.
        package static let unauthorized = Code("unauthorized")
        /// 403: the caller is known, or its origin is, and may not do this.
        package static let forbidden = Code("forbidden")
        /// 404: unknown endpoint, API or id.
        package static let notFound = Code("not_found")
        /// 405: the path exists, but not with this method.
        package static let methodNotAllowed = Code("method_not_allowed")
        /// 501: no parser of this server knows the method.
        package static let methodNotImplemented = Code("method_not_implemented")
        /// 409: not possible in the present state.
        package static let conflict = Code("conflict")
        /// 409: an API of this kind is being updated, and `force` was not given; the original's words, such as
        /// `asyncapi.api_updating`.
        package static func apiUpdating(_ kind: APIKind) -> Code { Code(kind.rawValue.lowercased() + updating) }
        /// Whether an API, of whatever kind, is being updated.
        package var isAPIUpdating: Bool { kind.hasSuffix(Self.updating) }
        private static let updating = ".api_updating"
        /// 409: a TrafficSplitter names the RealtimeAPI, so it cannot be deleted.
        package static let usedByTrafficSplitter = Code("realtime_api_used_by_traffic_splitter")
        /// 400: the API is of a kind that has no such operation.
        package static let onlySupportedForKind = Code("operation_is_only_supported_for_kind")
        /// 400: a submission has none of several members of which it needs one.
        package static let specifyExactlyOneKey = Code("specify_exactly_one_key")
        /// 400: a submission has several members of which it may have one.
        package static let conflictingFields = Code("conflicting_fields")
        /// 400: a query parameter is missing.
        package static let queryParameterRequired = Code("query_param_required")
        /// 400: no file matches a job's input.
        package static let noFilesFound = Code("no_s3_files_found")
        /// 409: the job has ended.
        package static let jobNotInProgress = Code("job_is_not_in_progress")
        /// 413: over `max_payload`.
        package static let payloadTooLarge = Code("payload_too_large")
        /// 422: an idempotency key came again with another request.
        package static let idempotencyMismatch = Code("idempotency_key_reused")
        /// 429: `max_queue_length` is reached.
        package static let queueFull = Code("queue_full")
        /// 400: a `cortex.yaml` with problems; the message lists them all.
        package static let configurationInvalid = Code("configuration_invalid")
        /// 400: client and server are of different versions.
        package static let versionMismatch = Code("version_mismatch")
        /// 400: this engine or installation cannot do what was asked.
        package static let notSupported = Code("not_supported")
        /// 503: nothing could be written or read; nothing was accepted.
        package static let storeUnavailable = Code("store_unavailable")
        /// 503: less free disk than the reserve; nothing was accepted, results are still stored.
        package static let diskLow = Code("disk_low")
        /// The store's files are damaged, foreign or of a newer version. Nothing was touched.
        package static let storeCorrupt = Code("store_corrupt")
        /// The container engine does not answer.
        package static let engineUnavailable = Code("engine_unavailable")
        /// An image is missing and cannot be pulled.
        package static let imageUnavailable = Code("image_unavailable")
        /// A container could not be started or answered wrongly.
        package static let containerFailed = Code("container_failed")
        /// Something took longer than it was allowed to.
        package static let timedOut = Code("timed_out")
        /// 503: shutting down, or a limit on connections is reached.
        package static let unavailable = Code("unavailable")
        /// A connection could not be made.
        package static let connectionFailed = Code("connection_failed")
        /// The command line was wrong (exit status 2).
        package static let usage = Code("usage")
        /// The platform cannot start here: port taken, directory locked, disk full.
        package static let setup = Code("setup")
        /// A fault of ours.
        package static let `internal` = Code("internal")

        package var description: String { kind }
    }

    package let code: Code
    package let message: String
    package let cause: (any Error)?

    package init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// For logs: code, message, and the chain of causes.
    package var description: String {
        guard let cause else { return "\(code): \(message)" }
        return "\(code): \(message) (cause: \(cause.safeDescription))"
    }
}

extension Error {
    /// A text for logs. The values inside an error that has no description of its own are left out, because one of them
    /// may be a secret (contract N9).
    package var safeDescription: String {
        if let described = (self as Any) as? any CustomStringConvertible { return described.description }
        let mirror = Mirror(reflecting: self)
        if mirror.children.isEmpty { return "\(type(of: self)).\(self)" }
        if mirror.displayStyle == .enum, let name = mirror.children.first?.label { return "\(type(of: self)).\(name)" }
        return "\(type(of: self))"
    }
}

/// One problem of a `cortex.yaml`, as it is reported over HTTP and shown by clients (contract Y3). The members that are
/// not known are `nil`. `configuration_invalid` comes with a list of them.
package struct ReportedProblem: Sendable, Hashable, Codable {
    package var file: String?
    /// Counted from 1.
    package var line: Int?
    /// Counted from 1.
    package var column: Int?
    /// How much of the line it is about, in Unicode scalars; 1 where it is not said.
    package var length: Int?
    /// Name of the API it is in.
    package var api: String?
    /// Path of the field, such as `pod.containers[0].image`.
    package var path: String?
    /// What is wrong, as a word for programs.
    package var kind: String?
    /// What was found, and what is allowed.
    package var message: String
    /// What to do about it.
    package var hint: String?
    /// The known word that a misspelt one is near to.
    package var suggestion: String?
    /// The whole problem in one line: place, API, path, message and what to do.
    package var text: String

    package init(
        file: String? = nil, line: Int? = nil, column: Int? = nil, length: Int? = nil, api: String? = nil,
        path: String? = nil, kind: String? = nil, message: String, hint: String? = nil, suggestion: String? = nil,
        text: String
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
        self.text = text
    }
}
