extension PodPlan {
    /// Where every container finds `cli.yaml` (contract C9).
    package static let clientDirectory = "/cortex/client"

    /// Plans one replica of a deployed API. Pure.
    ///
    /// - Parameters:
    ///   - id: unique for ever; also the value of `CORTEX_REPLICA_ID`.
    ///   - clusterVersion: the value of `CORTEX_VERSION`.
    ///   - clientConfiguration: text of `cli.yaml`.
    package init(
        of api: DeployedAPI, id: String, createdAt: Timestamp, clusterVersion: String = CortexVersion.current,
        clientConfiguration: String
    ) {
        let specification = api.specification
        let system = [
            EnvironmentVariable("CORTEX_VERSION", clusterVersion),
            EnvironmentVariable("CORTEX_LOG_LEVEL", "INFO"),
            EnvironmentVariable("CORTEX_CLI_CONFIG_DIR", Self.clientDirectory),
            EnvironmentVariable("CORTEX_PORT", String(specification.pod.port)),
            EnvironmentVariable("CORTEX_API_NAME", specification.name),
            EnvironmentVariable("CORTEX_REPLICA_ID", id),
        ]
        self.init(
            id: id, api: specification.name, apiID: api.id, podID: api.podID, deploymentID: api.deploymentID,
            createdAt: createdAt,
            containers: specification.pod.containers.map { ContainerPlan(of: $0, system: system) },
            clientConfiguration: clientConfiguration)
    }
}

extension ContainerPlan {
    fileprivate init(of container: ContainerSpecification, system: [EnvironmentVariable]) {
        let user = container.env.sorted { $0.key < $1.key }.map { EnvironmentVariable($0.key, $0.value) }
        let environment = system + user
        let variables = Dictionary(environment.map { ($0.name, $0.value) }) { _, last in last }
        self.init(
            name: container.name, image: container.image,
            command: container.command?.map { VariableExpansion.expand($0, with: variables) },
            args: container.args?.map { VariableExpansion.expand($0, with: variables) }, environment: environment,
            compute: container.compute, volumes: container.volumes)
    }
}
