import CPodInit
import Glibc
import PodInitProtocol

/// A command that runs inside a container: in its namespaces, as its user, in its environment, without capabilities.
final class ExecSession {
    private let connection: ControlConnection
    private let process: CInt
    private var output: [UInt8] = []
    private var outputReader: PipeReader?
    private var report: [UInt8] = []
    private var reportReader: PipeReader?
    private var timer: Timer?
    private var isTimedOut = false

    init(
        _ command: [String], in container: Container, milliseconds: Int64, cap: Int, settings: SandboxMode.Options,
        loop: Loop, connection: ControlConnection
    ) throws(Failure) {
        let target = cx_main_process(container.initProcess)
        guard container.isRunning, target > 0 else {
            throw Failure(.container, "Container \(container.request.name) does not run.")
        }
        let output = try makePipe()
        let report = try makePipe()
        let child = Child(
            program: command[0], arguments: Array(command.dropFirst()), environment: container.request.environment,
            folder: container.request.workingDirectory, output: output.writing, report: report.writing,
            cgroups: container.request.cgroups, files: settings.files, processes: PodInitLimits.processes,
            userNamespace: settings.userNamespace, filter: settings.filter)
        self.process = child.with { cx_spawn_inside($0, target) }
        self.connection = connection
        close(output.writing)
        close(report.writing)
        guard process > 0 else {
            var text = [UInt8](repeating: 0, count: 1024)
            let count = read(report.reading, &text, text.count)
            close(output.reading)
            close(report.reading)
            let reason = count > 0 ? String(decoding: text[..<count], as: UTF8.self) : errorText(-process)
            throw Failure(.container, "The command cannot be run in the container: \(reason).")
        }
        outputReader = PipeReader(loop: loop, descriptor: output.reading, limit: cap) { [unowned self] in
            self.output.append(contentsOf: $0)
        }
        reportReader = PipeReader(loop: loop, descriptor: report.reading, limit: 1024) { [unowned self] in
            self.report.append(contentsOf: $0)
        }
        timer = loop.after(milliseconds) { [unowned self] in
            isTimedOut = true
            kill()
        }
        connection.onDrop = { [weak self] in self?.kill() }
    }

    var processID: CInt { process }

    /// The command and what it started in its session; other sessions end with the container.
    func kill() {
        _ = Glibc.kill(-process, SIGKILL)
        _ = Glibc.kill(process, SIGKILL)
    }

    /// It was reaped: answers.
    func ended(code: CInt) {
        timer?.cancel()
        for reader in [outputReader, reportReader] {
            reader?.drain()
            reader?.close()
        }
        if isTimedOut {
            connection.refuse(Failure(.timedOut, "The command took too long and was killed."))
        } else if !report.isEmpty {
            connection.refuse(Failure(.container, String(decoding: report, as: UTF8.self) + "."))
        } else {
            connection.ok([String(code), String(decoding: output, as: UTF8.self)])
        }
    }
}
