package import Core

/// The sender of a call, after its token was checked.
package enum Principal: Sendable, Hashable {
    /// The person who runs the platform, or a tool of that person.
    case admin
    /// A container of a running replica.
    case pod(api: String, replica: String, access: OperatorAccess)

    /// Whether everything is allowed, including folders of the host.
    package var isAdmin: Bool { self == .admin }
}

/// The operation of a call at the operator. Each route of the operator names one; ``Rights/grant(for:)`` decides who
/// may perform it.
package enum OperatorAction: Sendable, Hashable, CaseIterable {
    /// Health, readiness and the interface's description: allowed without a token.
    case seeThatItServes
    case readPlatform
    case readHealth
    case readDebugState
    case listAPIs
    case readAPI
    case readVersion
    case describeAPI
    case readLogs
    case listRequests
    case retryRequest
    case refresh
    case deploy
    case rollback
    case split
    /// Runs, suspends or resumes a schedule of a BatchAPI or a TaskAPI.
    case schedule
    case delete
}

/// The scope of a role's permission for one action.
package enum Extent: Sendable, Hashable {
    case nothing
    /// Every API, but other APIs without environment variables, volumes and the submitted file.
    case redacted
    /// As ``redacted``, but the pod's own API completely.
    case ownWhole
    /// Only the pod's own API.
    case own
    case everything
}

/// The only table of the rights of each role at the operator (contract N1).
package enum Rights {
    /// The rights of pods for one action. The admin may do everything; without a token only
    /// ``OperatorAction/seeThatItServes`` is allowed.
    package struct Grant: Sendable, Hashable {
        package var read: Extent
        package var own: Extent
        package var full: Extent

        fileprivate init(_ read: Extent, _ own: Extent, _ full: Extent) {
            self.read = read
            self.own = own
            self.full = full
        }
    }

    /// A new action does not compile before it has a row here.
    package static func grant(for action: OperatorAction) -> Grant {
        switch action {
        //                              read         own          full
        case .seeThatItServes: Grant(.everything, .everything, .everything)
        case .readPlatform: Grant(.everything, .everything, .everything)
        case .readHealth: Grant(.nothing, .nothing, .everything)
        case .readDebugState: Grant(.nothing, .nothing, .nothing)
        case .listAPIs: Grant(.everything, .everything, .everything)
        case .readAPI: Grant(.redacted, .ownWhole, .everything)
        case .readVersion: Grant(.nothing, .own, .everything)
        case .describeAPI: Grant(.own, .own, .everything)
        case .readLogs: Grant(.own, .own, .everything)
        case .listRequests: Grant(.own, .own, .everything)
        case .retryRequest: Grant(.nothing, .nothing, .everything)
        case .refresh: Grant(.nothing, .own, .everything)
        case .deploy: Grant(.nothing, .nothing, .everything)
        case .rollback: Grant(.nothing, .nothing, .everything)
        case .split, .schedule: Grant(.nothing, .nothing, .everything)
        case .delete: Grant(.nothing, .nothing, .everything)
        }
    }

    /// The part of its answer that a call may see.
    package enum View: Sendable, Hashable {
        case whole
        case redacted
    }

    /// Decides whether a call is allowed.
    ///
    /// - Parameter api: the API that the call names; `nil` if it names none.
    /// - Throws: ``PlatformError`` `forbidden` that names `pod.operator_access`. The existence of the API is not
    ///   checked, so that the answer does not reveal it.
    package static func check(_ principal: Principal, _ action: OperatorAction, api: String?) throws -> View {
        guard case .pod(let own, _, let access) = principal else { return .whole }
        let grant = grant(for: action)
        let extent: Extent =
            switch access {
            case .none: .nothing
            case .read: grant.read
            case .own: grant.own
            case .full: grant.full
            }
        switch extent {
        case .everything: return .whole
        case .redacted: return .redacted
        case .ownWhole: return api == own ? .whole : .redacted
        case .own where api == own: return .whole
        case .own, .nothing: throw forbidden(action, own: own, access: access)
        }
    }

    private static func forbidden(_ action: OperatorAction, own: String, access: OperatorAccess) -> PlatformError {
        let grant = grant(for: action)
        let sufficient: String
        if grant.own == .own, access < .own {
            sufficient = "its own API needs `own`, another API needs `full`"
        } else if grant.full == .everything {
            sufficient = "it needs `full`"
        } else {
            sufficient = "no pod may do it; use the operator's own token outside of the pods"
        }
        return PlatformError(
            .forbidden,
            "pod.operator_access of \(own) is `\(access.rawValue)`, which does not allow this call: \(sufficient)")
    }
}
