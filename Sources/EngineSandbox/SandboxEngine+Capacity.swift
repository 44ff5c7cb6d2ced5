package import Core
import Foundation
import Support

extension SandboxEngine {
    /// The machine's cores and memory; the sandbox hands out no GPU.
    package func capacity() async -> ComputeAmount? {
        guard let memory = try? await blocking({ Memory.present() }), memory.total < .max else { return nil }
        return ComputeAmount(cpu: Int64(ProcessInfo.processInfo.activeProcessorCount) * 1000, memory: memory.total)
    }
}
