/// The declaration of a RealtimeAPI without its name and networking (contract R, "Fields").
package struct RealtimeSpecification: Sendable, Hashable {
    package var workload: Workload
    package var proxy: ProxyPolicy

    package init(workload: Workload, proxy: ProxyPolicy = .init()) {
        self.workload = workload
        self.proxy = proxy
    }
}

/// The rules for each request of a RealtimeAPI. A change of them restarts no replica.
package struct ProxyPolicy: Sendable, Hashable {
    /// `pod.max_queue_length`: how many requests may wait for each ready replica.
    package var maxQueueLength: Int
    /// From the assignment to a replica until the head of the response (contract R12).
    package var timeout: Duration
    /// The longest time without a byte in either direction; `nil`: no limit.
    package var idleTimeout: Duration?
    /// The longest time that a request waits for a replica; zero: it never waits.
    package var maxQueueTime: Duration
    /// Bytes of the largest request body; `nil`: no limit.
    package var maxPayload: Int64?
    /// ``RetryPolicy/Reason/invalidResponse`` is not possible here (contract R15).
    package var retries: RetryPolicy
    package var sticky: Stickiness?

    package init(
        maxQueueLength: Int = 100, timeout: Duration = .seconds(12 * 3600), idleTimeout: Duration? = nil,
        maxQueueTime: Duration = .seconds(300), maxPayload: Int64? = nil,
        retries: RetryPolicy = RetryPolicy(maxAttempts: 3, on: [.unreachable], backoff: .zero),
        sticky: Stickiness? = nil
    ) {
        self.maxQueueLength = maxQueueLength
        self.timeout = timeout
        self.idleTimeout = idleTimeout
        self.maxQueueTime = maxQueueTime
        self.maxPayload = maxPayload
        self.retries = retries
        self.sticky = sticky
    }
}

/// `sticky`: what the requests of one caller have in common (contract R22, X4).
package enum Stickiness: Sendable, Hashable {
    /// The name of a cookie, which the platform sets where a request has none.
    case cookie(String)
    /// The name of a request's header field.
    case header(String)
}

/// The declaration of a TrafficSplitter without its name and networking (contract X).
package struct SplitterSpecification: Sendable, Hashable {
    /// One of the RealtimeAPIs that share the traffic.
    package struct Target: Sendable, Hashable {
        /// The name of a RealtimeAPI.
        package var api: String
        /// Percent of the requests. The weights of all targets but the shadow are 100 together.
        package var weight: Int
        /// Whether this target gets copies, whose responses are dropped. `weight` percent of the requests are copied.
        package var isShadow: Bool

        package init(api: String, weight: Int, isShadow: Bool = false) {
            self.api = api
            self.weight = weight
            self.isShadow = isShadow
        }
    }

    /// A rule that decides by a header field, before weights and stickiness (contract X5).
    package struct Match: Sendable, Hashable {
        package enum Rule: Sendable, Hashable {
            /// The whole value.
            case value(String)
            /// The beginning of the value.
            case prefix(String)
        }

        package var header: String
        package var rule: Rule
        /// The target's name.
        package var api: String

        package init(header: String, rule: Rule, api: String) {
            self.header = header
            self.rule = rule
            self.api = api
        }
    }

    /// The condition for rolling a target back (contract X8).
    package struct Guard: Sendable, Hashable {
        /// The guarded target's name.
        package var api: String
        package var window: Duration
        /// Fewer requests in a window are no verdict.
        package var minRequests: Int
        /// The share of failures, 0 … 1.
        package var maxErrorRate: Double
        /// `nil`: the time of responses is not judged.
        package var maxP99: Duration?
        /// How many times the failure rate of the other targets is tolerated.
        package var baselineFactor: Double

        package init(
            api: String, window: Duration = .seconds(60), minRequests: Int = 20, maxErrorRate: Double = 0.05,
            maxP99: Duration? = nil, baselineFactor: Double = 2
        ) {
            self.api = api
            self.window = window
            self.minRequests = minRequests
            self.maxErrorRate = maxErrorRate
            self.maxP99 = maxP99
            self.baselineFactor = baselineFactor
        }
    }

    package var targets: [Target]
    package var sticky: Stickiness?
    package var matches: [Match]
    /// Whether a caller may choose a target with `X-Cortex-Target`.
    package var allowsOverride: Bool
    /// Whether another target takes a request that the chosen one refuses (contract X6).
    package var hasFallback: Bool
    package var guarding: Guard?

    package init(
        targets: [Target], sticky: Stickiness? = nil, matches: [Match] = [], allowsOverride: Bool = false,
        hasFallback: Bool = true, guarding: Guard? = nil
    ) {
        self.targets = targets
        self.sticky = sticky
        self.matches = matches
        self.allowsOverride = allowsOverride
        self.hasFallback = hasFallback
        self.guarding = guarding
    }
}
