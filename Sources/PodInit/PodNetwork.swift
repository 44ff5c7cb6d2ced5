import CPodInit
import Glibc
import PodInitProtocol

/// The network of a sandbox pod: nothing but itself and the platform. On a container engine: also networks outside this
/// machine.
///
/// The containers' namespace is joined by a veth pair to a second one, which only this process holds and in which it
/// listens on port 80 and 8888. So the cluster's names work and every port is still the containers'.
enum PodNetwork {
    /// 169.254.77.0/29, link-local, so it is no real network.
    static let gateway: UInt32 = 0xA9FE_4D01
    static let operatorAddress: UInt32 = 0xA9FE_4D02
    static let containers: UInt32 = 0xA9FE_4D06
    /// Where the kernel has no veth: on the loopback of the pod itself, which keeps `0.0.0.0:80` and `:8888` from the
    /// containers.
    static let loopbackGateway: UInt32 = 0x7F00_0050
    static let loopbackOperator: UInt32 = 0x7F00_0051

    /// Makes it; the process is in the containers' namespaces afterwards.
    ///
    /// - Returns: `veth` or `loopback`.
    static func make(_ options: SandboxMode.Options, _ forwarder: Forwarder) throws(Failure) -> String {
        if options.userNamespace >= 0 {
            // As root this process stays outside of the pod's user namespace: it alone can give volumes owners of their
            // own.
            try must(cx_new_network(), "make a network namespace")
        } else {
            var step: UnsafePointer<CChar>?
            let result = cx_enter_namespaces(&step)
            guard result >= 0 else {
                let what = step.map { String(cString: $0) } ?? "make namespaces"
                throw Failure(
                    .internal,
                    "cannot \(what): \(errorText(-result)); allow unprivileged user namespaces or use a container engine"
                )
            }
        }
        try must(cx_link_up("lo"), "switch on the loopback")
        // Where /proc/sys cannot be written (the platform itself in a container), ports below 1024 stay root's: not
        // worth failing for.
        if cx_free_low_ports() < 0 { writeError("containers of this pod cannot listen on ports below 1024") }
        if !options.loopbackOnly, try join(options, forwarder, link: "eth0") { return "veth" }
        try listen(options, forwarder, loopbackGateway, loopbackOperator)
        return "loopback"
    }

    /// On a container engine: serves the cluster's names to the pod whose network namespace this process is in, and
    /// keeps the pod from `blocked` destinations. Fails rather than leave a destination open.
    ///
    /// - Returns: `veth` or `loopback`: where the names are served.
    static func separate(
        gateway socket: String, operatorSocket: String, allowed: [AddressBlock], blocked: [AddressBlock],
        _ forwarder: Forwarder
    ) throws(Failure) -> String {
        var options = SandboxMode.Options()
        options.gateway = socket
        options.operatorSocket = operatorSocket
        let isJoined = try join(options, forwarder, link: "cortex0")
        if !isJoined { try listen(options, forwarder, loopbackGateway, loopbackOperator) }
        // The rules come after the pod's own addresses and before its routes; the lowest number decides.
        if let own = AddressBlock("169.254.77.0/29") { try rule(own, priority: 100, reachable: true) }
        for block in allowed { try rule(block, priority: 110, reachable: true) }
        for block in blocked { try rule(block, priority: 120, reachable: false) }
        return isJoined ? "veth" : "loopback"
    }

    private static func rule(_ block: AddressBlock, priority: CUnsignedInt, reachable: Bool) throws(Failure) {
        let result = cx_route_rule(block.isIPv6 ? 1 : 0, block.address, block.prefix, priority, reachable ? 1 : 0)
        // Without IPv6 in the kernel nothing is reached by it.
        if block.isIPv6, result == -EAFNOSUPPORT || result == -EOPNOTSUPP { return }
        try must(result, "separate the pod's network")
    }

    /// False when the kernel cannot make the pair.
    private static func join(
        _ options: SandboxMode.Options, _ forwarder: Forwarder, link: String
    ) throws(Failure) -> Bool {
        let inside = cx_network()
        try must(inside, "open the network namespace")
        defer { close(inside) }
        let made = cx_new_network()
        // A container engine may forbid it; then the names are on the pod's loopback.
        if made == -EPERM, link != "eth0" { return false }
        try must(made, "make the platform's network namespace")
        guard cx_link_pair("platform", link, inside) >= 0 else {
            try must(cx_enter_network(inside), "go back into the pod's network namespace")
            return false
        }
        try must(cx_link_address("platform", gateway, 29), "set the gateway's address")
        try must(cx_link_address("platform", operatorAddress, 29), "set the operator's address")
        try must(cx_link_up("lo"), "switch on the platform's loopback")
        try must(cx_link_up("platform"), "switch on the platform's link")
        // The kernel may be late with letting packets out of a link that was on before its other end. Who is at that
        // end is asked for 3 s and then answered by an error; packets of connections are repeated for longer.
        try must(cx_link_neighbour("platform", containers, 2), "name the pod's link")
        // The listeners keep this namespace alive from now on.
        try listen(options, forwarder, gateway, operatorAddress)
        try must(cx_enter_network(inside), "go back into the pod's network namespace")
        try must(cx_link_address(link, containers, 29), "set the pod's address")
        try must(cx_link_up(link), "switch on the pod's link")
        for address in [gateway, operatorAddress] {
            try must(cx_link_neighbour(link, address, 1), "name the platform's link")
        }
        return true
    }

    private static func listen(
        _ options: SandboxMode.Options, _ forwarder: Forwarder, _ gateway: UInt32, _ operatorAddress: UInt32
    ) throws(Failure) {
        try forwarder.listen(Forward(address: gateway, port: 80, target: options.gateway))
        for port in [80, 8888] as [UInt16] {
            try forwarder.listen(Forward(address: operatorAddress, port: port, target: options.operatorSocket))
        }
    }

    private static func must(_ result: CInt, _ what: String) throws(Failure) {
        guard result >= 0 else { throw Failure(.internal, "cannot \(what): \(errorText(-result))") }
    }
}
