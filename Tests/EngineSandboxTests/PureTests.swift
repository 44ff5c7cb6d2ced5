import Core
import Foundation
import PodInitProtocol
import Testing

@testable import EngineSandbox

@Suite("The sandbox engine's rules that touch nothing")
struct PureTests {
    @Test("C12: a sandbox's arguments close everything before they open what a container may have")
    func arguments() {
        let folder = PodFolder(directory: "/data/pods", pod: "hello-1")
        let host = HostSystem(
            entries: [.folder("/usr"), .link("/bin", target: "usr/bin"), .folder("/etc/ssl/certs")],
            writableProc: ["/proc/sys"], secretProc: ["/proc/keys"], secretProcFolders: ["/proc/acpi"])
        var bubblewrap = BubblewrapArguments(host: host, folder: folder, forbidsUserNamespaces: true)
        var container = ContainerPlan(name: "api", command: ["true"])
        container.compute.shm = Quantity("1Mi")
        container.volumes = [
            .init(source: "/a", target: "/x", readOnly: true), .init(source: "/b", target: "/y"),
        ]
        let arguments = bubblewrap.arguments(container).joined(separator: " ") + " "
        let mounts = bubblewrap.mounts
        func stage(_ source: String) -> String {
            mounts.firstIndex { $0.source == source }.map(StartRequest.stage) ?? "missing"
        }
        let pod = "/data/pods/hello-1"
        for part in [
            "--unshare-user --uid 1000 --gid 1000 --unshare-pid --unshare-ipc --unshare-uts --hostname hello-1 ",
            "--die-with-parent ", "--new-session ", "--cap-drop ALL ", "--disable-userns ", "--ro-bind-try /usr /usr ",
            "--symlink usr/bin /bin ", "--ro-bind-try /etc/ssl/certs /etc/ssl/certs ",
            "--ro-bind \(stage(pod + "/etc/hosts")) /etc/hosts ", "--proc /proc ", "--size 1048576 --tmpfs /dev/shm ",
            "--remount-ro /dev ", "--bind \(stage(pod + "/mnt")) /mnt ",
            "--ro-bind \(stage(pod + "/client")) /cortex/client ", "--ro-bind-try /proc/sys /proc/sys ",
            "--ro-bind-try /dev/null /proc/keys ", "--tmpfs /proc/acpi --remount-ro /proc/acpi ",
            "--ro-bind \(stage("/a")) /x ", "--bind \(stage("/b")) /y ",
        ] {
            #expect(arguments.contains(part))
        }
        #expect(mounts.filter(\.isVolume).map(\.source) == ["/a", "/b"])
        // The command line can be read inside: it names no folder of the platform or of a volume.
        #expect(!arguments.contains("/data/pods") && !arguments.contains(" /a ") && !arguments.contains(" /b "))
        // Without it the container would be in the host's network or a pod of its own.
        #expect(!arguments.contains("--unshare-net") && !arguments.contains("--share-net"))
    }

    @Test(
        "U4: a pod of an earlier version is restarted with the paths of the host, which is all that its supervisor knows"
    )
    func earlierPods() throws {
        let folder = PodFolder(directory: "/data/pods", pod: "hello-1")
        let host = HostSystem(entries: [], writableProc: [], secretProc: [])
        let machine = Machine(host: host, groups: ControlGroups(), network: "veth", forbidsUserNamespaces: true)
        var container = ContainerPlan(name: "api", command: ["true"])
        container.volumes = [.init(source: "/a", target: "/x")]
        let plan = PodPlan(
            id: "hello-1", owner: .api(.init(name: "", apiID: "", podID: "", deploymentID: "")),
            createdAt: Timestamp(seconds: 0),
            containers: [container], clientConfiguration: "")
        var record = PodFolder.Record(plan: plan, groups: [:])
        let earlier = machine.request(container, folder, record)
        #expect(earlier.mounts == [] && earlier.bubblewrap.joined(separator: " ").contains("--bind /a /x"))
        // Fields that an earlier version does not write are not there.
        let text = String(decoding: try JSONEncoder().encode(record), as: UTF8.self)
        #expect(!text.contains("stages") && !text.contains("\"user\""))
        record.stages = true
        #expect(!machine.request(container, folder, record).mounts.isEmpty)
    }

