import CPodInit
import Glibc
import PodInitProtocol

/// `run REPORT PLAN`: the last step into a sandbox container. Bubblewrap has built the sandbox; this becomes the user's
/// command.
///
/// It runs inside so that "command not found" is distinguished from other failures. And the user's environment, which
/// may hold secrets or an `LD_PRELOAD`, is neither on bubblewrap's command line nor used when bubblewrap is loaded.
enum RunMode {
    /// The contents of the descriptor `PLAN`.
    static func plan(_ request: StartRequest) -> [UInt8] {
        Frame.encode(
            [request.workingDirectory, String(request.environment.count)] + request.environment + request.command)
    }

    static func run(_ arguments: ArraySlice<String>) throws(Failure) {
        guard arguments.count == 2, let report = arguments.first.flatMap(CInt.init),
            let plan = arguments.last.flatMap(CInt.init)
        else { throw Failure(.badRequest, "run is for bubblewrap only") }
        let fields = try read(plan)
        close(plan)
        guard fields.count > 2, let variables = Int(fields[1]), variables >= 0, fields.count > 2 + variables else {
            throw Failure(.badRequest, "run got a broken plan")
        }
        let command = fields[(2 + variables)...]
        // One byte says that bubblewrap is done; more that the command could not be run.
        var done = UInt8(ascii: "R")
        _ = write(report, &done, 1)
        let child = Child(
            program: command.first ?? "", arguments: Array(command.dropFirst()),
            environment: Array(fields[2..<2 + variables]), folder: fields[0], report: report)
        let error = child.with { cx_become($0) }
        throw Failure(.container, errorText(-error))
    }

    private static func read(_ descriptor: CInt) throws(Failure) -> [String] {
        var decoder = FrameDecoder()
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            guard count >= 0 else { throw Failure(.internal, "plan: \(errorText(errno))") }
            buffer.withUnsafeBytes { decoder.append(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            do {
                if let fields = try decoder.next() { return fields }
            } catch {
                throw Failure(.badRequest, "run got a broken plan")
            }
            guard count > 0 else { throw Failure(.badRequest, "run got no plan") }
        }
    }
}
