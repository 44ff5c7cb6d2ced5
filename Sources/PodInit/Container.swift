import CLinux
import CPodInit
import Glibc
import PodInitProtocol

/// A container of a sandbox pod: a bubblewrap that is a child of this process, over all its starts.
final class Container {
    enum State: Equatable {
        case running
        /// Bubblewrap is gone, the processes inside are not yet.
        case ending(code: Int)
        case exited(code: Int, outOfMemory: Bool)
    }

    private let loop: Loop
    private let settings: SandboxMode.Options
    private let log: LogFile
    /// Notifies the subscribers.
    private let onChange: () -> Void
    private(set) var request: StartRequest
    private(set) var state = State.exited(code: 0, outOfMemory: false)
    private(set) var starts = 0
    private(set) var startedAt: Int64 = 0
    private var endedAt: Int64 = 0
    private(set) var process: CInt = 0
    /// Bubblewrap's own first process inside: everything in the container lives and dies with it.
    private(set) var initProcess: CInt = 0
    private var initWatch: Loop.Watch?
    private var oomKills = 0
    private var stopTimer: Timer?
    private var onEnd: [() -> Void] = []
    private var readers: [PipeReader] = []

    init(
        request: StartRequest, settings: SandboxMode.Options, loop: Loop, onChange: @escaping () -> Void
    ) {
        self.request = request
        self.settings = settings
        self.loop = loop
        self.onChange = onChange
        self.log = LogFile(path: "\(settings.directory)/logs/\(request.name).log", limit: settings.logLimit)
    }

    var isRunning: Bool {
        if case .exited = state { false } else { true }
    }

    var status: StatusReport.Container {
        var code: Int?
        var outOfMemory = false
        if case .exited(let exit, let memory) = state { (code, outOfMemory) = (exit, memory) }
        return StatusReport.Container(
            name: request.name, exitCode: code, outOfMemory: outOfMemory, starts: starts, startedAt: startedAt,
            processID: Int(isRunning ? process : 0))
    }

    /// How it ended; `nil` while it runs, and before its first start.
    var exit: ExitRecord? {
        guard starts > 0, case .exited(let code, let memory) = state else { return nil }
        return ExitRecord(name: request.name, exitCode: code, outOfMemory: memory, endedAt: endedAt)
    }

    // MARK: start

    /// Starts it, again if it has ended. `done` is called once: without a failure as soon as the command runs.
    func start(_ request: StartRequest, done: @escaping (Failure?) -> Void) {
        guard !isRunning else { return done(Failure(.badRequest, "Container \(request.name) runs already.")) }
        self.request = request
        do {
            try spawn(done)
        } catch {
            done(error)
        }
    }

    private func spawn(_ done: @escaping (Failure?) -> Void) throws(Failure) {
        let output = try makePipe()
        let report = try makePipe()
        let information = try makePipe()
        let bytes = RunMode.plan(request)
        let plan = cx_memory_file(bytes, bytes.count)
        let filter = cx_memory_file(settings.filter, settings.filter.count)
        let executable = StartRequest.stage(request.mounts.count)
        let child = Child(
            program: settings.bubblewrap, name: bubblewrapName(podFolder: settings.directory),
            arguments: ["--info-fd", String(information.writing), "--seccomp", String(filter)] + request.bubblewrap
                + ["--ro-bind", executable, "/cortex/pod-init", "--remount-ro", "/", "--"]
                + ["/cortex/pod-init", "run", String(report.writing), String(plan)],
            environment: ["PATH=/usr/local/bin:/usr/bin:/bin"], folder: "/", output: output.writing,
            report: report.writing, keepsReport: true, kept: [information.writing, plan, filter],
            cgroups: request.cgroups, files: settings.files, processes: PodInitLimits.processes,
            mounts: request.mounts + [StartRequest.Mount(settings.executable)],
            userNamespace: settings.userNamespace, volumeOwners: settings.volumeOwners)
        oomKills = oomCount()
        let failed = min(plan, filter)
        let process = failed < 0 ? failed : child.with { cx_spawn($0) }
        for descriptor in [output.writing, report.writing, information.writing, plan, filter] where descriptor >= 0 {
            close(descriptor)
        }
        guard process > 0 else {
            for descriptor in [output.reading, report.reading, information.reading] { close(descriptor) }
            throw Failure(.container, "Container \(request.name) cannot be started: \(errorText(-process)).")
        }
        begin(process)
        let log = self.log
        let out = read(output.reading) { bytes in log.append(bytes) }
        read(information.reading, limit: 4096) { bytes in self.learn(bytes) }
        var text: [UInt8] = []
        read(report.reading, limit: 4096) { bytes in
            text.append(contentsOf: bytes)
        } end: {
            out.drain()
            done(self.verdict(text))
        }
    }

