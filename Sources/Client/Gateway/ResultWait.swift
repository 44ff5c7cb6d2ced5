import Core

/// The decisions of waiting for the end of a request or a job: how long to ask for, when to ask again, when to give up.
struct ResultWait {
    enum Event {
        case answer(isEnded: Bool)
        case away(PlatformError)
    }

    enum Action {
        /// The last answer is the result.
        case finish
        case fail(PlatformError)
        case sleep(Duration)
    }

    /// How often in a row the gateway may be away: a moment at first, and the time that a restart takes once the
    /// request is known to exist.
    static let failuresAllowed = (first: 8, later: 40)
    /// Longest wait of one long poll. Proxies commonly end a call that is silent for 60 s.
    static let longestPoll: Duration = .seconds(50)
    private static let shortest: Duration = .milliseconds(200)
    private static let longest: Duration = .seconds(2)

    private let deadline: Instant?
    private let longestPoll: Duration
    private var failures = 0
    private var isKnown: Bool
    private var pause = Self.shortest
    private var asked: (at: Instant, wait: Duration)

    /// - Parameters:
    ///   - isKnown: whether the platform has confirmed that the request exists.
    ///   - longestPoll: shorter than ``longestPoll`` where the answers in between are shown.
    init(start: Instant, limit: Duration?, isKnown: Bool = false, longestPoll: Duration = Self.longestPoll) {
        self.isKnown = isKnown
        self.longestPoll = longestPoll
        self.deadline = limit.map { start + $0 }
        self.asked = (start, .zero)
    }

    /// How long the next long poll may take; whole seconds.
    mutating func poll(at now: Instant) -> Duration {
        let rest = deadline.map { max(.zero, $0 - now) } ?? longestPoll
        let wait = Duration.seconds(min(rest, longestPoll).components.seconds)
        asked = (now, wait)
        return wait
    }

    mutating func next(_ event: Event, at now: Instant) -> Action {
        let isOver = deadline.map { now >= $0 } ?? false
        switch event {
        case .answer(let isEnded):
            failures = 0
            isKnown = true
            if isEnded || isOver { return .finish }
            if now - asked.at >= asked.wait - .milliseconds(500), asked.wait > .zero {
                // A true long poll: the wait happened over there.
                pause = Self.shortest
                return .sleep(.zero)
            }
        case .away(let error):
            failures += 1
            let allowed = isKnown ? Self.failuresAllowed.later : Self.failuresAllowed.first
            if isOver || failures > allowed { return .fail(error) }
        }
        defer { pause = min(pause * 2, Self.longest) }
        let rest = deadline.map { $0 - now } ?? pause
        return .sleep(max(.zero, min(pause, rest)))
    }
}

extension PlatformError {
    /// Whether the error only means that the platform is unreachable now, and is no answer to the call.
    package var isPassing: Bool {
        [.connectionFailed, .timedOut, .unavailable, .storeUnavailable].contains(code)
    }
}
