/// An API as the operator deployed it: the specification of one version, and that version's identifiers (reference:
/// cortex.md §1.9).
package struct DeployedAPI: Sendable, Hashable {
    package var specification: APISpecification
    /// `<16 hex>-<deploymentID>-<specID>`; newer ones sort first.
    package var id: String
    /// Digest of everything declared.
    package var specID: String
    /// Digest of what touches the pod: replicas with the same one need no restart.
    package var podID: String
    /// `refresh` creates a new one, so that the same specification is rolled out again.
    package var deploymentID: String
    package var initialDeployment: Timestamp
    package var lastUpdated: Timestamp
    /// The API's part of the file as the user wrote it, as JSON text.
    package var submitted: String
    /// Name of the file it came from.
    package var fileName: String

    package init(
        specification: APISpecification, id: String, specID: String, podID: String, deploymentID: String,
        initialDeployment: Timestamp, lastUpdated: Timestamp, submitted: String = "{}", fileName: String = "cortex.yaml"
    ) {
        self.specification = specification
        self.id = id
        self.specID = specID
        self.podID = podID
        self.deploymentID = deploymentID
        self.initialDeployment = initialDeployment
        self.lastUpdated = lastUpdated
        self.submitted = submitted
        self.fileName = fileName
    }

    package var name: String { specification.name }
}

extension DeployedAPI {
    /// How many replicas this version should have.
    ///
    /// - Parameter requested: the number that is saved in the store; `nil` before the first decision.
    package func replicas(requested: Int?) -> Int {
        let policy = specification.autoscaling
        return policy.clamp(requested ?? policy.initReplicas)
    }
}

extension AutoscalingPolicy {
    /// The nearest number of replicas that the policy allows.
    package func clamp(_ replicas: Int) -> Int { max(minReplicas, min(maxReplicas, replicas)) }
}
