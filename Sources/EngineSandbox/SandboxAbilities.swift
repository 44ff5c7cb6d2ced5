import Foundation

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

    /// Looks at this process and tries to make control groups. Blocking.
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
        String(decoding: FileManager.default.contents(atPath: "/proc/sys/kernel/osrelease") ?? Data(), as: UTF8.self)
    }
}
