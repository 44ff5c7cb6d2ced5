import Core
import EngineSandbox

/// Something that an engine cannot enforce on this machine, or that pods share there (contract N3, N10).
/// `docs/security.md` lists the same.
enum EngineLimit: String, Sendable, CaseIterable {
    case sharedKernel
    case hostRoot
    case platformUser
    case disk
    case noSystemCallFilter
    case memory
    case processors
    case processes
    case broadcast
    case passedConnections

    /// For people: a clause without a full stop.
    var text: String {
        switch self {
        case .sharedKernel: "pods share the kernel of this machine"
        case .hostRoot: "root in a container is root of this machine for the files of its volumes"
        case .platformUser: "a container is the platform's user for the files of its volumes"
        case .disk: "what a pod stores is not limited, and a disk that is nearly full stops no pod"
        case .noSystemCallFilter: "system calls are not filtered"
        case .memory: "compute.mem cannot limit memory"
        case .processors: "compute.cpu cannot share the processors"
        case .processes: "the number of processes in a pod is not limited"
        case .broadcast: "a pod may send single datagrams to all others of its network"
        case .passedConnections: "a pod that takes its PodInit over can delay requests of other APIs"
        }
    }

    /// The limits of a container engine, as far as it reports its abilities.
    ///
    /// - Parameters:
    ///   - abilities: `nil` where it does not say.
    ///   - isRoot: whether the platform would run as root, so that it may enter the networks of all pods.
    static func ofContainers(_ abilities: EngineAbilities?, isPodman: Bool, isRoot: Bool) -> [EngineLimit] {
        var limits: [EngineLimit] = [.sharedKernel, .disk]
        // Docker keeps them from other pods.
        if isPodman { limits.append(.broadcast) }
        // A rootless engine is the user's own, as are the networks of its pods.
        if !isRoot, abilities?.has("rootless") != true { limits.append(.passedConnections) }
        guard let abilities else { return limits + [.hostRoot] }
        if !abilities.has("rootless"), !abilities.has("userns") { limits.append(.hostRoot) }
        if abilities.securityOptions != nil, !abilities.has("seccomp") { limits.append(.noSystemCallFilter) }
        if abilities.memoryLimit == false { limits.append(.memory) }
        if abilities.processorShares == false { limits.append(.processors) }
        if abilities.processLimit == false { limits.append(.processes) }
        return limits
    }

    /// The limits of the sandbox engine for this user.
    static func ofSandbox(_ abilities: SandboxAbilities) -> [EngineLimit] {
        var limits: [EngineLimit] = [.sharedKernel]
        if !abilities.hasPodUsers { limits.append(.platformUser) }
        if !abilities.limitsMemory { limits.append(.memory) }
        if !abilities.sharesProcessors { limits.append(.processors) }
        if !abilities.limitsProcesses { limits.append(.processes) }
        return limits
    }
}

/// The part of Docker's or Podman's `GET /info` that `doctor` reads.
struct EngineAbilities: Sendable, Decodable {
    /// Such as `name=seccomp,profile=builtin`, `name=rootless`, `name=userns`.
    var securityOptions: [String]?
    var memoryLimit: Bool?
    var processorShares: Bool?
    var processLimit: Bool?

    enum CodingKeys: String, CodingKey {
        case securityOptions = "SecurityOptions"
        case memoryLimit = "MemoryLimit"
        case processorShares = "CPUShares"
        case processLimit = "PidsLimit"
    }

    func has(_ name: String) -> Bool {
        (securityOptions ?? []).contains { $0 == name || $0 == "name=\(name)" || $0.hasPrefix("name=\(name),") }
    }
}
