import Core

/// The members of a ``SpecDocument`` that only an AsyncAPI has. Durations in nanoseconds, sizes in bytes.
package struct RequestPolicyDocument: Sendable, Hashable, Codable {
    package var timeout: Int64
    package var retention: Int64
    package var keepFailed: Int64
    package var maxPayload: Int64
    package var maxResult: Int64
    @OrNull package var maxQueueLength: Int?
    @OrNull package var maxQueueTime: Int64?
    package var retries: RetriesDocument

    init(_ policy: RequestPolicy) {
        self.timeout = policy.timeout.wholeNanoseconds
        self.retention = policy.retention.wholeNanoseconds
        self.keepFailed = policy.keepFailed.wholeNanoseconds
        self.maxPayload = policy.maxPayload
        self.maxResult = policy.maxResult
        self.maxQueueLength = policy.maxQueueLength
        self.maxQueueTime = policy.maxQueueTime?.wholeNanoseconds
        self.retries = RetriesDocument(policy.retries)
    }

    enum CodingKeys: String, CodingKey {
        case timeout, retention, retries
        case keepFailed = "keep_failed"
        case maxPayload = "max_payload"
        case maxResult = "max_result"
        case maxQueueLength = "max_queue_length"
        case maxQueueTime = "max_queue_time"
    }
}

/// `retries` of a ``SpecDocument``.
package struct RetriesDocument: Sendable, Hashable, Codable {
    package var maxAttempts: Int
    package var on: [String]
    /// Nanoseconds.
    package var backoff: Int64

    init(_ retries: RetryPolicy) {
        self.maxAttempts = retries.maxAttempts
        self.on = retries.on.map(\.rawValue).sorted()
        self.backoff = retries.backoff.wholeNanoseconds
    }

    enum CodingKeys: String, CodingKey {
        case on, backoff
        case maxAttempts = "max_attempts"
    }
}

/// The members of a ``SpecDocument`` that only a RealtimeAPI has. Durations in nanoseconds, sizes in bytes.
package struct ProxyPolicyDocument: Sendable, Hashable, Codable {
    package var timeout: Int64
    @OrNull package var idleTimeout: Int64?
    package var maxQueueTime: Int64
    @OrNull package var maxPayload: Int64?
    package var retries: RetriesDocument
    @OrNull package var sticky: StickinessDocument?

    init(_ policy: ProxyPolicy) {
        self.timeout = policy.timeout.wholeNanoseconds
        self.idleTimeout = policy.idleTimeout?.wholeNanoseconds
        self.maxQueueTime = policy.maxQueueTime.wholeNanoseconds
        self.maxPayload = policy.maxPayload
        self.retries = RetriesDocument(policy.retries)
        self.sticky = policy.sticky.map(StickinessDocument.init)
    }

    enum CodingKeys: String, CodingKey {
        case timeout, retries, sticky
        case idleTimeout = "idle_timeout"
        case maxQueueTime = "max_queue_time"
        case maxPayload = "max_payload"
    }
}

/// `sticky` of a ``SpecDocument``: exactly one of the two.
package struct StickinessDocument: Sendable, Hashable, Codable {
    package var cookie: String?
    package var header: String?

    init(_ sticky: Stickiness) {
        switch sticky {
        case .cookie(let name): self.cookie = name
        case .header(let name): self.header = name
        }
    }
}

/// The members of a ``SpecDocument`` that only a TrafficSplitter has.
package struct SplitterDocument: Sendable, Hashable, Codable {
    package var apis: [Target]
    @OrNull package var sticky: StickinessDocument?
    package var match: [Match]
    package var allowOverride: Bool
    package var fallback: Bool
    @OrNull package var `guard`: Guard?

    init(_ splitter: SplitterSpecification) {
        self.apis = splitter.targets.map { Target(name: $0.api, weight: $0.weight, shadow: $0.isShadow) }
        self.sticky = splitter.sticky.map(StickinessDocument.init)
        self.match = splitter.matches.map(Match.init)
        self.allowOverride = splitter.allowsOverride
        self.fallback = splitter.hasFallback
        self.guard = splitter.guarding.map(Guard.init)
    }

    enum CodingKeys: String, CodingKey {
        case apis, sticky, match, fallback, `guard`
        case allowOverride = "allow_override"
    }

    package struct Target: Sendable, Hashable, Codable {
        package var name: String
        /// The declared weight, in percent.
        package var weight: Int
        package var shadow: Bool
    }

    /// Exactly one of `value` and `prefix`.
    package struct Match: Sendable, Hashable, Codable {
        package var header: String
        package var value: String?
        package var prefix: String?
        package var api: String

        init(_ match: SplitterSpecification.Match) {
            self.header = match.header
            self.api = match.api
            switch match.rule {
            case .value(let text): self.value = text
            case .prefix(let text): self.prefix = text
            }
        }
    }

    /// Durations in nanoseconds.
    package struct Guard: Sendable, Hashable, Codable {
        package var api: String
        package var window: Int64
        package var minRequests: Int
        package var maxErrorRate: Double
        @OrNull package var maxP99: Int64?
        package var baselineFactor: Double

        init(_ condition: SplitterSpecification.Guard) {
            self.api = condition.api
            self.window = condition.window.wholeNanoseconds
            self.minRequests = condition.minRequests
            self.maxErrorRate = condition.maxErrorRate
            self.maxP99 = condition.maxP99?.wholeNanoseconds
            self.baselineFactor = condition.baselineFactor
        }

        enum CodingKeys: String, CodingKey {
            case api, window
            case minRequests = "min_requests"
            case maxErrorRate = "max_error_rate"
            case maxP99 = "max_p99"
            case baselineFactor = "baseline_factor"
        }
    }
}
