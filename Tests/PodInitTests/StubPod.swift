import CLinux
import Core
import Foundation
import Glibc
import PodInitClient
import PodInitProtocol
import Support
import Synchronization

/// A server on a unix socket in the place of a `PodInit`, which does what a test says with each connection.
final class StubPod: Sendable {
    let client: PodInitClient
    private let listener: CInt
    private let folder: URL
    private let isStopped = Mutex(false)

    /// - Parameters:
    ///   - isInline: whether connections are served one after the other, on the thread that accepts them.
    ///   - serve: gets a connection that does not block, on a thread of its own, and leaves it open; it is closed
    ///     afterwards.
    init(isInline: Bool = false, backlog: CInt = 1024, serve: (@Sendable (CInt) -> Void)?) throws {
        self.folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "cx-\(UInt32.random(in: .min ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let path = folder.appendingPathComponent("init.sock").path
        let listener = cx_unix_listen(path, 0o600, backlog)
        guard listener >= 0 else { throw PlatformError(.setup, "no socket") }
        self.listener = listener
        self.client = PodInitClient(socketPath: path)
        guard let serve else { return }
        try PlatformThread.start(name: "stub-pod") { [self] in
            while !isStopped.withLock({ $0 }) {
                guard Self.wait(listener, POLLIN, milliseconds: 100) else { continue }
                let connection = cx_accept(listener)
                guard connection >= 0 else { continue }
                if isInline {
                    serve(connection)
                    close(connection)
                } else {
                    try? PlatformThread.start(name: "stub-serve") {
                        serve(connection)
                        close(connection)
                    }
                }
            }
            close(listener)
        }
    }

    func stop() {
        isStopped.withLock { $0 = true }
        try? FileManager.default.removeItem(at: folder)
    }

    @discardableResult
    static func wait(_ descriptor: CInt, _ events: CInt, milliseconds: CInt = 60_000) -> Bool {
        var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    /// Reads the request that has just been sent.
    static func readRequest(_ connection: CInt) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        wait(connection, POLLIN)
        _ = recv(connection, &buffer, buffer.count, 0)
    }

    /// Sends all bytes, with a descriptor beside the first; false when the other side is gone.
    @discardableResult
    static func send(_ bytes: [UInt8], passing passed: CInt = -1, to connection: CInt) -> Bool {
        var sent = 0
        var passed = passed
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                cx_send(connection, $0.baseAddress?.advanced(by: sent), $0.count - sent, passed)
            }
            if count == -Int(EAGAIN) {
                wait(connection, POLLOUT)
                continue
            }
            guard count > 0 else { return false }
            passed = -1
            sent += count
        }
        return true
    }

    static func answer(_ fields: [String], passing passed: CInt = -1, to connection: CInt) {
        send(Frame.encode(fields), passing: passed, to: connection)
    }

    /// Waits until the other side has closed.
    static func waitForEnd(_ connection: CInt) {
        var byte: UInt8 = 0
        while wait(connection, POLLIN), recv(connection, &byte, 1, 0) > 0 {}
    }

    /// Answers every request as `PodInit` answers `ping`.
    static let honest: @Sendable (CInt) -> Void = { connection in
        readRequest(connection)
        answer(["ok", PodInitLimits.version], to: connection)
    }
}

/// A TCP socket whose `close` lasts a minute, unless the other end goes: it lingers, and its peer does not read.
final class LingeringSocket: Sendable {
    private let peer: CInt
    private let listener: CInt
    /// To be passed on and closed.
    let descriptor: CInt

    init() throws {
        let listener = cx_tcp_listen(0x7F00_0001, 0, 8)
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
        }
        let descriptor = cx_loopback_connect(UInt16(bigEndian: address.sin_port), 0)
        StubPod.wait(listener, POLLIN)
        let peer = cx_accept(listener)
        guard listener >= 0, descriptor >= 0, peer >= 0 else { throw PlatformError(.setup, "no sockets") }
        StubPod.wait(descriptor, POLLOUT)
        let bytes = [UInt8](repeating: 1, count: 1 << 20)
        while Glibc.send(descriptor, bytes, bytes.count, CInt(MSG_NOSIGNAL)) > 0 {}
        var value = linger(l_onoff: 1, l_linger: 60)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
        (self.listener, self.descriptor, self.peer) = (listener, descriptor, peer)
    }

    /// Lets every `close` of the other end return.
    func release() {
        close(listener)
        close(peer)
    }
}
