import Core

/// What the platform writes on its containers and networks. It is believed only together with a proof (``Ownership``).
enum Labels {
    /// The installation's id, on everything of ours.
    static let installation = "cortex.installation"
    /// ``Role``
    static let role = "cortex.role"
    static let pod = "cortex.pod"
    static let api = "cortex.api"
    static let apiID = "cortex.api-id"
    static let podID = "cortex.pod-id"
    static let deploymentID = "cortex.deployment-id"
    /// Microseconds since the Unix epoch.
    static let createdAt = "cortex.created-at"
    /// On a member: its name.
    static let container = "cortex.container"
    /// On the owner of the namespace: the names of all containers the pod should have, joined by commas.
    static let containers = "cortex.containers"
    /// The keyed digest over the object's name and all labels above.
    static let proof = "cortex.proof"

    /// The labels that a proof covers, in its order. Changing it makes every older proof void.
    static let all = [
        installation, role, pod, api, apiID, podID, deploymentID, createdAt, container, containers,
    ]

    enum Role: String {
        /// Runs `PodInit` and owns the pod's network namespace.
        case podInit = "init"
        /// A user's container.
        case member
        /// A short-lived container that removes what the platform's user may not remove.
        case remover
        /// The network of all pods.
        case network
    }

    /// What all containers of a pod carry.
    static func common(_ plan: PodPlan, installation id: String) -> [String: String] {
        [
            installation: id, pod: plan.id, api: plan.api, apiID: plan.apiID, podID: plan.podID,
            deploymentID: plan.deploymentID, createdAt: String(plan.createdAt.microseconds),
        ]
    }
}

/// Names of what we make in the engine. All begin with the installation's prefix.
struct ResourceNames: Sendable {
    let installationID: String

    var prefix: String { "cortex-\(installationID)" }
    /// A dot keeps it apart from a pod's name.
    var network: String { "\(prefix).pods" }
    /// A name of an interface has at most 15 bytes.
    var bridge: String { "cp-\(installationID)" }
    func podInit(_ pod: String) -> String { "\(prefix)-\(pod)" }
    /// A dot keeps it apart from the name of another pod.
    func member(_ pod: String, _ container: String) -> String { "\(prefix)-\(pod).\(container)" }
    func remover(_ folder: String) -> String { "\(prefix).remove-\(folder)" }
    /// `label=value` that finds everything of ours, and perhaps more.
    var filter: String { "\(Labels.installation)=\(installationID)" }

    /// Whether `id` has the form of a pod's id: letters, digits and hyphens. Nothing else is ever joined to a path or a
    /// name.
    static func isPodID(_ id: String) -> Bool {
        let isShort = (1...200).contains(id.utf8.count)
        return isShort && id.utf8.first != UInt8(ascii: "-")
            && id.utf8.allSatisfy {
                (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0) || $0 == UInt8(ascii: "-")
            }
    }
}
