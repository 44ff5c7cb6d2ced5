import CPodInit
package import Core
import Foundation

extension SandboxEngine {
    /// Folders of a sandbox that are not a volume's to cover.
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

    /// The same for a plan, and what only a plan can tell.
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

    /// Looks at the sources of volumes before anything of the pod is made. Each is opened again, in the same way, for
    /// its mount. Blocking.
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
