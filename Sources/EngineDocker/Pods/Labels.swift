import Core

/// The labels from which everything is read back after a restart: the engine is the only record of what runs.
enum Labels {
    /// On everything of ours: the installation's id.
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
    /// On a forwarder: a digest of everything it was made from.
    static let specification = "cortex.specification"

    enum Role: String {
        /// Runs `PodInit` and owns the pod's network namespace.
        case podInit = "init"
        /// A user's container.
        case member
        case gatewayForwarder = "gateway-forwarder"
        case operatorForwarder = "operator-forwarder"
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
    var network: String { prefix }
    /// A name of an interface has at most 15 bytes.
    var bridge: String { "cx-\(installationID)" }
    func podInit(_ pod: String) -> String { "\(prefix)-\(pod)" }
    /// A dot keeps it apart from the name of another pod.
    func member(_ pod: String, _ container: String) -> String { "\(prefix)-\(pod).\(container)" }
    func forwarder(_ role: Labels.Role) -> String { "\(prefix).\(role.rawValue)" }
    /// `label=value` that finds everything of ours.
    var filter: String { "\(Labels.installation)=\(installationID)" }
}
