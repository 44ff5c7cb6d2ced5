import CLinux
import Glibc
import PodInitProtocol

/// An address and the unix socket behind it: `IP:PORT=unix:PATH`.
struct Forward {
    let address: UInt32
    let port: UInt16
    let target: String

    init(address: UInt32, port: UInt16, target: String) {
        self.address = address
        self.port = port
        self.target = target
    }

    init?(_ text: String) {
        guard let mark = text.firstIndex(of: "="), let colon = text[..<mark].lastIndex(of: ":") else { return nil }
        let numbers = text[..<colon].split(separator: ".", omittingEmptySubsequences: false)
        let target = text[text.index(after: mark)...]
        guard numbers.count == 4, target.hasPrefix("unix:/"),
            let port = UInt16(text[text.index(after: colon)..<mark]), port > 0
        else { return nil }
        var address: UInt32 = 0
        for number in numbers {
            guard let byte = UInt8(number) else { return nil }
            address = address << 8 | UInt32(byte)
        }
        self.init(address: address, port: port, target: String(target.dropFirst(5)))
    }

    var name: String {
        "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255):\(port)"
    }
}

/// Listens on addresses and relays each connection to the unix socket behind its address.
final class Forwarder {
    private let loop: Loop
    private let limit: Int
    private var watches: [Loop.Watch] = []
    private var open = 0

    init(loop: Loop, descriptors: Int) {
        self.loop = loop
        self.limit = max(16, min(PodInitLimits.forwarded, (descriptors - 128) / 2))
    }

    /// Listens in the network namespace that the process is in now.
    func listen(_ forward: Forward) throws(Failure) {
        let listener = cx_tcp_listen(forward.address, forward.port, 1024)
        guard listener >= 0 else {
            throw Failure(.internal, "cannot listen on \(forward.name): \(errorText(-listener))")
        }
        watches.append(loop.watch(listener, for: .read) { [unowned self] _ in accept(listener, forward.target) })
    }

    private func accept(_ listener: CInt, _ target: String) {
        while open < limit {
            let descriptor = cx_accept(listener)
            guard descriptor >= 0 else {
                // Out of descriptors or memory: accepting again at once would spin.
                if descriptor != -EAGAIN { pause(milliseconds: 100) }
                return
            }
            open += 1
            _ = Relay(loop: loop, accepted: descriptor, target: target) { [unowned self] in closed() }
        }
        // The kernel's backlog holds further ones until one ends.
        pause(milliseconds: nil)
    }

    private func closed() {
        open -= 1
        resume()
    }

    private func pause(milliseconds: Int64?) {
        for watch in watches { loop.change(watch, to: [], paused: true) }
        if let milliseconds { loop.after(milliseconds) { [self] in resume() } }
    }

    private func resume() {
        for watch in watches { loop.change(watch, to: .read) }
    }
}
