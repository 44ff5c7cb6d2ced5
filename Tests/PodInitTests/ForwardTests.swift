import CLinux
import Core
import Foundation
import PodInitClient
import PodInitProtocol
import Synchronization
import TestSupport
import Testing

@Suite("PodInit forwards the cluster's names out", .timeLimit(.minutes(5)))
struct ForwardTests {
    /// A free port, for a moment: nobody else listens on 127.0.0.9.
    private static func port() -> Int { Int.random(in: 20_000..<30_000) }

    @Test("C10: bytes go both ways, each way ends on its own, and a slow reader loses nothing")
    func relays() async throws {
        let port = Self.port()
        try await PodInitProcess.with({ ["--listen", "127.0.0.9:\(port)=unix:\($0.path)/out.sock"] }) {
            (pod) async throws in
            let echo = try Echo(pod.folder.path + "/out.sock")
            defer { echo.stop() }
            let descriptor = try connect(port)
            let count = 8 << 20
            let sent = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            Thread.detachNewThread {
                var done = 0
                while done < count {
                    let result = sent.withUnsafeBytes {
                        cx_send(descriptor, $0.baseAddress?.advanced(by: done), $0.count - done, -1)
                    }
                    if result == -Int(EAGAIN) { usleep(1000) } else if result > 0 { done += result } else { return }
                }
                shutdown(descriptor, CInt(SHUT_WR))
            }
            // The echo answers only after the end of what it gets: both directions are open for different times.
            let received = try await readToEnd(descriptor)
            #expect(received.count == count && received == sent)
        }
    }

    @Test("C10: a platform that is not there yet is waited for; one that hangs up is a reset or an end")
    func restarts() async throws {
        let port = Self.port()
        try await PodInitProcess.with({ ["--listen", "127.0.0.9:\(port)=unix:\($0.path)/out.sock"] }) {
            (pod) async throws in
            let descriptor = try connect(port)
            shutdown(descriptor, CInt(SHUT_WR))
            let waiting = Task { try await readToEnd(descriptor) }
            let echo = try Echo(pod.folder.path + "/out.sock")
            #expect(try await waiting.value == [])
            echo.stop()
        }
    }

    @Test("C10: a thousand connections at once cost descriptors, no processes, and all come back")
    func many() async throws {
        let port = Self.port()
        try await PodInitProcess.with({ ["--listen", "127.0.0.9:\(port)=unix:\($0.path)/out.sock"] }) {
            (pod) async throws in
            let echo = try Echo(pod.folder.path + "/out.sock")
            defer { echo.stop() }
            let before = PodInitProcess.idle + 1
            let descriptors = try (0..<500).map { _ in try connect(port) }
            #expect(try await eventually { pod.descriptors >= before + 1000 })
            let status = try String(contentsOfFile: "/proc/\(pod.process)/status", encoding: .utf8)
            #expect(status.contains("Threads:\t1\n"))
            for descriptor in descriptors {
                _ = cx_send(descriptor, "x", 1, -1)
                shutdown(descriptor, CInt(SHUT_WR))
            }
            for descriptor in descriptors { #expect(try await readToEnd(descriptor) == [UInt8(ascii: "x")]) }
            #expect(try await eventually { pod.descriptors == before })
        }
    }

    private func connect(_ port: Int) throws -> CInt {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0009).bigEndian
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Foundation.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw PlatformError(.connectionFailed, String(cString: strerror(errno))) }
        return descriptor
    }
}

/// Reads to the end, then sends it all back, on a unix socket.
private final class Echo: Sendable {
    private let listener: CInt
    private let path: String

    init(_ path: String) throws {
        let listener = cx_unix_listen(path, 0o600, 1024)
        guard listener >= 0 else { throw PlatformError(.setup, String(cString: strerror(-listener))) }
        _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) & ~O_NONBLOCK)
        self.listener = listener
        self.path = path
        Thread.detachNewThread {
            while case let connection = accept(listener, nil, nil), connection >= 0 {
                Thread.detachNewThread { Self.serve(connection) }
            }
            close(listener)
        }
    }

    func stop() {
        unlink(path)
        shutdown(listener, CInt(SHUT_RDWR))
    }

    private static func serve(_ connection: CInt) {
        defer { close(connection) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = read(connection, &buffer, buffer.count), count > 0 { bytes += buffer[..<count] }
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(connection, $0.baseAddress?.advanced(by: sent), $0.count - sent, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }
}
