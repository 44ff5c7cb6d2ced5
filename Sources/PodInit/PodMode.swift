import CPodInit
import Glibc
import PodInitProtocol

/// `pod` and `forward`: process 1 of an infra container.
enum PodMode {
    struct Options {
        var socket: String?
        var mode: CUnsignedInt = 0o666
        var forwards: [Forward] = []
    }

    static func run(_ options: Options) throws(Failure) {
        let signals = cx_signals()
        guard signals >= 0 else { throw Failure(.internal, "signalfd: \(errorText(-signals))") }
        let loop = try Loop()
        let forwarder = Forwarder(loop: loop, descriptors: cx_raise_file_limit())
        for forward in options.forwards { try forwarder.listen(forward) }
        let server = try options.socket.map { path throws(Failure) in
            try ControlServer(loop: loop, path: path, mode: options.mode) { handle($0, $1, loop) }
        }
        let watch = loop.watch(signals, for: .read) { _ in
            while case let signal = cx_next_signal(signals), signal > 0 {
                if signal == SIGTERM || signal == SIGINT { loop.stop() }
            }
            var code: CInt = 0
            while cx_reap(&code) > 0 {}
        }
        withExtendedLifetime((forwarder, server, watch)) { loop.run() }
        if let socket = options.socket { unlink(socket) }
    }

    private static func handle(_ connection: ControlConnection, _ request: [String], _ loop: Loop) {
        switch request.first.flatMap(Verb.init(rawValue:)) {
        case .ping: connection.ok([PodInitLimits.version])
        case .connect: PortConnector.serve(request.dropFirst(), loop: loop, connection: connection)
        case .status: connection.ok(StatusReport(network: "host", containers: []).fields)
        case .start, .signal, .stop, .exec, .subscribe, .shutdown:
            connection.refuse(Failure(.unavailable, "The containers of this pod belong to the engine."))
        case nil: connection.refuse(Failure(.badRequest, "Unknown request."))
        }
    }
}
