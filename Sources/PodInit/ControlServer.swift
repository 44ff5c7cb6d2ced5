import CLinux
import Glibc
import PodInitProtocol

/// Accepts the platform's conversations on the pod's socket.
final class ControlServer {
    private let loop: Loop
    private let listener: CInt
    private let handle: (ControlConnection, [String]) -> Void
    private var watch: Loop.Watch?
    private var open: [ObjectIdentifier: ControlConnection] = [:]

    init(
        loop: Loop, path: String, mode: CUnsignedInt, handle: @escaping (ControlConnection, [String]) -> Void
    ) throws(Failure) {
        self.loop = loop
        self.handle = handle
        self.listener = cx_unix_listen(path, mode, 1024)
        guard listener >= 0 else { throw Failure(.internal, "cannot listen on \(path): \(errorText(-listener))") }
        self.watch = loop.watch(listener, for: .read) { [unowned self] _ in accept() }
    }

    private func accept() {
        while open.count < PodInitLimits.conversations {
            let descriptor = cx_accept(listener)
            guard descriptor >= 0 else {
                if descriptor != -EAGAIN { pause(100) }
                return
            }
            let connection = ControlConnection(loop: loop, descriptor: descriptor, handle: handle) {
                [unowned self] closed in
                open[ObjectIdentifier(closed)] = nil
                if let watch { loop.change(watch, to: .read) }
            }
            open[ObjectIdentifier(connection)] = connection
        }
        if let watch { loop.change(watch, to: [], paused: true) }
    }

    /// Out of descriptors or memory: accepting again at once would spin.
    private func pause(_ milliseconds: Int64) {
        guard let watch else { return }
        loop.change(watch, to: [], paused: true)
        loop.after(milliseconds) { [self] in loop.change(watch, to: .read) }
    }
}
