import CLinux
import CPodInit
import Glibc
import PodInitProtocol

/// The command line.
enum Program {
    private static let usage = """
        cortex-pod-init pod --socket PATH [--mode OCTAL] [--listen IP:PORT=unix:PATH ...]
                            [--gateway PATH --operator PATH] [--allow CIDR ...] [--block CIDR ...] [--user UID:GID]
        cortex-pod-init remove FOLDER
        cortex-pod-init sockets 4|6 COUNT <NETWORK-NAMESPACE >UNIX-SOCKET
        cortex-pod-init forward --listen IP:PORT=unix:PATH ...
        cortex-pod-init sandbox --directory PATH --bwrap PATH --init PATH --gateway PATH --operator PATH
                                [--log-bytes N] [--network veth|loopback] [--user N]
        """

    /// - Returns: the exit status.
    static func run(_ arguments: [String]) -> CInt {
        do throws(Failure) {
            switch arguments.first {
            case "pod", "forward":
                let options = try podOptions(arguments.dropFirst())
                guard options.socket != nil || !options.forwards.isEmpty else {
                    throw Failure(.badRequest, "nothing to do: give --socket or --listen")
                }
                try PodMode.run(options)
            case "remove": try RemoveMode.run(arguments.dropFirst())
            case "sandbox": try SandboxMode.run(try sandboxOptions(arguments.dropFirst()))
            case "run": try RunMode.run(arguments.dropFirst())
            case "sockets": return try makeSockets(arguments.dropFirst())
            default:
                throw Failure(.badRequest, "unknown mode")
            }
            return 0
        } catch {
            writeError(error.message)
            if error.refusal == .badRequest { writeError("usage:\n" + usage) }
            return error.refusal == .badRequest ? 2 : 1
        }
    }

    /// Makes sockets in a pod's network for the platform; no process of the pod holds them.
    ///
    /// - Returns: ``PodInitLimits/notPermitted`` when the kernel does not let this user into the namespace.
    private static func makeSockets(_ arguments: ArraySlice<String>) throws(Failure) -> CInt {
        guard arguments.count == 2, let family = arguments.first, ["4", "6"].contains(family),
            let count = arguments.last.flatMap(CInt.init)
        else { throw Failure(.badRequest, "sockets needs 4 or 6 and a number") }
        var place = CInt(CX_HOME)
        let result = cx_send_sockets(0, 1, family == "6" ? 1 : 0, count, &place)
        guard result != 0 else { return 0 }
        guard place != CInt(CX_FORBIDDEN) else { return PodInitLimits.notPermitted }
        throw Failure(.internal, "cannot make sockets in the pod's network: \(errorText(-result))")
    }

    private static func podOptions(_ arguments: ArraySlice<String>) throws(Failure) -> PodMode.Options {
        var options = PodMode.Options()
        var rest = arguments
        while let flag = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Failure(.badRequest, "\(flag) needs a value") }
            switch flag {
            case "--socket": options.socket = value
            case "--mode":
                guard let mode = CUnsignedInt(value, radix: 8), mode <= 0o777 else {
                    throw Failure(.badRequest, "--mode needs an octal number")
                }
                options.mode = mode
            case "--gateway": options.gateway = value
            case "--operator": options.operatorSocket = value
            case "--allow", "--block":
                guard let block = AddressBlock(value) else {
                    throw Failure(.badRequest, "\(flag) needs ADDRESS/BITS, not \(value)")
                }
                if flag == "--allow" { options.allowed.append(block) } else { options.blocked.append(block) }
            case "--user":
                let numbers = value.split(separator: ":").map { CUnsignedInt($0) }
                guard numbers.count == 2, let user = numbers[0], let group = numbers[1] else {
                    throw Failure(.badRequest, "--user needs UID:GID")
                }
                options.user = (user, group)
            case "--listen":
                guard let forward = Forward(value) else {
                    throw Failure(.badRequest, "--listen needs IP:PORT=unix:PATH, not \(value)")
                }
                options.forwards.append(forward)
            default: throw Failure(.badRequest, "unknown flag \(flag)")
            }
        }
        return options
    }

    private static func sandboxOptions(_ arguments: ArraySlice<String>) throws(Failure) -> SandboxMode.Options {
        var options = SandboxMode.Options()
        var rest = arguments
        while let flag = rest.popFirst() {
            guard let value = rest.popFirst() else { throw Failure(.badRequest, "\(flag) needs a value") }
            switch flag {
            case "--directory": options.directory = value
            case "--bwrap": options.bubblewrap = value
            case "--init": options.executable = value
            case "--gateway": options.gateway = value
            case "--operator": options.operatorSocket = value
            case "--log-bytes": options.logLimit = max(4096, Int(value) ?? options.logLimit)
            case "--user":
                guard let user = UInt32(value), user > 0, user < .max - 1 else {
                    throw Failure(.badRequest, "--user needs a user id")
                }
                options.user = user
            case "--network": options.loopbackOnly = value == "loopback"
            default: throw Failure(.badRequest, "unknown flag \(flag)")
            }
        }
        let paths = [
            options.directory, options.bubblewrap, options.executable, options.gateway, options.operatorSocket,
        ]
        guard paths.allSatisfy({ $0.hasPrefix("/") }) else {
            throw Failure(.badRequest, "sandbox needs all its paths, absolute")
        }
        return options
    }
}

/// `remove FOLDER`: empties a folder whose files the platform's own user may not remove. The folder itself stays.
///
/// Runs in a container of its own, as root there, with the folder mounted and nothing else.
enum RemoveMode {
    static func run(_ arguments: ArraySlice<String>) throws(Failure) {
        guard arguments.count == 1, let folder = arguments.first, folder.hasPrefix("/") else {
            throw Failure(.badRequest, "remove needs one folder")
        }
        let result = cx_remove_tree(folder)
        // A mounted folder cannot be removed from inside; that it is empty then is all that was wanted.
        guard result >= 0 || result == -EBUSY else {
            throw Failure(.internal, "cannot remove: \(errorText(-result))")
        }
    }
}

/// Why something was not done; goes to the platform as it is.
struct Failure: Error {
    let refusal: Refusal
    let message: String

    init(_ refusal: Refusal, _ message: String) {
        self.refusal = refusal
        self.message = message
    }
}

/// The system's text for an error number.
func errorText(_ number: CInt) -> String { String(cString: strerror(number)) }

/// Writes a line to standard error; `PodInit` has no other place for what stops it.
func writeError(_ text: String) {
    var line = Array(("cortex-pod-init: " + text + "\n").utf8)
    _ = write(2, &line, line.count)
}