    private func begin(_ process: CInt) {
        self.process = process
        initProcess = 0
        state = .running
        starts += 1
        startedAt = cx_epoch_microseconds()
        onChange()
    }

    /// `R` alone: the command runs.
    private func verdict(_ text: [UInt8]) -> Failure? {
        if text == [UInt8(ascii: "R")] { return nil }
        let isInside = text.first == UInt8(ascii: "R")
        let report = String(decoding: isInside ? text.dropFirst() : text[...], as: UTF8.self)
        let reason = report.isEmpty ? (log.lastLine.isEmpty ? "bubblewrap failed" : log.lastLine) : report
        return Failure(.container, "Container \(request.name) cannot be started: \(reason).")
    }

    /// `{ "child-pid": 123 … }`, from bubblewrap.
    private func learn(_ bytes: UnsafeRawBufferPointer) {
        let text = String(decoding: bytes, as: UTF8.self)
        guard initProcess == 0, let key = text.firstRange(of: "\"child-pid\":") else { return }
        let digits = text[key.upperBound...].drop { !$0.isNumber }.prefix { $0.isNumber }
        guard let number = CInt(digits) else { return }
        let descriptor = cx_process_descriptor(number)
        guard descriptor >= 0 else { return }
        initProcess = number
        initWatch = loop.watch(descriptor, for: .read) { _ in self.initEnded() }
    }

    @discardableResult
    private func read(
        _ descriptor: CInt, limit: Int = .max, _ take: @escaping (UnsafeRawBufferPointer) -> Void,
        end: @escaping () -> Void = {}
    ) -> PipeReader {
        let reader = PipeReader(loop: loop, descriptor: descriptor, limit: limit, take: take)
        readers.append(reader)
        reader.onEnd = { [unowned self, unowned reader] in
            readers.removeAll { $0 === reader }
            end()
        }
        return reader
    }

    // MARK: end

    /// Bubblewrap was reaped.
    func ended(code: CInt) {
        endedAt = cx_epoch_microseconds()
        state = .ending(code: Int(code))
        settle()
    }

    private func initEnded() {
        guard let watch = initWatch else { return }
        loop.forget(watch)
        close(watch.descriptor)
        initWatch = nil
        settle()
    }

    /// It has ended once bubblewrap and everything inside are gone.
    private func settle() {
        guard case .ending(let code) = state, initWatch == nil else { return }
        for reader in readers { reader.drain() }
        log.endLine()
        let killed = code == 128 + Int(SIGKILL) && oomCount() > oomKills
        state = .exited(code: code, outOfMemory: killed)
        process = 0
        initProcess = 0
        stopTimer?.cancel()
        let waiting = onEnd
        onEnd = []
        for action in waiting { action() }
        onChange()
    }

    func signal(_ number: CInt) throws(Failure) {
        guard case .running = state else { return }
        if number == SIGKILL { return kill() }
        let result = cx_signal_main(initProcess, number)
        guard result < 0, result != -ESRCH else { return }
        throw Failure(.internal, "Container \(request.name) cannot be signalled: \(errorText(-result)).")
    }

    /// SIGTERM, and SIGKILL after `milliseconds`; `done` once it ended.
    func stop(after milliseconds: Int64, done: @escaping () -> Void) {
        guard isRunning else { return done() }
        onEnd.append(done)
        // Its command does not run yet, or there is no grace period: nothing can end gracefully, so kill it.
        guard milliseconds > 0, cx_signal_main(initProcess, SIGTERM) == 0 else { return kill() }
        stopTimer?.cancel()
        stopTimer = loop.after(milliseconds) { self.kill() }
    }

    /// With bubblewrap its init inside dies (`--die-with-parent`), and with that one all in its process namespace.
    private func kill() {
        if process > 0, case .running = state { _ = Glibc.kill(process, SIGKILL) }
    }

    /// The kernel's count of processes it killed in the control group for want of memory.
    private func oomCount() -> Int {
        guard !request.oomFile.isEmpty else { return 0 }
        let descriptor = open(request.oomFile, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 1024)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return 0 }
        for line in String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, words[0] == "oom_kill" { return Int(words[1]) ?? 0 }
        }
        return 0
    }
}
