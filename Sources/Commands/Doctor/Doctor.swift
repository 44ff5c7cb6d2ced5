import Client
import Core
import EngineDocker
import Platform
import Support
import Wire

/// The judgement of `cortex doctor`: what the probes found, and what to do about it.
struct Doctor: Sendable {
    var probes: DoctorProbes
    var variables: [String: String]
    var environments: EnvironmentStore

    func examine() async -> DoctorReport {
        var report = DoctorReport()
        await examineEngines(&report)
        await examinePorts(&report)
        examineDataDirectory(&report)
        let file = examineEnvironments(&report)
        if let file { await examineClusters(file, &report) }
        return report
    }

    // MARK: Engines

    /// Where engines listen, the chosen ones first (contract U1).
    var sockets: [(engine: String, path: String)] {
        if let path = value("CORTEX_ENGINE_SOCKET") { return [("engine", path)] }
        var sockets: [(String, String)] = []
        if let named = try? DockerEngineConfiguration.namedSocket(environment: variables) {
            sockets.append(("docker", named.path))
        } else {
            sockets.append(("docker", "/var/run/docker.sock"))
        }
        if let folder = value("XDG_RUNTIME_DIR") { sockets.append(("podman (yours)", "\(folder)/podman/podman.sock")) }
        sockets.append(("podman", "/run/podman/podman.sock"))
        return sockets
    }

    private func examineEngines(_ report: inout DoctorReport) async {
        var found: [DoctorReport.Check] = []
        var isUsable = false
        // The engine that `cortex up` takes, and what it cannot enforce.
        var chosen: (engine: String, limits: [EngineLimit])?
        let isSandboxChosen = value("CORTEX_ENGINE") == "sandbox"
        if value("CORTEX_ENGINE_SOCKET") == nil {
            do {
                _ = try DockerEngineConfiguration.namedSocket(environment: variables)
            } catch {
                let (finding, advice) = Self.split((error as? PlatformError)?.message ?? "\(error)")
                report.problem("engine variables", finding, advice: advice ?? "unset it")
            }
        }
        for (engine, path) in sockets {
            switch await probes.engine(path) {
            case .success(let answer):
                isUsable = true
                found.append(.init(name: engine, verdict: .ok, finding: "\(answer) answers at \(path)"))
                if chosen == nil, !isSandboxChosen {
                    chosen = (
                        engine,
                        EngineLimit.ofContainers(
                            await probes.abilities(path), isPodman: answer.contains("Podman"), isRoot: probes.isRoot())
                    )
                }
            case .failure(let fault):
                found.append(.init(name: engine, verdict: .absent, finding: fault.reason, advice: fault.advice))
            }
        }
        switch await probes.sandbox() {
        case .success(let answer):
            isUsable = true
            found.append(.init(name: "sandbox", verdict: .ok, finding: answer))
            if chosen == nil { chosen = ("sandbox", EngineLimit.ofSandbox(await probes.sandboxAbilities())) }
        case .failure(let fault):
            found.append(.init(name: "sandbox", verdict: .absent, finding: fault.reason, advice: fault.advice))
        }
        // One engine is enough: a missing one is a problem only if there is no other.
        for var check in found {
            if check.verdict == .absent {
                if isUsable { check.advice = nil } else { check.verdict = .problem }
            }
            report.checks.append(check)
        }
        guard let chosen else { return }
        report.note(
            "isolation",
            "with \(chosen.engine): \(chosen.limits.map(\.text).joined(separator: "; ")). See docs/security.md")
    }

    // MARK: Ports

    private func examinePorts(_ report: inout DoctorReport) async {
        let ports = [
            ("operator port", Int(value("CORTEX_OPERATOR_PORT") ?? "") ?? 8888, "operator-port"),
            ("gateway port", Int(value("CORTEX_GATEWAY_PORT") ?? "") ?? 8889, "port"),
        ]
        for (name, port, flag) in ports where port != 0 {
            switch await probes.port(port) {
            case .free: report.ok(name, "\(port) is free")
            case .cortex: report.ok(name, "\(port): Cortex is running")
            case .taken:
                report.problem(
                    name, "\(port) is taken by another program",
                    advice: "stop it, or choose another port: cortex up --\(flag) PORT")
            case .denied(let reason):
                report.problem(
                    name, "\(port) cannot be used: \(reason)", advice: "choose another: cortex up --\(flag) PORT")
            }
        }
    }

