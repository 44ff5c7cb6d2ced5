import Core

/// A request's status in its row. `waiting` is shown as `in_queue`, but its retry time has not come.
enum StoredState: Int {
    case queued = 0
    case inProgress = 1
    case completed = 2
    case failed = 3
    case cancelled = 4
    case waiting = 5

    /// The states that are not final.
    static let open: [StoredState] = [.queued, .inProgress, .waiting]

    var status: RequestStatus {
        switch self {
        case .queued, .waiting: .inQueue
        case .inProgress: .inProgress
        case .completed: .completed
        case .failed: .failed
        case .cancelled: .cancelled
        }
    }
}
