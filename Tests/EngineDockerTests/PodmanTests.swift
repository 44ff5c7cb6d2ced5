import CLinux
import Core
import Foundation
import PodInitClient
import PodmanSupport
import Synchronization
import TestSupport
import Testing

@testable import EngineDocker

@Suite("Pods on a real Podman", .timeLimit(.minutes(5)))
struct PodmanTests {
    @Test("N10: what pods share is made once, and removed at the end when there is no pod")
    func setUp() async throws {
        try await EngineHarness.with { (harness) async throws in
            let plan = harness.plan([harness.shell("api", "exec sleep 1000")])
            try await harness.engine.start(plan)
            let other = try await harness.another()
            try await other.setUp()
            await other.shutDown()
            #expect(try await networks(harness) == ["cortex-\(harness.id).pods"])
            try await harness.engine.stop(pod: plan.id, grace: .zero)
            let last = try await harness.another()
            try await last.setUp()
            await last.shutDown()
            #expect(try await networks(harness) == [])
            // The next start makes it again.
            try await harness.another().setUp()
            #expect(try await networks(harness) == ["cortex-\(harness.id).pods"])
        }
    }

    private func networks(_ harness: EngineHarness) async throws -> [String] {
        try await harness.podman.command(["network", "ls", "--format", "{{.Name}}"]).split(separator: "\n")
            .map(String.init).filter { $0.contains(harness.id) }
    }

