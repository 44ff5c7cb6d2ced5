import Client
import Core
import EngineSandbox
import Foundation
import TestSupport
import Testing

@testable import Commands

@Suite("O3: doctor")
struct DoctorTests {
    private static let healthy = DoctorProbes(
        engine: { _ in .success("Docker 27") },
        abilities: { _ in
            EngineAbilities(
                securityOptions: ["name=seccomp,profile=builtin", "name=cgroupns"], memoryLimit: true,
                processorShares: true, processLimit: true)
        },
        sandboxAbilities: {
            SandboxAbilities(
                hasPodUsers: true, limitsMemory: true, sharesProcessors: true, limitsProcesses: true)
        }, sandbox: { .success("bubblewrap works") }, port: { _ in .free },
        freeSpace: { _ in 20 << 30 }, folder: { _ in .writable }, mode: { _ in nil })

    private func examine(
        _ probes: DoctorProbes, _ variables: [String: String] = ["HOME": "/h"], directory: String = "/nowhere"
    ) async -> DoctorReport {
        await Doctor(probes: probes, variables: variables, environments: EnvironmentStore(directory: directory))
            .examine()
    }

    @Test("O3: on a good machine every line is fine")
    func healthyMachine() async {
        let report = await examine(Self.healthy)
        #expect(report.isHealthy)
        #expect(
            report.render(.plain) == """
                ✓ docker           Docker 27 answers at /var/run/docker.sock
                ✓ podman           Docker 27 answers at /run/podman/podman.sock
                ✓ sandbox          bubblewrap works
                ! isolation        with docker: pods share the kernel of this machine; what a pod stores is not limited, and a disk that is nearly full stops no pod; root in a container is root of this machine for the files of its volumes. See docs/security.md
                ✓ operator port    8888 is free
                ✓ gateway port     8889 is free
                ✓ data directory   /h/.cortex/local can be written
                ✓ disk space       20.0 GiB free for /h/.cortex/local, of which 1.0 GiB are kept for results
                - cli.yaml         /nowhere/cli.yaml does not exist yet; cortex up makes it
                """)
    }

    @Test("O3: one engine is enough; without any, each missing one says what to do")
    func engines() async {
        let fault = DoctorFault(reason: "not there", advice: "install it")
        var probes = Self.healthy
        probes.engine = { _ in .failure(fault) }
        let report = await examine(probes)
        #expect(report.isHealthy)
        #expect(report.render(.plain).contains("- docker           not there\n"))
        probes.sandbox = { .failure(fault) }
        let bad = await examine(probes)
        #expect(!bad.isHealthy)
        #expect(bad.render(.plain).contains("✗ sandbox          not there\n                   install it"))
    }

    private static let containerLimits: [EngineLimit] = [.sharedKernel, .disk, .broadcast]

    @Test("N3, N10: what the chosen engine cannot enforce is said, also in the rootless cases")
    func limits() async {
        func limits(
            _ options: [String]?, memory: Bool = true, processes: Bool = true, isRoot: Bool = true
        ) -> Set<EngineLimit> {
            Set(
                EngineLimit.ofContainers(
                    EngineAbilities(
                        securityOptions: options, memoryLimit: memory, processorShares: true, processLimit: processes),
                    isPodman: true, isRoot: isRoot)
            ).subtracting(Self.containerLimits)
        }
        #expect(limits(["name=seccomp,profile=default"]) == [.hostRoot])
        #expect(limits(["name=seccomp,profile=default", "name=userns"]) == [])
        #expect(limits(["name=seccomp,profile=default", "name=rootless"]) == [])
        #expect(limits(["name=seccomp", "name=rootless"], memory: false, processes: false) == [.memory, .processes])
        #expect(limits(["name=rootless"]) == [.noSystemCallFilter])
        // An ordinary user may not enter the networks of pods of root's engine (N4).
        #expect(limits(["name=seccomp"], isRoot: false) == [.hostRoot, .passedConnections])
        #expect(limits(["name=seccomp", "name=rootless"], isRoot: false) == [])
        // An engine that does not say is not trusted with more than all of them can.
        #expect(
            Set(EngineLimit.ofContainers(nil, isPodman: true, isRoot: false))
                == Set(Self.containerLimits + [.hostRoot, .passedConnections]))

        var probes = Self.healthy
        probes.sandboxAbilities = {
            SandboxAbilities(hasPodUsers: false, limitsMemory: false, sharesProcessors: false, limitsProcesses: false)
        }
        let sandbox = await examine(probes, ["HOME": "/h", "CORTEX_ENGINE": "sandbox"])
        let finding = sandbox.checks.first { $0.name == "isolation" }?.finding ?? ""
        #expect(finding.hasPrefix("with sandbox: "))
        for limit in [EngineLimit.sharedKernel, .platformUser, .memory, .processors, .processes] {
            #expect(finding.contains(limit.text))
        }
        #expect(!finding.contains(EngineLimit.disk.text) && sandbox.isHealthy)
        // With no engine that answers the sandbox is taken.
        probes.engine = { _ in .failure(DoctorFault(reason: "not there", advice: "install it")) }
        #expect(await examine(probes).render(.plain).contains("with sandbox: "))
        probes.sandbox = { .failure(DoctorFault(reason: "not there", advice: "install it")) }
        #expect(await !examine(probes).checks.contains { $0.name == "isolation" })
    }

    @Test("N3: doctor and docs/security.md name the same limits")
    func documented() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "docs/security.md")
        let text = try String(contentsOf: file, encoding: .utf8).split(whereSeparator: \.isWhitespace)
            .joined(separator: " ")
        for limit in EngineLimit.allCases { #expect(text.contains(limit.text), "\(limit.text)") }
    }

    @Test("U1: the sockets, ports and folder that the variables name are looked at")
    func variables() async {
        var probes = Self.healthy
        probes.port = { [9001, 9002].contains($0) ? .cortex : .taken }
        let report = await examine(
            probes,
            [
                "HOME": "/h", "CORTEX_ENGINE_SOCKET": "/e.sock", "CORTEX_GATEWAY_PORT": "9001",
                "CORTEX_OPERATOR_PORT": "9002", "CORTEX_DATA_DIR": "/d",
            ])
        let text = report.render(.plain)
        #expect(report.isHealthy)
        #expect(text.contains("Docker 27 answers at /e.sock"))
        #expect(text.contains("9001: Cortex is running"))
        #expect(text.contains("free for /d"))
        let doctor = Doctor(
            probes: probes, variables: ["DOCKER_HOST": "unix:///my.sock", "XDG_RUNTIME_DIR": "/run/user/1"],
            environments: EnvironmentStore(directory: "/nowhere"))
        #expect(
            doctor.sockets.map(\.path) == ["/my.sock", "/run/user/1/podman/podman.sock", "/run/podman/podman.sock"])
    }

    @Test("U5: a DOCKER_HOST that cannot be used is a problem, named without its credential")
    func unusableHost() async {
        let report = await examine(Self.healthy, ["HOME": "/h", "DOCKER_HOST": "ssh://me:secret@host"])
        let text = report.render(.plain)
        #expect(!report.isHealthy)
        #expect(text.contains("DOCKER_HOST is ssh://") && !text.contains("secret"))
    }

    @Test(
        "N10: versions of runc with known holes are pointed out",
        arguments: [
            ("1.1.5+ds1", true), ("1.1.12", true), ("1.2.7", true), ("1.2.8", false), ("1.3.2", true), ("1.3.3", false),
            ("1.4.0", false), ("odd", false),
        ])
    func runtime(version: String, isOld: Bool) {
        #expect(DoctorProbes.advice(runc: version[...]).isEmpty != isOld)
    }

    @Test("U5: a taken port, a full disk, a folder that cannot be written: each with what to do")
    func problems() async {
        var probes = Self.healthy
        probes.port = { $0 == 8888 ? .taken : .denied("Permission denied") }
        probes.freeSpace = { _ in 500 << 20 }
        probes.folder = { _ in .notWritable }
        let report = await examine(probes)
        #expect(
            report.checks.filter { $0.verdict == .problem }.map(\.name) == [
                "operator port", "gateway port", "data directory", "disk space",
            ])
        #expect(report.checks.allSatisfy { $0.verdict != .problem || !($0.advice ?? "").isEmpty })
    }

    @Test("O1: a token that others may read, a broken file and a platform that is away")
    func environments() async throws {
        try await withTemporaryDirectory { folder in
            let store = EnvironmentStore(directory: folder.path)
            try store.update {
                $0.put(Environment(name: "local", operatorEndpoint: "http://127.0.0.1:1", token: "t"))
            }
            var probes = Self.healthy
            probes.mode = { _ in 0o644 }
            let open = await examine(probes, directory: folder.path)
            #expect(open.render(.plain).contains("run: chmod 600 \(store.path)"))
            #expect(open.checks.last?.verdict == .absent)
            probes.mode = { _ in 0o600 }
            #expect(await examine(probes, directory: folder.path).isHealthy)
            try Data("x: y".utf8).write(to: URL(fileURLWithPath: store.path))
            #expect(await !examine(probes, directory: folder.path).isHealthy)
        }
    }

    @Test("O3: the machine's own probes give an answer to everything")
    func liveProbes() async throws {
        let probes = DoctorProbes.live()
        try await withTemporaryDirectory { folder in
            #expect(probes.folder(folder.path) == .writable)
            #expect(probes.folder(folder.path + "/a/b") == .absent)
            try Data().write(to: folder.appendingPathComponent("file"))
            #expect(probes.folder(folder.path + "/file") == .notAFolder)
            #expect(probes.folder(folder.path + "/file/x") == .notAFolder)
            #expect((probes.freeSpace(folder.path + "/a") ?? 0) > 0)
            #expect(probes.mode(folder.path + "/nothing") == nil)
            guard case .failure = await probes.engine(folder.path + "/file") else { return #expect(Bool(false)) }
        }
        _ = await probes.sandbox()
    }
}
