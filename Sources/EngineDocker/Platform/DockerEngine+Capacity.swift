package import Core

extension DockerEngine {
    /// What the engine's machine has; GPUs are not handed out yet.
    package func capacity() async -> ComputeAmount? {
        guard let information = try? await client.information(), information.cores > 0, information.memory > 0
        else { return nil }
        return ComputeAmount(cpu: Int64(information.cores) * 1000, memory: information.memory)
    }
}
