import Core
import Foundation
import Synchronization

/// A container on plain sockets, which answers and closes exactly as a test says. A thread serves each connection.
final class ScriptedContainer: Sendable {
    typealias Script = @Sendable (ContainerSocket) -> Void

    private struct State {
        var accepted = 0
        var open: [Int: ContainerSocket] = [:]
        var mostOpen = 0
        var requests: [String] = []
    }

    let port: Int
    private let listener: CInt
    private let script: Script
    private let state = Mutex(State())

    /// Connections so far, those whose script runs, and the most that the other side had open at a time.
    var connections: Int { state.withLock { $0.accepted } }
    var openConnections: Int { state.withLock { $0.open.count } }
    var mostOpen: Int { state.withLock { $0.mostOpen } }
    /// The request lines that it read, in order.
    var requests: [String] { state.withLock { $0.requests } }

    /// - Parameters:
    ///   - receiveBuffer: limits what the system holds of what is not read, in bytes.
    ///   - script: serves one connection, which is closed when it returns.
    init(receiveBuffer: CInt? = nil, _ script: @escaping Script) throws {
        self.script = script
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        if var receiveBuffer {
            setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, socklen_t(MemoryLayout<CInt>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (listener, length) = (listener, size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 128) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isBound else { throw PlatformError(.internal, "cannot listen") }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in serve() }
    }

    /// Answers every request with `body`.
    static func answering(_ body: String = "ok") throws -> ScriptedContainer {
        try ScriptedContainer { socket in
            while socket.readRequest() != nil { socket.answer(body) }
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    private func serve() {
        while true {
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else { break }
            let number = state.withLock { state -> Int in
                state.accepted += 1
                return state.accepted
            }
            let socket = ContainerSocket(descriptor, number) { line in self.state.withLock { $0.requests.append(line) }
            }
            state.withLock { state in
                state.open[number] = socket
                state.mostOpen = max(state.mostOpen, state.open.values.count { !$0.isEnded })
            }
            Thread.detachNewThread { [self] in
                script(socket)
                socket.close()
                state.withLock { $0.open[number] = nil }
            }
        }
        close(listener)
    }
}

/// One connection of a ``ScriptedContainer``, used by its thread; ``close()`` and ``reset()`` by any.
///
/// `@unchecked Sendable`: only the script's thread uses `unread`.
final class ContainerSocket: @unchecked Sendable {
    let number: Int
    private let descriptor: CInt
    private let isClosed = Mutex(false)
    private let onRequest: @Sendable (String) -> Void
    private var unread: [UInt8] = []

    init(_ descriptor: CInt, _ number: Int, onRequest: @escaping @Sendable (String) -> Void) {
        self.descriptor = descriptor
        self.number = number
        self.onRequest = onRequest
    }

    /// The head of the next request; `nil` at the end.
    func readHead() -> String? {
        guard let head = read(through: "\r\n\r\n") else { return nil }
        onRequest(String(head.prefix { $0 != "\r\n" }))
        return head
    }

    /// The next request with its body; `nil` at the end.
    func readRequest() -> (head: String, body: String)? {
        guard let head = readHead() else { return nil }
        let lower = head.lowercased()
        if lower.contains("transfer-encoding: chunked") {
            guard let body = read(through: "0\r\n\r\n") else { return nil }
            return (head, body)
        }
        guard let range = lower.range(of: "content-length: ") else { return (head, "") }
        let length = Int(lower[range.upperBound...].prefix { $0.isNumber }) ?? 0
        return read(length).map { (head, $0) }
    }

    func read(through mark: String) -> String? {
        while true {
            if let range = unread.firstRange(of: Array(mark.utf8)) {
                defer { unread.removeSubrange(..<range.upperBound) }
                return String(decoding: unread[..<range.upperBound], as: UTF8.self)
            }
            guard fill() else { return nil }
        }
    }

    func read(_ count: Int) -> String? {
        while unread.count < count { guard fill() else { return nil } }
        defer { unread.removeSubrange(..<count) }
        return String(decoding: unread[..<count], as: UTF8.self)
    }

    /// What has not been read, to the end.
    func readToEnd() -> String {
        while fill() {}
        defer { unread = [] }
        return String(decoding: unread, as: UTF8.self)
    }

    /// Returns when the other side has closed its sending side, or broken the connection off.
    func waitForClose() {
        while fill() { unread = [] }
    }

    private func fill() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count > 0 { unread += buffer[..<count] }
        return count > 0
    }

    /// - Returns: `false` when the other side is gone.
    @discardableResult
    func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool {
        var bytes = bytes[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            bytes = bytes.dropFirst(count)
        }
        return true
    }

    func answer(_ body: String = "ok", status: String = "200 OK", extra: String = "") {
        write("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(extra)\r\n\(body)")
    }

    /// Closes the sending side.
    func finish() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Reads no more than so many bytes.
    func receive(_ count: Int) {
        var buffer = [UInt8](repeating: 0, count: count)
        _ = recv(descriptor, &buffer, count, 0)
    }

    /// Returns when there are bytes, which remain unread.
    func waitForBytes() {
        var byte: UInt8 = 0
        _ = recv(descriptor, &byte, 1, Int32(MSG_PEEK))
    }

    /// Whether the other side has closed its sending side, or broken the connection off.
    var isEnded: Bool {
        isClosed.withLock { isClosed in
            if isClosed { return true }
            var byte: UInt8 = 0
            let count = recv(descriptor, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
            return count == 0 || (count < 0 && errno != EAGAIN)
        }
    }

    func close() {
        isClosed.withLock { isClosed in
            if !isClosed { Foundation.close(descriptor) }
            isClosed = true
        }
    }

    /// Closes with RST instead of FIN.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Foundation.linger>.size))
        close()
    }
}

/// Connects to a container of the test, whatever the port.
final class LoopbackConnector: Connector {
    private let port: Int
    private let calls = Mutex(0)

    var attempts: Int { calls.withLock { $0 } }

    init(port: Int) { self.port = port }

    func connect(port: Int) async throws -> CInt {
        calls.withLock { $0 += 1 }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(self.port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            throw PlatformError(.connectionFailed, "it refused the connection")
        }
        return descriptor
    }
}

/// Refuses every connection.
final class RefusingConnector: Connector {
    private let calls = Mutex(0)

    var attempts: Int { calls.withLock { $0 } }

    func connect(port: Int) async throws -> CInt {
        calls.withLock { $0 += 1 }
        throw PlatformError(.connectionFailed, "it refused the connection")
    }
}

/// Something that a container's thread waits for.
final class Signal: Sendable {
    private let condition = NSCondition()
    private let isFired = Mutex(false)

    func fire() {
        condition.withLock {
            isFired.withLock { $0 = true }
            condition.broadcast()
        }
    }

    /// Blocks its thread, for at most 20 s.
    func wait() {
        let deadline = Date(timeIntervalSinceNow: 20)
        condition.withLock {
            while !isFired.withLock({ $0 }), condition.wait(until: deadline) {}
        }
    }
}