    // MARK: Disk

    private func examineDataDirectory(_ report: inout DoctorReport) {
        let home = value("HOME") ?? "/"
        let folder = value("CORTEX_DATA_DIR") ?? "\(home)/.cortex/local"
        let elsewhere = "choose another: cortex up --data-dir FOLDER"
        switch probes.folder(folder) {
        case .writable: report.ok("data directory", "\(folder) can be written")
        case .absent: report.ok("data directory", "\(folder) will be made by cortex up")
        case .notWritable:
            report.problem(
                "data directory", "\(folder) cannot be written", advice: "give yourself the right, or \(elsewhere)")
        case .notAFolder:
            report.problem("data directory", "\(folder) is not a folder", advice: "move it away, or \(elsewhere)")
        }
        guard let free = probes.freeSpace(folder) else {
            return report.problem("disk space", "unknown for \(folder)", advice: elsewhere)
        }
        let reserve = (value("CORTEX_DISK_RESERVE").flatMap { DiskReserve($0) } ?? .standard)
            .bytes(of: probes.totalSpace(folder))
        let text = "\(DiskSpace.gigabytes(free)) free for \(folder)"
        if free >= reserve {
            report.ok("disk space", "\(text), of which \(DiskSpace.gigabytes(reserve)) are kept for results")
        } else {
            report.problem(
                "disk space", text,
                advice:
                    "make room (at least \(DiskSpace.gigabytes(reserve)), below which requests are refused), lower --disk-reserve, or \(elsewhere)"
            )
        }
    }

    // MARK: Environments

    private func examineEnvironments(_ report: inout DoctorReport) -> EnvironmentFile? {
        let path = environments.path
        guard probes.mode(path) != nil else {
            report.absent("cli.yaml", "\(path) does not exist yet; cortex up makes it")
            return nil
        }
        do {
            let file = try environments.load()
            // Reading it takes the right to read from others, where that can be done.
            if let mode = probes.mode(path), mode & 0o077 != 0, file.environments.contains(where: { $0.token != nil }) {
                report.problem(
                    "cli.yaml", "\(path) holds a token and others may read it", advice: "run: chmod 600 \(path)")
            } else {
                report.ok("cli.yaml", "\(path): environments: \(file.environments.map(\.name).joined(separator: ", "))")
            }
            return file
        } catch {
            report.problem(
                "cli.yaml", (error as? PlatformError)?.message ?? "\(error)",
                advice: "correct it, or move it away and run: cortex env configure NAME -o URL")
            return nil
        }
    }

    private func examineClusters(_ file: EnvironmentFile, _ report: inout DoctorReport) async {
        for environment in file.environments {
            let name = "environment \(environment.name)".inOneLine
            do {
                let info = try await Transport.with { transport in
                    try await OperatorClient(environment: environment, transport: transport).info()
                }
                let cluster = info.clusterConfig
                report.ok(
                    name, "\(environment.operatorEndpoint): version \(cluster.apiVersion), engine \(cluster.engine)")
            } catch {
                let message = (error as? PlatformError)?.message ?? "\(error)"
                let (finding, advice) = Self.split(message)
                // A platform that is not running is nothing to repair.
                if (error as? PlatformError)?.code == .connectionFailed {
                    report.absent(name, finding)
                } else {
                    report.problem(name, finding, advice: advice ?? "see: cortex env list")
                }
            }
        }
    }

    /// Messages say first what is wrong, then what to do.
    private static func split(_ message: String) -> (finding: String, advice: String?) {
        guard let range = message.firstRange(of: "; ") else { return (message, nil) }
        return (String(message[..<range.lowerBound]), String(message[range.upperBound...]))
    }

    private func value(_ name: String) -> String? {
        variables[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}