    @Test("N3: a pod's user id is in the block, and no other pod's of the platform")
    func users() {
        let plan = PodPlan(
            id: "a", owner: .api(.init(name: "", apiID: "", podID: "", deploymentID: "")),
            createdAt: Timestamp(seconds: 0), containers: [],
            clientConfiguration: "")
        let allButOne = PodInitLimits.podUsers.dropLast().map {
            PodFolder.Record(plan: plan, groups: [:], user: $0, stages: true)
        }
        #expect(PodUsers.random(besides: allButOne) == PodInitLimits.podUsers.upperBound)
        #expect(!PodInitLimits.podUsers.contains(PodInitLimits.volumeUser))
    }

    @Test("C9: each variable is set once, the later one wins, the container's over the system's")
    func variables() {
        var container = ContainerPlan(name: "api")
        container.environment = [
            EnvironmentVariable("A", "1"), EnvironmentVariable("HOME", "/mnt"), EnvironmentVariable("A", "2"),
        ]
        let variables = BubblewrapArguments.variables(container)
        #expect(variables.filter { $0.hasPrefix("A=") } == ["A=2"])
        #expect(variables.filter { $0.hasPrefix("HOME=") } == ["HOME=/mnt"])
        #expect(variables.contains { $0.hasPrefix("PATH=/usr/local/sbin:") })
        #expect(variables.contains("PYTHONUNBUFFERED=1"))
    }

    @Test("C10: the hosts file names the platform where PodInit listens", arguments: ["veth", "loopback"])
    func hosts(_ network: String) throws {
        let hosts = try #require(SystemFiles.all(hostname: "pod", network: network)["hosts"])
        let gateway = network == "veth" ? "169.254.77.1" : "127.0.0.80"
        #expect(hosts.contains("\(gateway) \(ClusterNames.gateway)\n"))
        #expect(hosts.contains("\(ClusterNames.operatorIngress) \(ClusterNames.operatorService)\n"))
        #expect(hosts.hasPrefix("127.0.0.1 localhost pod\n"))
    }

    static let mountinfo = """
        30 24 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
        31 30 0:27 /docker/abc /sys/fs/cgroup/memory rw,nosuid master:10 - cgroup cgroup rw,memory
        32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
        33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
        broken line
        """

    @Test("C12: mounted control groups are read from the kernel's own table")
    func mounts() {
        let mounts = ControlGroups.mounts(Self.mountinfo)
        #expect(mounts.map(\.point) == ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"])
        #expect(mounts.map(\.isUnified) == [false, false, true])
        #expect(mounts[0].root == "/docker/abc" && mounts[0].options.contains("memory"))
        #expect(mounts[1].options.isSuperset(of: ["cpu", "cpuacct"]))
    }

    @Test("C12: a process's own groups are read for either version")
    func memberships() {
        let own = ControlGroups.memberships("4:memory:/a/b:c\n1:cpu,cpuacct:/\n0::/user.slice/x\nnonsense\n")
        #expect(own == ["memory": "/a/b:c", "cpu": "/", "cpuacct": "/", "": "/user.slice/x"])
    }

    @Test(
        "U4: a pod's id becomes a folder only if it can be nothing else",
        arguments: [
            ("hello-1", true), ("A_b.c-9", true), ("", false), (".hidden", false), ("..", false), ("a/b", false),
            ("a b", false),
            ("ü", false), (String(repeating: "x", count: 201), false),
        ])
    func names(_ name: String, _ isFine: Bool) {
        #expect(SandboxEngine.isName(name) == isFine)
    }
}