    @Test("N4: a platform that may enter a pod's network makes its sockets itself, and only in a network of the pod")
    func podNetwork() async throws {
        try await EngineHarness.with { (harness) async throws in
            let plan = harness.plan([harness.shell("api", "exec sleep 1000")])
            try await harness.engine.start(plan)
            let network = try await harness.engine.network(of: plan.id)
            // Without root the engine may be one whose namespaces are its own.
            if geteuid() == 0 {
                let opened = try #require(network)
                #expect(cx_is_other_network(opened) == 1)
                #expect(try await harness.engine.sockets.findWay(in: opened) == .thread)
                // Nothing listens: said by the kernel and not by `PodInit`, whose socket is gone.
                unlink(try harness.engine.folder(plan.id).initSocket)
                let refused = await #expect(throws: PlatformError.self) {
                    close(try await harness.engine.connector(pod: plan.id).connect(port: 81))
                }
                #expect(refused?.message == "Port 81 of the pod: Connection refused.")
            } else if let network {
                close(network)
            }
            try await harness.engine.stop(pod: plan.id, grace: .zero)
            let gone = await #expect(throws: PlatformError.self) { try await harness.engine.network(of: plan.id) }
            #expect(gone?.code == .connectionFailed)
        }
    }

    @Test("N10: labels of an image or of anybody prove nothing: foreign containers are neither listed nor removed")
    func foreignContainers() async throws {
        try await EngineHarness.with { (harness) async throws in
            try await harness.engine.setUp()
            let precious = harness.folder.path + "/precious"
            try FileManager.default.createDirectory(atPath: precious, withIntermediateDirectories: true)
            let plan = harness.plan([harness.shell("api", "exec sleep 1000")])
            try await harness.engine.start(plan)
            let copied = try await harness.podman.command([
                "inspect", "--format", "{{range $key, $value := .Config.Labels}}{{$key}}={{$value}}\n{{end}}",
                "cortex-\(harness.id)-\(plan.id)",
            ]).split(separator: "\n").flatMap { ["--label", String($0)] }
            let claims = [
                "path": [
                    "--label", "cortex.installation=\(harness.id)", "--label", "cortex.role=init", "--label",
                    "cortex.pod=../precious",
                ],
                "role": [
                    "--label", "cortex.installation=\(harness.id)", "--label", "cortex.role=init", "--label",
                    "cortex.pod=hello-foreign", "--label", "cortex.api=hello",
                ],
                // Every label of a pod that exists, with its proof.
                "copy": copied,
            ]
            for (name, labels) in claims {
                try await harness.podman.command(
                    ["create", "--name", "foreign-\(name)-\(harness.id)"] + labels
                        + ["localhost/cortex-test-busybox:1"])
            }
            #expect(try await harness.engine.list().map(\.id) == [plan.id])
            let other = try await harness.another()
            try await other.setUp()
            #expect(try await other.list().map(\.id) == [plan.id])
            await #expect(throws: PlatformError.self) { try await other.stop(pod: "../precious", grace: .zero) }
            try await other.stop(pod: "hello-foreign", grace: .zero)
            try await other.stop(pod: plan.id, grace: .zero)
            #expect(FileManager.default.fileExists(atPath: precious))
            for name in claims.keys {
                try await harness.podman.command(["rm", "--force", "foreign-\(name)-\(harness.id)"])
            }
        }
    }

    @Test("N10: a copied data directory at another path is another platform")
    func copiedDirectory() async throws {
        try await EngineHarness.with { (first) async throws in
            try await EngineHarness.with { (second) async throws in
                let plan = first.plan([first.shell("api", "exec sleep 1000")])
                try await first.engine.start(plan)
                let key = first.folder.path + "/engine.key"
                try FileManager.default.removeItem(atPath: second.folder.path + "/engine.key")
                try FileManager.default.copyItem(atPath: key, toPath: second.folder.path + "/engine.key")
                let copy = try await second.another()
                try await copy.setUp()
                #expect(try await copy.list() == [])
                try await copy.stop(pod: plan.id, grace: .zero)
                #expect(try await first.engine.list().map(\.isAlive) == [true])
            }
        }
    }

    @Test("N10: thousand folders inside each other go with their pod; what stays never stops a start")
    func deepFolder() async throws {
        try await EngineHarness.with { (harness) async throws in
            let nest =
                "cd /mnt; n=$(printf '%0200d' 0); i=0; while [ $i -lt 1000 ]; do mkdir $n; cd $n; i=$((i+1)); done"
            let plan = harness.plan([harness.shell("api", nest)])
            try await harness.engine.start(plan)
            #expect(try await eventually(within: .seconds(60)) { try await harness.exit("api", of: plan.id) != nil })
            try await harness.engine.stop(pod: plan.id, grace: .zero)
            let pods = harness.folder.path + "/pods"
            #expect(!FileManager.default.fileExists(atPath: pods + "/" + plan.id))
            #expect(
                try await eventually(within: .seconds(60)) {
                    try FileManager.default.contentsOfDirectory(atPath: pods + "/.trash").isEmpty
                })
            // A mount is what not even root removes.
            let stuck = pods + "/hello-stuck"
            try FileManager.default.createDirectory(atPath: stuck + "/mnt", withIntermediateDirectories: true)
            try await harness.mount(stuck + "/mnt")
            try await harness.another().setUp()
            let next = harness.plan([harness.shell("api", "exec sleep 1000")])
            try await harness.engine.start(next)
            #expect(try await harness.engine.list().map(\.id) == [next.id])
            try await harness.unmountAll()
        }
    }

    @Test("N10: files that the platform's user may not remove are removed by a container of its own image")
    func removedByEngine() async throws {
        try await EngineHarness.with { (harness) async throws in
            try await harness.engine.setUp()
            let folder = harness.folder.path + "/left"
            try FileManager.default.createDirectory(atPath: folder + "/a/b", withIntermediateDirectories: true)
            try Data("x".utf8).write(to: URL(fileURLWithPath: folder + "/a/b/file"))
            chown(folder + "/a/b", 4711, 4711)
            chmod(folder + "/a/b", 0o700)
            try await harness.engine.removeByEngine(folder, "left")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
            let left = try await harness.podman.command(["ps", "--all", "--format", "{{.Names}}"])
            #expect(!left.contains("\(harness.id).remove"))
        }
    }

    @Test("U4: two platforms on one engine have networks and pods of their own")
    func twoInstallations() async throws {
        try await EngineHarness.with { (first) async throws in
            try await EngineHarness.with { (second) async throws in
                var plan = first.plan([first.shell("api", "exec sleep 1000")])
                try await first.engine.start(plan)
                plan.id = "other"
                try await second.engine.start(plan)
                #expect(try await first.engine.list().map(\.owner) == [plan.owner])
                #expect(try await second.engine.list().map(\.id) == ["other"])
                try await second.engine.stop(pod: "other", grace: .zero)
                #expect(try await first.engine.list().first?.isAlive == true)
            }
        }
    }

    @Test("C12: containers are hardened and limited, as the engine itself shows")
    func hardened() async throws {
        try await EngineHarness.with { (harness) async throws in
            var container = harness.shell("api", "exec sleep 1000")
            container.compute = Compute(cpu: Quantity("500m"), mem: Quantity("64Mi"), shm: Quantity("8Mi"))
            let plan = harness.plan([container])
            try await harness.engine.start(plan)
            let host =
                "{{.HostConfig.Privileged}} {{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.CpuShares}} {{.HostConfig.ShmSize}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.OomScoreAdj}}"
            let shown = try await harness.inspect(plan.id, "api", host)
            #expect(shown == "false 4096 67108864 67108864 512 8388608 no 500")
            let engineFiles = try await harness.engine.exec(
                [
                    "sh", "-c",
                    "for f in /etc/hostname /etc/resolv.conf /etc/hosts /run/.containerenv; do (echo x >>$f) 2>/dev/null && echo $f; done; cat /proc/slabinfo /proc/cmdline | wc -c",
                ], container: "api", pod: plan.id, timeout: .seconds(20))
            #expect(engineFiles.output == "0\n")
            let script =
                "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; ulimit -n; ulimit -Hn; cat /etc/hosts; hostname"
            let result = try await harness.engine.exec(
                ["sh", "-c", script], container: "api", pod: plan.id, timeout: .seconds(20))
            let lines = result.output.split(separator: "\n").map(String.init)
            #expect(lines.first == "4096")
            #expect(lines.contains("127.0.0.1 localhost"))
            for name in [ClusterNames.gateway, ClusterNames.operatorIngress, ClusterNames.operatorService] {
                #expect(lines.contains { $0.contains(name) })
            }
            #expect(lines.last == plan.id)
        }
    }

    @Test(
        "C12: ENTRYPOINT, CMD, WORKDIR, USER and ENV hold unless overridden",
        arguments: [
            (nil, nil, "image entry image cmd /work 1234 image"), (nil, ["mine"], "image entry mine /work 1234 image"),
            (["sh", "/say", "my"], nil, "my /work 1234 image"),
            (["sh", "/say", "my"], ["own", "two words"], "my own two words /work 1234 image"),
        ] as [([String]?, [String]?, String)])
    func imageDefaults(command: [String]?, args: [String]?, expected: String) async throws {
        let image = try Self.speaking()
        try await EngineHarness.with { (harness) async throws in
            try await harness.podman.load(image)
            var container = ContainerPlan(name: "api", image: image.tag, command: command, args: args)
            container.environment = [EnvironmentVariable("OTHER", "x")]
            let plan = harness.plan([container])
            try await harness.engine.prepare(plan) { _ in }
            try await harness.engine.start(plan)
            #expect(try await eventually { try await harness.exit("api", of: plan.id) != nil })
            #expect(try await harness.lines("api", of: plan.id) == [expected])
            container.environment = [EnvironmentVariable("KIND", "user")]
            let second = harness.plan([container])
            try await harness.engine.start(second)
            #expect(try await eventually { try await harness.exit("api", of: second.id) != nil })
            #expect(try await harness.lines("api", of: second.id).first?.hasSuffix(" user") == true)
        }
    }

    /// An image that prints its arguments, folder, user and `$KIND`.
    private static func speaking() throws -> ImageArchive {
        let base = try TestImages.busybox(extra: ["say": "echo \"$@\" $PWD $(id -u) $KIND\n"])
        return try base.reconfigured(
            tag: "localhost/cortex-test-speaking:1",
            .init(
                entrypoint: ["sh", "/say", "image entry"], command: ["image cmd"],
                environment: ["PATH=/bin", "KIND=image"], workingDirectory: "/work", user: "1234"))
    }

    @Test("C12: a SIGKILL is called out of memory only when a limit was set and we did not send it")
    func outOfMemory() async throws {
        try await EngineHarness.with { (harness) async throws in
            let script = "sh -c 'kill -9 $$'; exit $?"
            var limited = harness.shell("limited", script)
            limited.compute.mem = Quantity("64Mi")
            var stopped = harness.shell("stopped", "trap '' TERM; while :; do sleep 0.1; done")
            stopped.compute.mem = Quantity("64Mi")
            let plan = harness.plan([limited, stopped, harness.shell("free", script)])
            try await harness.engine.start(plan)
            try await harness.engine.stop(container: "stopped", of: plan.id, grace: .zero)
            #expect(try await eventually { try await harness.exit("free", of: plan.id) != nil })
            #expect(try await eventually { try await harness.exit("limited", of: plan.id) != nil })
            #expect(try await harness.exit("free", of: plan.id) == ContainerExit(code: 137))
            #expect(try await harness.exit("limited", of: plan.id) == ContainerExit(code: 137, outOfMemory: true))
            #expect(try await harness.exit("stopped", of: plan.id) == ContainerExit(code: 137))
        }
    }

    @Test("U4: a start that was cut off leaves a folder or a half pod; both are found and go")
    func leftovers() async throws {
        try await EngineHarness.with { (harness) async throws in
            let plan = harness.plan([harness.shell("api", "exec sleep 1000"), harness.shell("side", "exec sleep 1000")])
            try await harness.engine.start(plan)
            try await harness.podman.command(["rm", "--force", "--time", "0", "cortex-\(harness.id)-\(plan.id).side"])
            #expect(try await harness.state("side", of: plan.id) == .created)
            // Restarting makes what is missing.
            try await harness.engine.restart(container: "side", of: plan)
            #expect(try await harness.state("side", of: plan.id) == .running)
            try await harness.engine.restart(container: "side", of: plan)
            let orphan = harness.folder.path + "/pods/hello-orphan"
            try FileManager.default.createDirectory(atPath: orphan + "/mnt", withIntermediateDirectories: true)
            try await harness.another().setUp()
            #expect(!FileManager.default.fileExists(atPath: orphan))
            #expect(FileManager.default.fileExists(atPath: harness.folder.path + "/pods/" + plan.id))
        }
    }

    @Test("U4: a start that is cancelled leaves nothing")
    func cancelledStart() async throws {
        try await EngineHarness.with { (harness) async throws in
            try await harness.engine.setUp()
            let plan = harness.plan([harness.shell("api", "exec sleep 1000"), harness.shell("side", "exec sleep 1000")])
            let start = Task { try await harness.engine.start(plan) }
            #expect(try await eventually { try await !harness.engine.list().isEmpty })
            start.cancel()
            // Too late to cut it off is fine: then the pod is whole.
            if case .failure = await start.result {
                #expect(try await harness.engine.list() == [])
                #expect(!FileManager.default.fileExists(atPath: harness.folder.path + "/pods/" + plan.id))
            }
        }
    }

    @Test("C12: an image that is gone when the pod starts is named, and nothing is left")
    func missingImage() async throws {
        try await EngineHarness.with { (harness) async throws in
            let plan = harness.plan([ContainerPlan(name: "api", image: "localhost/not-there:1")])
            let prepared = await #expect(throws: PlatformError.self) { try await harness.engine.prepare(plan) { _ in } }
            #expect(prepared?.code == .imageUnavailable)
            let error = await #expect(throws: PlatformError.self) { try await harness.engine.start(plan) }
            #expect(error?.code == .imageUnavailable)
            #expect(error?.message.contains("localhost/not-there:1") == true)
            #expect(try await harness.engine.list() == [])
        }
    }

    @Test("U4: the network has the addresses it was given; one that is in use is told")
    func subnet() async throws {
        let subnet = IPv4Subnet(base: 10 << 24 | 99 << 16 | UInt32.random(in: 0..<16) << 12, prefix: 20)
        try await EngineHarness.with {
            $0.subnet = subnet
        } _: { (harness) async throws in
            try await harness.engine.setUp()
            let shown = try await harness.podman.command(["network", "inspect", "cortex-\(harness.id).pods"])
            #expect(shown.contains("\"\(subnet.description)\"") && shown.contains("\"cp-\(harness.id)\""))
            let clash = await #expect(throws: PlatformError.self) {
                try await EngineHarness.with {
                    $0.subnet = subnet
                } _: {
                    try await $0.engine.setUp()
                }
            }
            #expect(clash?.code == .setup)
        }
    }
}

