package import Core

extension PodPlan {
    /// Plans one replica of a deployed API. A pure function.
    ///
    /// - Parameters:
    ///   - id: unique for ever; also the value of `CORTEX_REPLICA_ID`.
    ///   - clusterVersion: the value of `CORTEX_VERSION`.
    ///   - clientConfiguration: text of `cli.yaml`.
    ///   - hasPort: whether the pod serves requests; otherwise `CORTEX_PORT` is not set.
    ///   - additional: further variables of the platform.
    ///   - environment: further variables of the user, which replace those of the specification.
    package init(
        of api: DeployedAPI, id: String, createdAt: Timestamp, clusterVersion: String = CortexVersion.current,
        clientConfiguration: String, hasPort: Bool = true, additional: [EnvironmentVariable] = [],
        environment: [String: String] = [:]
    ) {
        let specification = api.specification
        var system = [
            EnvironmentVariable("CORTEX_VERSION", clusterVersion),
            EnvironmentVariable("CORTEX_LOG_LEVEL", "INFO"),
            EnvironmentVariable("CORTEX_CLI_CONFIG_DIR", Self.clientDirectory),
        ]
        if hasPort { system.append(EnvironmentVariable("CORTEX_PORT", String(specification.pod.port))) }
        system += [
            EnvironmentVariable("CORTEX_API_NAME", specification.name),
            EnvironmentVariable("CORTEX_REPLICA_ID", id),
        ]
        system += additional
        self.init(
            id: id,
            owner: .api(
                .init(
                    name: specification.name, apiID: api.id, podID: api.podID, deploymentID: api.deploymentID)),
            createdAt: createdAt,
            containers: specification.pod.containers.map {
                ContainerPlan(of: $0, system: system, environment: environment)
            },
            clientConfiguration: clientConfiguration)
    }
}

extension ContainerPlan {
    fileprivate init(
        of container: ContainerSpecification, system: [EnvironmentVariable], environment: [String: String]
    ) {
        let user = container.env.merging(environment) { _, last in last }
            .sorted { $0.key < $1.key }.map { EnvironmentVariable($0.key, $0.value) }
        let environment = system + user
        let variables = Dictionary(environment.map { ($0.name, $0.value) }) { _, last in last }
        self.init(
            name: container.name, image: container.image,
            command: container.command?.map { VariableExpansion.expand($0, with: variables) },
            args: container.args?.map { VariableExpansion.expand($0, with: variables) }, environment: environment,
            compute: container.compute, volumes: container.volumes)
    }
}

/// `$(NAME)` in a container's command and arguments (contract C9), by the rules of Kubernetes.
///
/// `$(NAME)` becomes the variable's value, an unknown name is unchanged, `$$` is one `$` (so `$$(NAME)` is the text
/// `$(NAME)`), and inserted text is not expanded again.
package enum VariableExpansion {
    /// `text` with the values of `$(NAME)`.
    package static func expand(_ text: String, with variables: [String: String]) -> String {
        let dollar = UInt8(ascii: "$")
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        var position = 0
        // If no parenthesis closes here, none closes later either: the rest is not searched again.
        var mayClose = true
        while position < bytes.count {
            guard bytes[position] == dollar, position + 1 < bytes.count else {
                output.append(bytes[position])
                position += 1
                continue
            }
            switch bytes[position + 1] {
            case dollar:
                output.append(dollar)
                position += 2
            case UInt8(ascii: "("):
                guard mayClose, let end = bytes[(position + 2)...].firstIndex(of: UInt8(ascii: ")")) else {
                    mayClose = false
                    output += bytes[position...(position + 1)]
                    position += 2
                    continue
                }
                let name = String(decoding: bytes[(position + 2)..<end], as: UTF8.self)
                output += variables[name].map { Array($0.utf8) } ?? Array(bytes[position...end])
                position = end + 1
            default:
                output += bytes[position...(position + 1)]
                position += 2
            }
        }
        return String(decoding: output, as: UTF8.self)
    }
}
