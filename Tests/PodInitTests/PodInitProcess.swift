import Core
import Foundation
import Glibc
import PodInitClient
import PodInitProtocol
import Subprocess
import TestSupport
import Testing

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// A running `cortex-pod-init` with its socket in a folder of its own.
struct PodInitProcess {
    let client: PodInitClient
    let process: pid_t
    let folder: URL

    static let executable: String = {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let beside = URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("cortex-pod-init")
            .path
        if FileManager.default.isExecutableFile(atPath: beside) { return beside }
        let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return package.appendingPathComponent(".build/debug/cortex-pod-init").path
    }()

    /// Runs `pod` while the body runs, then ends it with SIGTERM.
    ///
    /// - Returns: its exit status.
    @discardableResult
    static func with(
        _ arguments: (URL) -> [String] = { _ in [] }, _ body: @escaping @Sendable (PodInitProcess) async throws -> Void
    ) async throws -> TerminationStatus {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("cx-\(UInt32.random(in: .min ... .max))")
            // Longer than a socket address.
            .appendingPathComponent(String(repeating: "x", count: 120))
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder.deletingLastPathComponent()) }
        let socket = folder.appendingPathComponent("init.sock").path
        let result = try await Subprocess.run(
            .path(FilePath(executable)), arguments: Arguments(["pod", "--socket", socket] + arguments(folder)),
            input: .none, output: .discarded, error: .discarded
        ) { execution in
            let process = PodInitProcess(
                client: PodInitClient(socketPath: socket), process: execution.processIdentifier.value, folder: folder)
            defer { kill(process.process, SIGTERM) }
            #expect(
                try await eventually {
                    do {
                        try await process.client.ping()
                        return true
                    } catch let error as PlatformError where error.code == .connectionFailed {
                        return false
                    }
                })
            try await body(process)
        }
        return result.terminationStatus
    }

    /// What it holds when it has nothing to do: three standard streams, signals, the poller, its socket. A connection
    /// of a call that has returned may still be open for a moment, so this is no matter of counting.
    static let idle = 6

    /// How many descriptors it holds.
    var descriptors: Int { (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count) ?? -1 }
}

/// A TCP server on a free port of the loopback that greets and closes.
final class Greeter: Sendable {
    let port: Int
    private let listener: CInt

    init(ipv6: Bool = false) throws {
        let descriptor = socket(ipv6 ? AF_INET6 : AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var six = sockaddr_in6()
        six.sin6_family = sa_family_t(AF_INET6)
        six.sin6_addr.__in6_u.__u6_addr8.15 = 1
        var four = sockaddr_in()
        four.sin_family = sa_family_t(AF_INET)
        four.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let bound =
            ipv6
            ? withUnsafePointer(to: &six) { Self.bind(descriptor, $0) }
            : withUnsafePointer(to: &four) { Self.bind(descriptor, $0) }
        guard bound == 0, listen(descriptor, 128) == 0 else { throw PlatformError(.setup, "no port") }
        var storage = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        _ = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        // The port stands at the same place in both kinds of address.
        self.port = Int(UInt16(bigEndian: storage.sin6_port))
        self.listener = descriptor
        Thread.detachNewThread {
            while case let connection = accept(descriptor, nil, nil), connection >= 0 {
                _ = send(connection, "hello", 5, CInt(MSG_NOSIGNAL))
                close(connection)
            }
            close(descriptor)
        }
    }

    private static func bind<Address>(_ descriptor: CInt, _ address: UnsafePointer<Address>) -> CInt {
        address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
        }
    }

    func stop() { shutdown(listener, CInt(SHUT_RDWR)) }
}

/// Reads a non-blocking descriptor to its end, and closes it.
func readToEnd(_ descriptor: CInt) async throws -> [UInt8] {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread {
            defer { close(descriptor) }
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65536)
            while true {
                var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
                _ = poll(&event, 1, 20_000)
                let count = read(descriptor, &buffer, buffer.count)
                guard count > 0 else {
                    if count == 0 { return continuation.resume(returning: bytes) }
                    return continuation.resume(
                        throwing: PlatformError(.connectionFailed, String(cString: strerror(errno))))
                }
                bytes += buffer[..<count]
            }
        }
    }
}
