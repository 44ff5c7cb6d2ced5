/// What a request is at; the words on the wire.
package enum RequestStatus: String, Sendable, Hashable, Codable, CaseIterable {
    case inQueue = "in_queue"
    case inProgress = "in_progress"
    case completed
    case failed
    case cancelled

    /// Whether nothing happens to the request any more by itself.
    package var isEnded: Bool {
        switch self {
        case .inQueue, .inProgress: false
        case .completed, .failed, .cancelled: true
        }
    }
}

/// Why a request changes its status. With `from` and `to` this is the whole state machine of a request: a change that
/// is not in `allowed` never happens (contract A2).
package enum RequestTransition: String, Sendable, Hashable, CaseIterable {
    /// A replica took it from the queue.
    case claim
    /// The container's answer was stored as the result.
    case complete
    /// The last allowed attempt failed.
    case fail
    /// An attempt failed and another one is allowed.
    case retryAttempt
    /// The platform released it without using an attempt: shutdown, drain, expired lease, a container that it killed.
    case giveBack
    /// The caller took it back.
    case cancel
    /// It waited longer than `max_queue_time`.
    case expire
    /// `cortex retry` runs a failed request again.
    case retryByHand

    /// The statuses this change can start from, and the one it leads to.
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

    /// The status that this change makes of `status`, or `nil` where it is not allowed.
    package func apply(to status: RequestStatus) -> RequestStatus? {
        arrow.from.contains(status) ? arrow.to : nil
    }
}
