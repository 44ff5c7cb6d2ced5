/// The status of a request; the raw values are sent to callers.
package enum RequestStatus: String, Sendable, Hashable, Codable, CaseIterable {
    case inQueue = "in_queue"
    case inProgress = "in_progress"
    case completed
    case failed
    case cancelled

    /// Whether the status is final, unless a user retries the request.
    package var isEnded: Bool {
        switch self {
        case .inQueue, .inProgress: false
        case .completed, .failed, .cancelled: true
        }
    }
}

/// The reason for a transition of a request. With `from` and `to` this is the whole state machine of a request: a
/// transition that is not in `allowed` never happens (contract A2).
package enum RequestTransition: String, Sendable, Hashable, CaseIterable {
    /// A replica claimed it.
    case claim
    /// The container's answer was stored as the result.
    case complete
    /// The last allowed attempt failed.
    case fail
    /// An attempt failed and another one is allowed.
    case retryAttempt
    /// The platform released it without using an attempt: shutdown, drain, expired lease, a container that it killed.
    case giveBack
    /// The caller cancelled it.
    case cancel
    /// It waited longer than `max_queue_time`.
    case expire
    /// `cortex retry` runs a failed request again.
    case retryByHand

    /// The statuses from which this transition can start, and its result.
    package var arrow: (from: Set<RequestStatus>, to: RequestStatus) {
        switch self {
        case .claim: ([.inQueue], .inProgress)
        case .complete: ([.inProgress], .completed)
        case .fail: ([.inProgress], .failed)
        case .retryAttempt: ([.inProgress], .inQueue)
        case .giveBack: ([.inProgress], .inQueue)
        case .cancel: ([.inQueue, .inProgress], .cancelled)
        case .expire: ([.inQueue], .failed)
        case .retryByHand: ([.failed], .inQueue)
        }
    }

    /// The result of this transition from `status`; `nil` if it is not allowed.
    package func apply(to status: RequestStatus) -> RequestStatus? {
        arrow.from.contains(status) ? arrow.to : nil
    }
}
