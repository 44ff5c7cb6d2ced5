/// The requests of a RealtimeAPI during the last minute, and now (contract R24).
package struct TrafficReport: Sendable, Hashable {
    /// Responses of the last minute that have one cause.
    package struct Counts: Sendable, Hashable {
        package var success2xx: Int
        package var client4xx: Int
        package var server5xx: Int
        /// Responses that the platform wrote because no container could answer.
        package var platformErrors: Int
        /// Responses of other kinds: 1xx that upgraded, 3xx.
        package var other: Int

        package init(
            success2xx: Int = 0, client4xx: Int = 0, server5xx: Int = 0, platformErrors: Int = 0, other: Int = 0
        ) {
            self.success2xx = success2xx
            self.client4xx = client4xx
            self.server5xx = server5xx
            self.platformErrors = platformErrors
            self.other = other
        }

        package var total: Int { success2xx + client4xx + server5xx + platformErrors + other }
        /// 5xx of the container and failures of the platform.
        package var failures: Int { server5xx + platformErrors }
    }

    /// One replica's part.
    package struct Replica: Sendable, Hashable {
        package var inside: Int
        package var success2xx: Int
        package var server5xx: Int
        /// Until the head of the response, in milliseconds; `nil` without responses.
        package var p99: Double?

        package init(inside: Int = 0, success2xx: Int = 0, server5xx: Int = 0, p99: Double? = nil) {
            self.inside = inside
            self.success2xx = success2xx
            self.server5xx = server5xx
            self.p99 = p99
        }
    }

    /// `nil` without requests.
    package var perSecond: Double?
    package var counts: Counts
    /// From the arrival of a request until the head of its response, in milliseconds; `nil` without responses.
    package var p50: Double?
    package var p90: Double?
    package var p99: Double?
    /// Requests that wait for a replica now.
    package var waiting: Int
    /// Requests inside replicas now, upgraded connections included.
    package var inside: Int
    /// Upgraded connections now.
    package var upgraded: Int
    /// By the replica's id.
    package var replicas: [String: Replica]

    package init(
        perSecond: Double? = nil, counts: Counts = Counts(), p50: Double? = nil, p90: Double? = nil,
        p99: Double? = nil, waiting: Int = 0, inside: Int = 0, upgraded: Int = 0, replicas: [String: Replica] = [:]
    ) {
        self.perSecond = perSecond
        self.counts = counts
        self.p50 = p50
        self.p90 = p90
        self.p99 = p99
        self.waiting = waiting
        self.inside = inside
        self.upgraded = upgraded
        self.replicas = replicas
    }
}

/// The state and the traffic of a TrafficSplitter (contract X11).
package struct SplitReport: Sendable, Hashable {
    package enum State: String, Sendable, Hashable, Codable, CaseIterable {
        /// No guard.
        case fixed
        case guarded
        case rolledBack = "rolled_back"
    }

    /// A target's part during the last minute.
    package struct Target: Sendable, Hashable {
        package var api: String
        /// The weight in force.
        package var weight: Int
        package var isShadow: Bool
        /// Its share of the served requests, or of the copies, 0 … 1; `nil` without requests.
        package var served: Double?
        /// The share of failures, 0 … 1; `nil` without responses.
        package var errorRate: Double?
        /// Milliseconds; `nil` without responses.
        package var p99: Double?
        /// Of a shadow: copies in total, the number given up, and the shares whose status and body agreed with the
        /// served response; `nil` without compared copies.
        package var copies: Int?
        package var givenUp: Int?
        package var agreedStatus: Double?
        package var agreedBody: Double?

        package init(
            api: String, weight: Int, isShadow: Bool = false, served: Double? = nil, errorRate: Double? = nil,
            p99: Double? = nil, copies: Int? = nil, givenUp: Int? = nil, agreedStatus: Double? = nil,
            agreedBody: Double? = nil
        ) {
            self.api = api
            self.weight = weight
            self.isShadow = isShadow
            self.served = served
            self.errorRate = errorRate
            self.p99 = p99
            self.copies = copies
            self.givenUp = givenUp
            self.agreedStatus = agreedStatus
            self.agreedBody = agreedBody
        }
    }

    package var state: State
    /// The target that was rolled back.
    package var api: String?
    /// Its weight before.
    package var weight: Int?
    /// The figures that led to the roll-back, in one line.
    package var reason: String?
    /// Since when the state holds.
    package var since: Timestamp
    package var targets: [Target]

    package init(
        state: State, api: String? = nil, weight: Int? = nil, reason: String? = nil, since: Timestamp,
        targets: [Target] = []
    ) {
        self.state = state
        self.api = api
        self.weight = weight
        self.reason = reason
        self.since = since
        self.targets = targets
    }
}

/// What the proxy knows about the traffic of APIs. Safe from any thread; never blocks.
package protocol TrafficSource: Sendable {
    /// `nil` for an API that the proxy does not serve.
    func traffic(of api: String) -> TrafficReport?

    /// `nil` for an unknown TrafficSplitter.
    func split(of splitter: String) -> SplitReport?
}
