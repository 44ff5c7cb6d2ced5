import Core
import Foundation
import Synchronization

/// A container on plain sockets, which closes exactly when a test says: each connection is served by a thread of its
/// own.
final class RawContainer: Sendable {
    let port: Int
    private let listener: CInt
    private let accepted = Mutex(0)

    var connections: Int { accepted.withLock { $0 } }

    /// - Parameter handler: serves one connection; the descriptor is its to close.
    static func with(
        _ handler: @escaping @Sendable (CInt, Int) -> Void, _ body: (RawContainer) async throws -> Void
    ) async throws {
        let container = try RawContainer()
        container.serve(handler)
        defer { shutdown(container.listener, Int32(SHUT_RDWR)) }
        try await body(container)
    }

    private init() throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let (listener, length) = (listener, size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 64) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isBound else { throw PlatformError(.internal, "cannot listen") }
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    private func serve(_ handler: @escaping @Sendable (CInt, Int) -> Void) {
        Thread.detachNewThread { [self] in
            while true {
                let descriptor = accept(listener, nil, nil)
                guard descriptor >= 0 else { break }
                let number = accepted.withLock { count -> Int in
                    count += 1
                    return count
                }
                Thread.detachNewThread { handler(descriptor, number) }
            }
            close(listener)
        }
    }

    /// Reads one request with its body, which may be of any length.
    ///
    /// - Returns: `false` when the connection ended before.
    static func readRequest(_ descriptor: CInt) -> Bool {
        var bytes: [UInt8] = []
        while true {
            if let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
                let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
                let length = SeenRequest(head: head, body: []).contentLength
                var left = end.upperBound + length - bytes.count
                while left > 0 {
                    guard let piece = read(descriptor) else { return false }
                    left -= piece.count
                }
                return true
            }
            guard let piece = read(descriptor) else { return false }
            bytes += piece
        }
    }

    private static func read(_ descriptor: CInt) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    static func answer(_ descriptor: CInt, _ body: String = "1") {
        let text =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        write(descriptor, text)
    }

    static func write(_ descriptor: CInt, _ text: String) {
        let bytes = Array(text.utf8)
        _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// Closes with RST instead of FIN.
    static func reset(_ descriptor: CInt) {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Foundation.linger>.size))
        close(descriptor)
    }
}
