import CLinux
package import Core
import Foundation
import Support

extension SandboxEngine {
    /// Folders of a sandbox that a volume must not cover.
    private static let systemFolders = [
        "/bin", "/cortex", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/proc", "/sbin", "/usr",
    ]

    package func problems(with specification: APISpecification) async -> [String] {
        let machine: Machine
        do {
            machine = try await found()
        } catch let error as PlatformError {
            return [error.message]
        } catch {
            return ["The sandbox engine could not be asked; try again."]
        }
        var problems: [String] = []
        for (number, container) in specification.pod.containers.enumerated() {
            let path = "pod.containers[\(number)]"
            if container.image != nil {
                problems.append(
                    "\(path).image: the sandbox engine runs no images; leave image out, or use a container engine (cortex up --engine docker)"
                )
            }
            problems += Self.problems(
                path, command: container.command, compute: container.compute, volumes: container.volumes, machine)
        }
        let wanted = ComputeAmount(reservedBy: specification.pod)
        if let capacity = await capacity() {
            if wanted.cpu > capacity.cpu {
                problems.append(
                    "pod.containers: together they need \(wanted.cpu)m of cpu, this machine has \(capacity.cpu)m")
            }
            if wanted.memory > capacity.memory {
                problems.append(
                    "pod.containers: together they need \(wanted.memory >> 20)Mi of mem, this machine has \(capacity.memory >> 20)Mi"
                )
            }
        }
        if machine.network == "loopback", specification.pod.port == 80 {
            problems.append(
                "pod.port: 80 is taken on this machine, whose kernel has no veth; choose another port, or use a container engine"
            )
        }
        return problems
    }

    private static func problems(
        _ path: String, command: [String]?, compute: Compute, volumes: [ContainerSpecification.Volume],
        _ machine: Machine
    ) -> [String] {
        var problems: [String] = []
        if (command ?? []).isEmpty {
            problems.append("\(path).command: is required on the sandbox engine, where there is no image to name one")
        }
        if compute.gpu > 0 {
            problems.append(
                "\(path).compute.gpu: the sandbox engine gives no GPUs to containers; use a container engine")
        }
        if compute.mem != nil, !machine.groups.hasMemory {
            problems.append(
                "\(path).compute.mem: this user may make no control groups, so memory cannot be limited; leave mem out, run cortex as root or under systemd with Delegate=yes, or use a container engine"
            )
        }
        // The default is a share that was not asked for: without control groups all containers share alike.
        if let cpu = compute.cpu, cpu != Compute().cpu, !machine.groups.hasCPU {
            problems.append(
                "\(path).compute.cpu: this user may make no control groups, so no share can be guaranteed; leave cpu out, run cortex as root or under systemd with Delegate=yes, or use a container engine"
            )
        }
        for (number, volume) in volumes.enumerated() where isSystem(volume.target) {
            problems.append(
                "\(path).volumes[\(number)]: \(volume.target) belongs to the system of a sandbox; choose another target"
            )
        }
        return problems
    }

    private static func isSystem(_ target: String) -> Bool {
        target == "/" || target.contains("/../") || target.hasSuffix("/..")
            || systemFolders.contains { target == $0 || target.hasPrefix($0 + "/") }
    }

    /// The same for a plan, and what is known only of a plan.
    func check(_ plan: PodPlan, _ machine: Machine) throws {
        guard Self.isName(plan.id), plan.containers.allSatisfy({ Self.isName($0.name) }) else {
            throw PlatformError(.badRequest, "A pod's or container's name has characters that are not allowed.")
        }
        guard Set(plan.containers.map(\.name)).count == plan.containers.count else {
            throw PlatformError(.badRequest, "Two containers of a pod have the same name.")
        }
        for (number, container) in plan.containers.enumerated() {
            let path = "pod.containers[\(number)]"
            var problems = Self.problems(
                path, command: container.command, compute: container.compute, volumes: container.volumes, machine)
            if container.image != nil { problems.append("\(path).image: the sandbox engine runs no images") }
            if let problem = problems.first { throw PlatformError(.notSupported, problem) }
        }
    }

