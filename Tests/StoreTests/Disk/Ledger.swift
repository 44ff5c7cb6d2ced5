import Core

/// What callers were told: which step was acknowledged when, and what it makes of which request. Against this a store
/// is judged after a fault.
struct Ledger: Sendable {
    /// A request as its caller knows it. In queue and in progress are one: a lease may be lost, and then the request is
    /// delivered again.
    struct Expected: Hashable, Sendable {
        var status: RequestStatus
        var payload: [UInt8]
        var result: [UInt8]?
    }

    struct Step: Sendable {
        var name: String
        /// Places in the recording of the disk: when it was asked for, and when it was acknowledged (`nil`: it was
        /// refused).
        var began: Int
        var acknowledged: Int?
        /// What it makes of requests; `nil` for one that is gone.
        var effects: [RequestID: Expected?]
        /// Refused, it may have done a part all the same: upkeep.
        var isPartial = false
    }

    /// What may be found of each request; `nil` means that it is unknown.
    typealias Possible = [RequestID: Set<Expected?>]

    var steps: [Step] = []

    /// What may be found when everything stopped at a place of the recording (`nil`: after the last step).
    ///
    /// - Parameter refusalsMayCount: whether what was refused may be found as if it had been accepted.
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

    /// What may be found when the last moments may be lost: any state that the request ever had.
    func everPossible() -> Possible {
        var possible: Possible = [:]
        for step in steps {
            for (id, effect) in step.effects { possible[id, default: [nil]].insert(effect) }
        }
        return possible
    }
}
