import EngineSandbox

/// What `doctor` looks at, as functions, so that its judgement can be tested without a machine to match.
struct DoctorProbes: Sendable {
    /// What is at a port of this machine.
    enum Port: Sendable, Equatable {
        case free
        case cortex
        case taken
        /// Something else prevents listening, such as a missing right.
        case denied(String)
    }

    enum Folder: Sendable, Equatable {
        case writable
        /// It will be made; its nearest parent can be written.
        case absent
        case notWritable
        case notAFolder
    }

    /// Asks an engine's socket; the engine's name and version, or why it does not answer.
    var engine: @Sendable (_ socket: String) async -> Result<String, DoctorFault>
    /// What an engine that answers can enforce; `nil` where it does not say.
    var abilities: @Sendable (_ socket: String) async -> EngineAbilities? = { _ in nil }
    /// Whether this user is root.
    var isRoot: @Sendable () -> Bool = { true }
    /// What the sandbox engine can enforce for this user.
    var sandboxAbilities: @Sendable () async -> SandboxAbilities
    /// Whether a sandbox can be made: bubblewrap is there and may make namespaces.
    var sandbox: @Sendable () async -> Result<String, DoctorFault>
    var port: @Sendable (Int) async -> Port
    /// Bytes free where a folder is, or would be.
    var freeSpace: @Sendable (_ folder: String) -> Int64?
    /// The size of the disk, where it is known.
    var totalSpace: @Sendable (_ folder: String) -> Int64? = { _ in nil }
    var folder: @Sendable (_ path: String) -> Folder
    /// The mode of a file; `nil` when there is none.
    var mode: @Sendable (_ path: String) -> UInt16?
}

/// Why a probe says no, and what to do.
struct DoctorFault: Error, Sendable, Equatable {
    var reason: String
    var advice: String
}
