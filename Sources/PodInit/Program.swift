import Glibc
import PodInitProtocol

/// The command line.
enum Program {
    private static let usage = """
        cortex-pod-init pod --socket PATH [--mode OCTAL] [--listen IP:PORT=unix:PATH ...]
        cortex-pod-init forward --listen IP:PORT=unix:PATH ...
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
            default:
                throw Failure(.badRequest, "unknown mode")
            }
            return 0
        } catch {
            complain(error.message)
            if error.refusal == .badRequest { complain("usage:\n" + usage) }
            return error.refusal == .badRequest ? 2 : 1
        }
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
}