    /// Checks the sources of volumes before anything of the pod is made. Each is opened again, in the same way, for its
    /// mount. Blocking.
    ///
    /// - Throws: `container_failed` when one is missing, cannot be reached, or is reached through a link. The real path
    ///   was stored at deploy: a link in it was put there since, perhaps by a container.
    static func checkVolumes(_ container: ContainerPlan) throws {
        for volume in container.volumes {
            let descriptor = cx_open_without_links(volume.source)
            if descriptor >= 0 {
                close(descriptor)
                continue
            }
            let reason =
                switch -descriptor {
                case ELOOP:
                    "has become a symbolic link, or lies below one; links are not followed. If that is intended, deploy the API again"
                case ENOENT, ENOTDIR: "is not there"
                default: "cannot be reached (\(String(cString: strerror(-descriptor))))"
                }
            throw PlatformError(
                .containerFailed,
                "Container \(container.name) cannot be started: the source of its volume \(volume.target) \(reason).")
        }
    }
}

extension SandboxEngine {
    /// The machine's cores and memory; the sandbox offers no GPU.
    package func capacity() async -> ComputeAmount? {
        guard let memory = try? await blocking({ Memory.present() }), memory.total < .max else { return nil }
        return ComputeAmount(cpu: Int64(ProcessInfo.processInfo.activeProcessorCount) * 1000, memory: memory.total)
    }
}

/// What the sandbox engine can enforce for the user of this process, without making a pod.
package struct SandboxAbilities: Sendable, Hashable {
    /// Each pod gets a user id of its own.
    package var hasPodUsers: Bool
    package var limitsMemory: Bool
    package var sharesProcessors: Bool
    package var limitsProcesses: Bool

    package init(hasPodUsers: Bool, limitsMemory: Bool, sharesProcessors: Bool, limitsProcesses: Bool) {
        self.hasPodUsers = hasPodUsers
        self.limitsMemory = limitsMemory
        self.sharesProcessors = sharesProcessors
        self.limitsProcesses = limitsProcesses
    }

    /// Reads the state of this process and tries to make control groups. Blocking.
    package static func present() -> SandboxAbilities {
        let groups = ControlGroups.present()
        let hasPodUsers = geteuid() == 0 && PodUsers.areAvailable()
        return SandboxAbilities(
            hasPodUsers: hasPodUsers, limitsMemory: groups.hasMemory, sharesProcessors: groups.hasCPU,
            limitsProcesses: groups.parents["pids"] != nil || hasPodUsers || countsProcessesByNamespace(kernelVersion())
        )
    }

    /// From Linux 5.14 on the limit of processes counts those of the pod's user namespace alone.
    static func countsProcessesByNamespace(_ kernel: String) -> Bool {
        let numbers = kernel.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        return numbers.count == 2 && !numbers.lexicographicallyPrecedes([5, 14])
    }

    private static func kernelVersion() -> String {
        String(decoding: KernelFile.read("/proc/sys/kernel/osrelease") ?? Data(), as: UTF8.self)
    }
}

/// The machine's memory, in bytes.
struct Memory: Sendable, Hashable {
    var total: Int64
    var available: Int64

    /// Blocking.
    static func present() -> Memory {
        let data = KernelFile.read("/proc/meminfo") ?? Data()
        return Memory(meminfo: String(decoding: data, as: UTF8.self))
    }

    /// `Name:   123 kB` lines. A missing value counts as unlimited, so that pods still start.
    init(meminfo: String) {
        var values: [Substring: Int64] = [:]
        for line in meminfo.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count > 1, let value = Int64(words[1]) { values[words[0]] = value * 1024 }
        }
        self.total = values["MemTotal:"] ?? .max
        self.available = values["MemAvailable:"] ?? .max
    }

    /// The memory that a pod asks for.
    static func wanted(_ plan: PodPlan) -> Int64 {
        plan.containers.reduce(0) { $0 + ($1.compute.mem?.whole ?? 0) }
    }

    /// `mem` is what must be free to start: now, and beside what other pods were promised.
    func check(_ plan: PodPlan, reserved: Int64) throws {
        let wanted = Self.wanted(plan)
        let free = min(available, total - reserved)
        guard wanted > 0, wanted > free else { return }
        throw PlatformError(
            .unavailable,
            "The pod asks for \(wanted >> 20) MiB of memory, of which \(max(0, free) >> 20) MiB are free here.")
    }
}
