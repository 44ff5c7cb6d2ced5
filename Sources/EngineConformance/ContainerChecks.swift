import Core
import Foundation
import TestSupport
import Testing

extension EngineCheck {
    static let container: [EngineCheck] = [
        EngineCheck("C9: environment and arguments are unchanged, later variables win") { fixture in
            var plan = fixture.container("api", ["python3", "-u", "-c", Agent.source, "127.0.0.1"])
            plan.args = (plan.args ?? []) + ["8080", "two words", "", "$HOME", "ü\n"]
            plan.environment = [
                EnvironmentVariable("CORTEX_PORT", "8080"), EnvironmentVariable("MESSAGE", "system"),
                EnvironmentVariable("EMPTY", ""), EnvironmentVariable("MESSAGE", "a=b 'c' \"d\" $(E) ü\nline"),
                EnvironmentVariable("LD_LIBRARY_PATH", "/mnt/none"),
            ]
            try await fixture.withPod([plan]) { (plan) async throws in
                let read = """
                    import os, sys
                    result = [os.environ[name] for name in ("CORTEX_PORT", "MESSAGE", "EMPTY", "LD_LIBRARY_PATH")] + sys.argv[3:]
                    """
                let answer = try await Agent.run(read, in: plan.id, of: fixture.engine)
                let message = "a=b 'c' \"d\" $(E) ü\nline"
                let environment: [JSON] = ["8080", .string(message), "", "/mnt/none"]
                #expect(answer == .list(environment + ["two words", "", "$HOME", "ü\n"]))
            }
        },
        EngineCheck("C9: /cortex/client/cli.yaml is read-only") { fixture in
            try await fixture.withPod([fixture.agent(), fixture.agent("second", port: 9000)]) { (plan) async throws in
                for port in [8080, 9000] {
                    for file in plan.clientFiles {
                        let read = "result = open('/cortex/client/\(file.name)').read()"
                        let text = try await Agent.run(read, in: plan.id, of: fixture.engine, port: port)
                        #expect(text == .string(file.text))
                    }
                    let write = """
                        import errno, os
                        result = []
                        for path in ("/cortex/client/cli.yaml", "/cortex/client/other"):
                            try: os.open(path, os.O_WRONLY | os.O_CREAT); result.append("written")
                            except OSError as error: result.append(errno.errorcode[error.errno])
                        """
                    #expect(
                        try await Agent.run(write, in: plan.id, of: fixture.engine, port: port) == ["EROFS", "EROFS"])
                    let scratch = """
                        import os
                        os.makedirs("/cortex/client/\(PodPlan.clientScratch)/\(port)")
                        result = True
                        """
                    #expect(try await Agent.run(scratch, in: plan.id, of: fixture.engine, port: port) == .bool(true))
                }
            }
        },
        EngineCheck("C12: containers run without capabilities and cannot gain any") { fixture in
            try await fixture.withPod([fixture.agent()]) { (plan) async throws in
                let read = """
                    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
                    result = [status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")]
                    """
                let none: JSON = "0000000000000000"
                #expect(try await Agent.run(read, in: plan.id, of: fixture.engine) == [none, none, none, none, "1"])
                let write = """
                    import os
                    result = []
                    def attempt(path):
                        try: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)); result.append(path)
                        except OSError: pass
                    for path in ("kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "vm/drop_caches", "vm/panic_on_oom"):
                        attempt("/proc/sys/" + path)
                    attempt("/proc/sysrq-trigger")
                    """
                #expect(try await Agent.run(write, in: plan.id, of: fixture.engine) == [])
            }
        },
        EngineCheck("C12: the system's files are read-only, /tmp and /dev/shm are writable", needs: .readOnlyRoot) {
            fixture in
            try await fixture.withPod([fixture.agent()]) { (plan) async throws in
                let write = """
                    import os
                    result = []
                    for folder in ("/", "/usr", "/usr/bin", "/etc", "/cortex", "/dev", "/proc/sys", "/tmp", "/dev/shm", os.environ["HOME"]):
                        try: open(folder + "/written", "w").close(); result.append(folder)
                        except OSError: pass
                    result = result[:2] + [len(result)]
                    """
                #expect(try await Agent.run(write, in: plan.id, of: fixture.engine) == ["/tmp", "/dev/shm", 3])
            }
        },
        EngineCheck("Y2: volumes are mounted, and read-only ones cannot be written") { fixture in
            let folder = fixture.folder.appendingPathComponent("volume-\(UInt32.random(in: .min ... .max))")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder.path)
            try Data("from the server".utf8).write(to: folder.appendingPathComponent("file"))
            var container = fixture.agent()
            container.volumes = [
                .init(source: folder.path, target: "/data/read", readOnly: true),
                .init(source: folder.path, target: "/data/write"),
                .init(source: folder.appendingPathComponent("file").path, target: "/data/single", readOnly: true),
            ]
            try await fixture.withPod([container]) { (plan) async throws in
                let work = """
                    result = [open("/data/read/file").read(), open("/data/single").read(), open("/data/write/new", "w").write("12345")]
                    try: open("/data/read/other", "w"); result.append("written")
                    except OSError: result.append("refused")
                    """
                let answer = try await Agent.run(work, in: plan.id, of: fixture.engine)
                #expect(answer == ["from the server", "from the server", 5, "refused"])
            }
            #expect(try String(contentsOf: folder.appendingPathComponent("new"), encoding: .utf8) == "12345")
        },
        EngineCheck("Y2: a volume whose source is missing fails the start and names it") { fixture in
            var container = fixture.shell("side", "exec sleep 1000")
            container.volumes = [.init(source: fixture.folder.path + "/not-there", target: "/data")]
            let plan = fixture.plan([container])
            try await fixture.engine.prepare(plan) { _ in }
            let error = await #expect(throws: PlatformError.self) { try await fixture.engine.start(plan) }
            #expect(error?.code == .containerFailed)
            #expect(error?.message.contains("/data") == true)
            #expect(!FileManager.default.fileExists(atPath: fixture.folder.path + "/not-there"))
            try await fixture.expectNothingLeft(of: plan.id)
        },
    ]

    static let limits: [EngineCheck] = [
        EngineCheck("C12: shm is the size of /dev/shm") { fixture in
            var container = fixture.agent()
            container.compute.shm = Quantity("80Mi")
            try await fixture.withPod([container]) { (plan) async throws in
                let read = "import os; s = os.statvfs('/dev/shm'); result = s.f_blocks * s.f_frsize"
                #expect(try await Agent.run(read, in: plan.id, of: fixture.engine) == .number(80 << 20))
            }
        },
        EngineCheck(
            "C12: a container above its mem is killed, and its state says so; the other container continues",
            needs: .memoryLimit
        ) {
            fixture in
            var hungry = fixture.container("hungry", ["python3", "-c", "data = bytearray(1 << 30)"])
            hungry.compute.mem = Quantity("64Mi")
            try await fixture.withPod([fixture.agent(), hungry]) { (plan) async throws in
                #expect(try await eventually { try await fixture.exit(of: "hungry", in: plan.id) != nil })
                let exit = try await fixture.exit(of: "hungry", in: plan.id)
                #expect(exit == ContainerExit(code: 137, outOfMemory: true))
                #expect(try await Agent.run("result = 1", in: plan.id, of: fixture.engine) == 1)
            }
        },
        EngineCheck("C12: a resource that no machine has is refused by its field") { fixture in
            var container = ContainerSpecification(name: "api", image: "localhost/any:1", command: ["true"])
            container.compute.gpu = 64
            let specification = APISpecification.async(
                name: "hello", networking: .init(endpoint: "/hello"), pod: PodSpecification(containers: [container]))
            let problems = await fixture.engine.problems(with: specification)
            #expect(problems.contains { $0.contains("pod.containers[0].compute.gpu") })
        },
    ]
}
