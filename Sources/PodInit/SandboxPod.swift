import CPodInit
import Glibc
import PodInitProtocol

/// The containers of a sandbox pod, and what the platform may ask about them.
final class SandboxPod {
    private let options: SandboxMode.Options
    private let network: String
    private let loop: Loop
    private var containers: [String: Container] = [:]
    /// In the order of their first start.
    private var names: [String] = []
    private var sessions: [CInt: ExecSession] = [:]
    private var subscribers: [ObjectIdentifier: ControlConnection] = [:]
    private var isShuttingDown = false
    private var onEmpty: [() -> Void] = []
    /// The content of the file of exits.
    private var exits = ""

    init(options: SandboxMode.Options, network: String, loop: Loop) {
        self.options = options
        self.network = network
        self.loop = loop
    }

    func handle(_ connection: ControlConnection, _ request: [String]) {
        do throws(Failure) {
            guard let verb = request.first.flatMap(Verb.init(rawValue:)) else {
                throw Failure(.badRequest, "Unknown request.")
            }
            try handle(verb, request.dropFirst(), connection)
        } catch {
            connection.refuse(error)
        }
    }

    private func handle(
        _ verb: Verb, _ fields: ArraySlice<String>, _ connection: ControlConnection
    ) throws(Failure) {
        switch verb {
        case .ping: connection.ok([PodInitLimits.version])
        case .connect: PortConnector.serve(fields, loop: loop, connection: connection)
        case .status:
            let report = StatusReport(network: network, containers: names.compactMap { containers[$0]?.status })
            connection.ok(report.fields)
        case .start: try start(fields, connection)
        case .signal:
            let number = fields.dropFirst().first.flatMap(CInt.init)
            guard let number, number > 0, number < 65 else { throw Failure(.badRequest, "signal needs a number") }
            try container(fields).signal(number)
            connection.ok()
        case .stop: try container(fields).stop(after: milliseconds(fields.dropFirst())) { connection.ok() }
        case .exec: try exec(fields, connection)
        case .subscribe:
            connection.subscribe()
            subscribers[ObjectIdentifier(connection)] = connection
            connection.onDrop = { [unowned self] in subscribers[ObjectIdentifier(connection)] = nil }
        case .shutdown: shutdown(after: try milliseconds(fields)) { connection.ok() }
        }
    }

    /// Reaps what ended: containers, commands, and orphans that came to this process.
    func reap() {
        var code: CInt = 0
        while case let process = cx_reap(&code), process > 0 {
            if let session = sessions.removeValue(forKey: process) {
                session.ended(code: code)
            } else {
                containers.values.first { $0.isRunning && $0.process == process }?.ended(code: code)
            }
        }
        endIfEmpty()
    }

    /// SIGTERM to all at once, SIGKILL after `milliseconds`; then `done`, and the process ends.
    func shutdown(after milliseconds: Int64, done: @escaping () -> Void) {
        isShuttingDown = true
        onEmpty.append(done)
        for session in sessions.values { session.kill() }
        for container in containers.values { container.stop(after: milliseconds) { [unowned self] in endIfEmpty() } }
        endIfEmpty()
    }

    private func endIfEmpty() {
        guard isShuttingDown, sessions.isEmpty, !containers.values.contains(where: \.isRunning) else { return }
        let waiting = onEmpty
        onEmpty = []
        for action in waiting { action() }
        loop.stop()
    }

    private func start(_ fields: ArraySlice<String>, _ connection: ControlConnection) throws(Failure) {
        guard let request = StartRequest(fields: fields), Self.isName(request.name) else {
            throw Failure(.badRequest, "start is not understood")
        }
        guard !isShuttingDown else { throw Failure(.unavailable, "The pod is being stopped.") }
        if containers[request.name] == nil {
            guard containers.count < PodInitLimits.containers else {
                throw Failure(.unavailable, "The pod has too many containers.")
            }
            containers[request.name] = Container(request: request, settings: options, loop: loop) { [unowned self] in
                // First: an exit that was reported stays known after this process has ended.
                keepExits()
                for subscriber in subscribers.values { subscriber.event(request.name) }
            }
            names.append(request.name)
        }
        containers[request.name]?.start(request) { failure in
            if let failure { connection.refuse(failure) } else { connection.ok() }
        }
    }

    /// Writes how containers ended into the pod's folder, in one step. A container that runs has no entry there.
    private func keepExits() {
        let text = ExitRecord.text(names.compactMap { containers[$0]?.exit })
        guard text != exits else { return }
        let path = "\(options.directory)/\(ExitRecord.fileName)"
        let draft = path + ".new"
        let file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        var bytes = Array(text.utf8)
        let isWritten = file >= 0 && write(file, &bytes, bytes.count) == bytes.count
        if file >= 0 { close(file) }
        // Otherwise the file is written again with the next change; until then only this process knows.
        guard isWritten, rename(draft, path) == 0 else {
            return writeError("cannot write the exits: \(errorText(errno))")
        }
        exits = text
    }

    private func exec(_ fields: ArraySlice<String>, _ connection: ControlConnection) throws(Failure) {
        let words = Array(fields)
        guard words.count > 3, let timeout = Int64(words[1]), timeout >= 0, let cap = Int(words[2]),
            (0...Frame.limit / 4).contains(cap)
        else { throw Failure(.badRequest, "exec needs a container, milliseconds, a limit and a command") }
        guard sessions.count < PodInitLimits.execs, !isShuttingDown else {
            throw Failure(.unavailable, "Too many commands run in this pod.")
        }
        let session = try ExecSession(
            Array(words[3...]), in: container(fields), milliseconds: timeout, cap: cap, settings: options,
            loop: loop, connection: connection)
        sessions[session.processID] = session
    }

    private func container(_ fields: ArraySlice<String>) throws(Failure) -> Container {
        guard let name = fields.first, let container = containers[name] else {
            throw Failure(.notFound, "The pod has no such container.")
        }
        return container
    }

    private func milliseconds(_ fields: ArraySlice<String>) throws(Failure) -> Int64 {
        guard let number = fields.first.flatMap(Int64.init), number >= 0, number <= 86_400_000 else {
            throw Failure(.badRequest, "milliseconds are missing")
        }
        return number
    }

    /// It becomes the name of a file.
    private static func isName(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.count <= 128 && !name.hasPrefix(".") && !name.utf8.contains(UInt8(ascii: "/"))
    }
}
