import Core

/// The answers that callers got: when each step was acknowledged, and its effect on each request. After a fault a store
/// is compared with it.
struct Ledger: Sendable {
    /// A request as its caller knows it. In queue and in progress are the same: a lease may be lost, and then the
    /// request is delivered again.
    struct Expected: Hashable, Sendable {
        var status: RequestStatus
        var payload: [UInt8]
        var result: [UInt8]?
    }

    struct Step: Sendable {
        var name: String
        /// Positions in the recording of the disk: of the call, and of its acknowledgement (`nil`: it was refused).
        var began: Int
        var acknowledged: Int?
        /// Its effect on requests; `nil` for one that is removed.
        var effects: [RequestID: Expected?]
        /// A refused step that may have had a part of its effect: upkeep.
        var isPartial = false
    }

    /// The allowed states of each request; `nil` means that it is unknown.
    typealias Possible = [RequestID: Set<Expected?>]

    var steps: [Step] = []

    /// The allowed states when everything stopped at a position of the recording (`nil`: after the last step).
    ///
    /// - Parameter refusalsMayCount: whether a refused step may have had its effect.
    func possible(at place: Int? = nil, refusalsMayCount: Bool = false) -> Possible {
        var possible: Possible = [:]
        for step in steps {
            for (id, effect) in step.effects {
                let before = possible[id] ?? [nil]
                if let acknowledged = step.acknowledged, place.map({ acknowledged <= $0 }) ?? true {
                    possible[id] = [effect]
                } else if step.acknowledged == nil ? refusalsMayCount || step.isPartial : step.began <= place ?? .max {
                    possible[id] = before.union([effect])
                } else {
                    possible[id] = before
                }
            }
        }
        return possible
    }

    /// The allowed states when the last moments may be lost: any state that the request ever had.
    func everPossible() -> Possible {
        var possible: Possible = [:]
        for step in steps {
            for (id, effect) in step.effects { possible[id, default: [nil]].insert(effect) }
        }
        return possible
    }
}
