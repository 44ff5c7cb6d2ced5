import CPodInit
import Glibc
import PodInitProtocol

/// `pod`: process 1 of the container that owns a pod's network namespace on a container engine.
///
/// It starts as root with the few capabilities that the network needs, and gives up all of them before it serves
/// any request.
enum PodMode {
    struct Options {
        var socket: String?
        var mode: CUnsignedInt = 0o666
        var forwards: [Forward] = []
        /// Unix sockets behind the cluster's names; `nil`: the names are not served here.
        var gateway: String?
        var operatorSocket: String?
        /// Destinations that the pod may, or may not, reach. What is in both is reachable.
        var allowed: [AddressBlock] = []
        var blocked: [AddressBlock] = []
        /// The user to become; `nil`: stays who it is.
        var user: (CUnsignedInt, CUnsignedInt)?
    }

    static func run(_ options: Options) throws(Failure) {
        let signals = cx_signals()
        guard signals >= 0 else { throw Failure(.internal, "signalfd: \(errorText(-signals))") }
        let loop = try Loop()
        let forwarder = Forwarder(loop: loop, descriptors: cx_raise_file_limit())
        for forward in options.forwards { try forwarder.listen(forward) }
        var network = "engine"
        if let gateway = options.gateway, let operatorSocket = options.operatorSocket {
            network = try PodNetwork.separate(
                gateway: gateway, operatorSocket: operatorSocket, allowed: options.allowed, blocked: options.blocked,
                forwarder)
        }
        if let (user, group) = options.user {
            let result = cx_become_user(user, group)
            guard result >= 0 else { throw Failure(.internal, "cannot give up rights: \(errorText(-result))") }
        }
        let server = try options.socket.map { path throws(Failure) in
            try ControlServer(loop: loop, path: path, mode: options.mode) { handle($0, $1, network, loop) }
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

    private static func handle(
        _ connection: ControlConnection, _ request: [String], _ network: String, _ loop: Loop
    ) {
        switch request.first.flatMap(Verb.init(rawValue:)) {
        case .ping: connection.ok([PodInitLimits.version])
        case .connect: PortConnector.serve(request.dropFirst(), loop: loop, connection: connection)
        case .status: connection.ok(StatusReport(network: network, containers: []).fields)
        case .start, .signal, .stop, .exec, .subscribe, .shutdown:
            connection.refuse(Failure(.unavailable, "The containers of this pod belong to the engine."))
        case nil: connection.refuse(Failure(.badRequest, "Unknown request."))
        }
    }
}

/// Addresses that begin with the same bits, IPv4 or IPv6: `ADDRESS/BITS`.
struct AddressBlock {
    let isIPv6: Bool
    /// In network byte order.
    let address: [UInt8]
    let prefix: CInt

    init?(_ text: String) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let prefix = CInt(halves[1]), prefix >= 0 else { return nil }
        let isIPv6 = halves[0].contains(":")
        var address = [UInt8](repeating: 0, count: isIPv6 ? 16 : 4)
        guard prefix <= CInt(address.count * 8),
            inet_pton(isIPv6 ? AF_INET6 : AF_INET, String(halves[0]), &address) == 1
        else { return nil }
        // The kernel refuses a block whose last bits are set.
        for index in address.indices {
            let kept = min(8, max(0, Int(prefix) - index * 8))
            address[index] &= kept == 0 ? 0 : UInt8(truncatingIfNeeded: 0xFF << (8 - kept))
        }
        self.isIPv6 = isIPv6
        self.address = address
        self.prefix = prefix
    }
}