/// Stops the engine of all, so it runs alone.
@Suite("An engine that is restarted", .serialized, .timeLimit(.minutes(5)))
struct EngineRestartTests {
    @Test("U4: pods live on, hints come again, logs that are followed go on, and nothing is read as gone meanwhile")
    func restart() async throws {
        let podman = try await PrivatePodman.separate()
        try await podman.load(try TestImages.busybox())
        let harness = try await EngineHarness.make(podman)
        let plan = harness.plan([harness.shell("api", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done")])
        try await harness.engine.start(plan)
        let hints = harness.engine.hints()
        let logs = try await harness.engine.logs(container: "api", pod: plan.id, follow: true, tail: nil).lines
        var lines = logs.makeAsyncIterator()
        #expect(try await lines.next() == "1")
        await podman.killService()
        let error = await #expect(throws: PlatformError.self) { _ = try await harness.engine.list() }
        #expect(error?.code == .engineUnavailable)
        try await podman.startService()
        #expect(try await harness.engine.list().first?.isAlive == true)
        var last = 1
        while last < 30, let line = try await lines.next() { last = max(last, Int(line) ?? 0) }
        #expect(last == 30)
        for await hint in hints { if hint == plan.id { break } }
        try await harness.engine.stop(pod: plan.id, grace: .zero)
        // The follower ends with the pod.
        while try await lines.next() != nil {}
        try await harness.tearDown()
    }
}
