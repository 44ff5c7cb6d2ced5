import CLinux
import Glibc
import PodInitProtocol

/// One forwarded connection: bytes go both ways, each way ends on its own, and a slow reader slows the other
/// side down.
final class Relay {
    /// One direction. What the target does not take at once is kept, and nothing more is read until it is sent.
    private struct Flow {
        var rest: [UInt8] = []
        var sent = 0
        var isEnded = false
        var isShut = false
    }

    /// Reads in a row before others get their turn.
    private static let turns = 4
    /// Between two tries to reach the platform, in milliseconds.
    private static let pause: Int64 = 50

    private let loop: Loop
    private let target: String
    private let onClose: () -> Void
    private let deadline: Int64
    /// The container, then the platform.
    private var descriptors: [CInt]
    private var watches: [Loop.Watch?] = [nil, nil]
    /// Index 0 flows from the container to the platform.
    private var flows = [Flow(), Flow()]
    private var isClosed = false

    init(loop: Loop, accepted: CInt, target: String, onClose: @escaping () -> Void) {
        self.loop = loop
        self.target = target
        self.onClose = onClose
        self.descriptors = [accepted, -1]
        self.deadline = cx_milliseconds() + PodInitLimits.forwardTimeout
        connect()
    }

    /// A platform that is being restarted looks slow, not dead.
    private func connect() {
        guard !isClosed else { return }
        let descriptor = cx_unix_connect(target)
        guard descriptor >= 0 else {
            let isPassing = [EAGAIN, ECONNREFUSED, ENOENT, EMFILE, ENFILE].contains(-descriptor)
            guard isPassing, cx_milliseconds() < deadline else { return close(reset: true) }
            loop.after(Self.pause) { self.connect() }
            return
        }
        descriptors[1] = descriptor
        for side in 0...1 {
            watches[side] = loop.watch(descriptors[side], for: .read) { readiness in self.ready(side, readiness) }
        }
    }

    private func ready(_ side: Int, _ readiness: Readiness) {
        if readiness.contains(.write) { pump(1 - side) }
        // A hang-up shows as end or error of the next read, unless that waits for the other side.
        if readiness.contains(.read) || readiness.contains(.hangup) { pump(side) }
        guard !isClosed else { return }
        if flows[0].isShut, flows[1].isShut { return close(reset: false) }
        for side in 0...1 { update(side) }
    }

    private func update(_ side: Int) {
        guard let watch = watches[side] else { return }
        var interest: Readiness = []
        if !flows[side].isEnded, flows[side].rest.isEmpty { interest.insert(.read) }
        if !flows[1 - side].rest.isEmpty { interest.insert(.write) }
        loop.change(watch, to: interest, paused: interest.isEmpty)
    }

    /// Moves what can be moved from `side` to the other.
    private func pump(_ side: Int) {
        guard !isClosed, drain(side) else { return }
        for _ in 0..<Self.turns where !isClosed && !flows[side].isEnded && flows[side].rest.isEmpty {
            let count = read(descriptors[side], loop.scratch.baseAddress, loop.scratch.count)
            if count < 0 {
                if errno == EAGAIN || errno == EINTR { break }
                return close(reset: true)
            }
            if count == 0 {
                flows[side].isEnded = true
                break
            }
            var sent = 0
            while sent < count {
                let result = cx_send(
                    descriptors[1 - side], loop.scratch.baseAddress?.advanced(by: sent), count - sent, -1)
                if result == -Int(EAGAIN) { break }
                guard result > 0 else { return close(reset: true) }
                sent += result
            }
            if sent < count { flows[side].rest = Array(loop.scratch[sent..<count]) }
        }
        shut(side)
    }

    /// Sends what is left of one way. False when the relay ended.
    private func drain(_ side: Int) -> Bool {
        while flows[side].sent < flows[side].rest.count {
            let sent = flows[side].sent
            let result = flows[side].rest.withUnsafeBytes {
                cx_send(descriptors[1 - side], $0.baseAddress?.advanced(by: sent), $0.count - sent, -1)
            }
            if result == -Int(EAGAIN) { return true }
            guard result > 0 else {
                close(reset: true)
                return false
            }
            flows[side].sent += result
        }
        flows[side].rest = []
        flows[side].sent = 0
        return true
    }

    private func shut(_ side: Int) {
        guard !isClosed, flows[side].isEnded, flows[side].rest.isEmpty, !flows[side].isShut else { return }
        flows[side].isShut = true
        _ = shutdown(descriptors[1 - side], CInt(SHUT_WR))
    }

    private func close(reset: Bool) {
        guard !isClosed else { return }
        isClosed = true
        for side in 0...1 {
            if let watch = watches[side] { loop.forget(watch) }
            watches[side] = nil
            guard descriptors[side] >= 0 else { continue }
            if reset { cx_reset_on_close(descriptors[side]) }
            Glibc.close(descriptors[side])
        }
        onClose()
    }
}
