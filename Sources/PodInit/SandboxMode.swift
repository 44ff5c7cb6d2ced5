import CPodInit
import Glibc
import PodInitProtocol
import SystemCallFilter

/// `sandbox`: goes into the background, makes the pod's namespaces, and keeps its containers until it is ordered to
/// end.
enum SandboxMode {
    struct Options {
        /// The pod's folder: `init.sock`, `init.pid` and `logs/` are made in it.
        var directory = ""
        var bubblewrap = ""
        /// This program, as bubblewrap finds it.
        var executable = ""
        var gateway = ""
        var operatorSocket = ""
        /// Bytes of a log file.
        var logLimit = 16 << 20
        /// Skips the veth pair.
        var loopbackOnly = false
        /// The user and group on the host that the pod's containers run as; `nil`: the one that runs this program. Only
        /// root can choose.
        var user: UInt32?
        /// The soft limit of open files that containers get.
        var files = 1024
        /// The system call filter of containers.
        var filter: [UInt8] = []
        /// Where user 0 is ``user``; -1 without one.
        var userNamespace: CInt = -1
        /// The owners of files in volumes; -1: as on disk.
        var volumeOwners: CInt = -1
    }

    /// Returns in the parent once the pod is up, in the daemon once it has ended.
    static func run(_ options: Options) throws(Failure) {
        var report: CInt = -1
        let reading = cx_daemonise(&report)
        guard reading >= 0 else { throw Failure(.internal, "fork: \(errorText(-reading))") }
        if reading > 0 { return try wait(reading) }
        do throws(Failure) {
            try serve(options, report)
        } catch {
            var text = Array(error.message.utf8)
            _ = write(report, &text, text.count)
            throw error
        }
    }

    private static func wait(_ descriptor: CInt) throws(Failure) {
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1024)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            text += buffer[..<count]
        }
        guard text != Array("ready".utf8) else { return }
        let reason = text.isEmpty ? "the pod's supervisor ended at once" : String(decoding: text, as: UTF8.self)
        throw Failure(.internal, reason)
    }

    private static func serve(_ options: Options, _ report: CInt) throws(Failure) {
        var options = options
        let folder = identity(of: options.directory)
        try detach(options.directory)
        guard let architecture = SystemCallFilter.Architecture.current else {
            throw Failure(.internal, "this processor's system calls cannot be filtered; use a container engine")
        }
        options.filter = SystemCallFilter.program(for: architecture)
        try options.makeUsers()
        let signals = cx_signals()
        guard signals >= 0 else { throw Failure(.internal, "signalfd: \(errorText(-signals))") }
        var files = 0
        let descriptors = cx_raise_file_limit_from(&files)
        options.files = files
        _ = cx_adopt_orphans()
        let loop = try Loop()
        let forwarder = Forwarder(loop: loop, descriptors: descriptors)
        let network = try PodNetwork.make(options, forwarder)
        let pod = SandboxPod(options: options, network: network, loop: loop)
        let socket = options.directory + "/init.sock"
        let server = try ControlServer(loop: loop, path: socket, mode: 0o600) { pod.handle($0, $1) }
        try writeIdentity(options.directory + "/init.pid")
        // The removal of a pod first moves its folder, then searches for this process once more: either it finds the
        // number, or this process finds the folder moved.
        guard folder != nil, identity(of: options.directory) == folder else {
            throw Failure(.internal, "the pod was removed while it was starting")
        }
        let watch = loop.watch(signals, for: .read) { _ in
            while case let signal = cx_next_signal(signals), signal > 0 {
                if signal == SIGTERM || signal == SIGINT { pod.shutdown(after: 10_000) {} }
            }
            pod.reap()
        }
        var ready = Array("ready".utf8)
        _ = write(report, &ready, ready.count)
        close(report)
        withExtendedLifetime((forwarder, server, watch)) { loop.run() }
        unlink(socket)
    }

    /// The folder behind a path, which may be another one later; `nil` when there is none.
    private static func identity(of path: String) -> UInt64? {
        var found = stat()
        return stat(path, &found) == 0 ? UInt64(found.st_ino) : nil
    }

    /// Closes the platform's terminal and descriptors and leaves its folder: `kill -9` of the platform's group must not
    /// reach here.
    private static func detach(_ directory: String) throws(Failure) {
        umask(0o077)
        let log = open(directory + "/logs/.init.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        let empty = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard log >= 0, empty >= 0 else {
            throw Failure(.internal, "cannot write into the pod's folder: \(errorText(errno))")
        }
        dup2(empty, 0)
        dup2(empty, 1)
        dup2(log, 2)
        close(log)
        close(empty)
        guard chdir("/") == 0 else { throw Failure(.internal, "chdir: \(errorText(errno))") }
    }

    /// Process id and start time: enough to find this very process again, or to know that it is gone.
    private static func writeIdentity(_ path: String) throws(Failure) {
        var buffer = [UInt8](repeating: 0, count: 1024)
        let stat = open("/proc/self/stat", O_RDONLY | O_CLOEXEC)
        let count = read(stat, &buffer, buffer.count)
        close(stat)
        // The name is in parentheses and may contain anything; the 20th field after it is the start time.
        let text = String(decoding: buffer[..<max(0, count)], as: UTF8.self)
        let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
        var line = Array("\(getpid()) \(fields.count > 19 ? fields[19] : "0")\n".utf8)
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0, write(file, &line, line.count) == line.count else {
            throw Failure(.internal, "cannot write into the pod's folder: \(errorText(errno))")
        }
        close(file)
    }
}

extension SandboxMode.Options {
    /// Leaves the keyring of the platform's session, and makes the user namespaces that only root can make.
    fileprivate mutating func makeUsers() throws(Failure) {
        let keyring = cx_new_keyring()
        // A kernel without keys (ENOSYS), or a filter around the platform that refuses them (EPERM), leaves none to be
        // read.
        guard keyring >= 0 || keyring == -ENOSYS || keyring == -EPERM else {
            throw Failure(.internal, "cannot make a session keyring: \(errorText(-keyring))")
        }
        guard let user else { return }
        let groups = cx_drop_groups()
        guard groups >= 0 else { throw Failure(.internal, "cannot drop groups: \(errorText(-groups))") }
        userNamespace = cx_user_namespace("0 \(user) 1\n")
        guard userNamespace >= 0 else {
            throw Failure(.internal, "cannot use the user id \(user): \(errorText(-userNamespace))")
        }
        // All owners as they are, but for two, which change places. Where that is impossible the pod's own number is on
        // disk.
        let (low, high) = (min(user, PodInitLimits.volumeUser), max(user, PodInitLimits.volumeUser))
        var map = "0 0 \(low)\n\(low) \(high) 1\n\(high) \(low) 1\n\(high + 1) \(high + 1) \(UInt32.max - high - 1)\n"
        if high > low + 1 { map += "\(low + 1) \(low + 1) \(high - low - 1)\n" }
        volumeOwners = cx_user_namespace(map)
    }
}
