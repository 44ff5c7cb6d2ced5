import CLinux
import Glibc
import PodInitProtocol

/// Connects to a port inside the pod and hands the connected socket over.
final class PortConnector {
    private let loop: Loop
    private let port: UInt16
    private let connection: ControlConnection
    private var watch: Loop.Watch?
    private var timer: Timer?
    /// Why `127.0.0.1` refused, once `::1` is being tried: the answer if that fails too.
    private var refusal: CInt?

    /// `connect PORT MILLISECONDS`
    static func serve(_ fields: ArraySlice<String>, loop: Loop, connection: ControlConnection) {
        guard fields.count == 2, let port = fields.first.flatMap(UInt16.init), port > 0,
            let timeout = fields.last.flatMap(Int64.init), timeout >= 0
        else { return connection.refuse(Failure(.badRequest, "connect needs a port and milliseconds")) }
        PortConnector(loop: loop, port: port, connection: connection).begin(timeout)
    }

    private init(loop: Loop, port: UInt16, connection: ControlConnection) {
        self.loop = loop
        self.port = port
        self.connection = connection
    }

    private func begin(_ timeout: Int64) {
        connection.onDrop = { self.clean(closing: true) }
        timer = loop.after(timeout) { self.refuse(ETIMEDOUT) }
        attempt(ipv6: false)
    }

    private func attempt(ipv6: Bool) {
        let descriptor = cx_loopback_connect(port, ipv6 ? 1 : 0)
        guard descriptor >= 0 else { return failed(-descriptor) }
        watch = loop.watch(descriptor, for: .write) { _ in self.finished() }
    }

    private func finished() {
        guard let watch else { return }
        var error = cx_socket_error(watch.descriptor)
        if error == 0, cx_is_self_connected(watch.descriptor) != 0 { error = ECONNREFUSED }
        clean(closing: error != 0, timer: false)
        guard error == 0 else { return failed(error) }
        timer?.cancel()
        connection.ok(passing: watch.descriptor)
    }

    private func failed(_ error: CInt) {
        if let refusal { return refuse(refusal) }
        guard error == ECONNREFUSED else { return refuse(error) }
        refusal = error
        attempt(ipv6: true)
    }

    private func refuse(_ error: CInt) {
        clean(closing: true)
        connection.refuse(Failure(.connect, "Port \(port) of the pod: \(errorText(error))."))
    }

    private func clean(closing: Bool, timer dropsTimer: Bool = true) {
        if dropsTimer { timer?.cancel() }
        guard let watch else { return }
        loop.forget(watch)
        self.watch = nil
        if closing { close(watch.descriptor) }
    }
}
