import Core

/// The rule by which a TrafficSplitter's target is rolled back (contract X8). Pure.
struct GuardRule: Sendable {
    /// The responses of one or more targets during the window.
    struct Figures: Sendable, Hashable {
        var requests = 0
        /// 5xx and failures of the platform.
        var failures = 0
        /// Responses that took longer than `max_p99`.
        var slow = 0
        /// Milliseconds.
        var p99: Double?

        /// Counts another target in.
        mutating func add(_ other: Figures) {
            requests += other.requests
            failures += other.failures
        }

        /// The share of failures; 0 without requests.
        var errorRate: Double { requests == 0 ? 0 : Double(failures) / Double(requests) }
    }

    enum Verdict: Sendable, Hashable {
        case content
        /// The text has the figures, in one line.
        case rollBack(String)
        /// Fewer requests than `min_requests`.
        case noVerdict
    }

    let rule: SplitterSpecification.Guard

    /// - Parameters:
    ///   - target: the guarded target.
    ///   - others: all other targets but the shadow together. Without requests their error rate is 0.
    func verdict(target: Figures, others: Figures) -> Verdict {
        guard target.requests >= max(1, rule.minRequests) else { return .noVerdict }
        let isFailing =
            target.errorRate > rule.maxErrorRate && target.errorRate > rule.baselineFactor * others.errorRate
        if isFailing {
            return .rollBack(
                "error rate \(Self.percent(target.errorRate)) of \(target.requests) requests in \(window), "
                    + "others \(Self.percent(others.errorRate)) of \(others.requests); "
                    + "limits \(Self.percent(rule.maxErrorRate)) and \(rule.baselineFactor) times the others")
        }
        // The 99th percentile is over the limit when more than 1 % of the responses are.
        if let limit = rule.maxP99, target.slow * 100 > target.requests {
            let p99 = target.p99.map { "\(Int($0.rounded())) ms" } ?? "unknown"
            return .rollBack(
                "p99 \(p99) of \(target.requests) requests in \(window); limit \(Int(limit.inSeconds * 1000)) ms")
        }
        return .content
    }

    private var window: String { "\(rule.window.secondsText) s" }

    private static func percent(_ share: Double) -> String { "\((share * 1000).rounded() / 10) %" }
}

extension GuardRule.Figures {
    init(_ figures: TrafficRing.Figures) {
        self.init(
            requests: figures.counts.total, failures: figures.counts.failures, slow: figures.slow,
            p99: figures.times.quantile(0.99))
    }
}
