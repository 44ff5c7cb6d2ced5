/// Who may call the routes of jobs (contract J1). Pure: the only place that decides it.
package enum JobAccess {
    /// How a call reached the platform.
    package enum Arrival: Sendable, Hashable, CaseIterable {
        case gateway
        /// The operator's socket for pods.
        case podSocket
        /// The operator, which listens on loopback addresses only.
        case operatorOnLoopback
        /// The operator, which other machines can reach.
        case operatorOnNetwork
    }

    /// What the call brings.
    package enum Credential: Sendable, Hashable, CaseIterable {
        case none
        /// A token that is not known.
        case wrong
        case pod
        case admin
    }

    /// Whether the call is answered; otherwise it is 401.
    package static func isAllowed(_ arrival: Arrival, _ credential: Credential, hasOrigin: Bool) -> Bool {
        switch (arrival, credential) {
        // The gateway is as open as for every other kind; its rule for browsers is that of every endpoint.
        case (.gateway, _): true
        case (_, .wrong): false
        case (_, .pod), (_, .admin): true
        // A web page must not submit jobs through the loopback address (contract N5).
        case (_, .none) where hasOrigin: false
        case (.podSocket, .none), (.operatorOnLoopback, .none): true
        case (.operatorOnNetwork, .none): false
        }
    }
}
