package import Core

/// `status.requests` of a RealtimeAPI: its requests of the last minute, and those of now (contract R24).
package struct TrafficDocument: Sendable, Hashable, Codable {
    /// `null` without requests, as are the quantiles.
    @OrNull package var perSecond: Double?
    package var success2xx: Int
    package var client4xx: Int
    package var server5xx: Int
    package var platformErrors: Int
    /// Milliseconds until the head of the response.
    @OrNull package var p50: Double?
    @OrNull package var p90: Double?
    @OrNull package var p99: Double?
    package var waiting: Int
    package var inside: Int
    package var upgraded: Int

    package init(_ report: TrafficReport) {
        self.perSecond = report.perSecond
        self.success2xx = report.counts.success2xx
        self.client4xx = report.counts.client4xx
        self.server5xx = report.counts.server5xx
        self.platformErrors = report.counts.platformErrors
        self.p50 = report.p50
        self.p90 = report.p90
        self.p99 = report.p99
        self.waiting = report.waiting
        self.inside = report.inside
        self.upgraded = report.upgraded
    }

    enum CodingKeys: String, CodingKey {
        case waiting, inside, upgraded
        case perSecond = "per_second"
        case success2xx = "success_2xx"
        case client4xx = "client_4xx"
        case server5xx = "server_5xx"
        case platformErrors = "platform_errors"
        case p50 = "p50_ms"
        case p90 = "p90_ms"
        case p99 = "p99_ms"
    }
}

/// `status.split` of a TrafficSplitter (contract X11).
package struct SplitDocument: Sendable, Hashable, Codable {
    package var state: SplitReport.State
    /// After a roll-back: the API, its weight before, and the figures that led to it.
    package var api: String?
    package var weight: Int?
    package var reason: String?
    /// RFC 3339.
    package var since: String

    package init(_ report: SplitReport) {
        self.state = report.state
        self.api = report.api
        self.weight = report.weight
        self.reason = report.reason
        self.since = report.since.rfc3339
    }
}

/// One element of `status.targets` of a TrafficSplitter: an API and its part of the last minute (contract X11).
package struct SplitTargetDocument: Sendable, Hashable, Codable {
    package var name: String
    /// The weight in force, in percent.
    package var weight: Int
    package var shadow: Bool
    /// Its share of the served requests, or of the copies, from 0 to 1; `null` without requests, as are the next two.
    @OrNull package var served: Double?
    /// From 0 to 1.
    @OrNull package var errorRate: Double?
    /// Milliseconds.
    @OrNull package var p99: Double?
    /// Only of a shadow: its copies, those given up, and the shares that agreed with the served response.
    package var copies: Int?
    package var givenUp: Int?
    package var agreedStatus: Double?
    package var agreedBody: Double?

    package init(_ target: SplitReport.Target) {
        self.name = target.api
        self.weight = target.weight
        self.shadow = target.isShadow
        self.served = target.served
        self.errorRate = target.errorRate
        self.p99 = target.p99
        self.copies = target.copies
        self.givenUp = target.givenUp
        self.agreedStatus = target.agreedStatus
        self.agreedBody = target.agreedBody
    }

    enum CodingKeys: String, CodingKey {
        case name, weight, shadow, served, copies
        case errorRate = "error_rate"
        case p99 = "p99_ms"
        case givenUp = "given_up"
        case agreedStatus = "agreed_status"
        case agreedBody = "agreed_body"
    }
}
