import CLinux
import Core
import Foundation
import Synchronization

/// Stands for the gateway or the operator: an HTTP/1.1 server on a unix socket that answers every request with
/// `["name", "method", "path", "host", bytes of the body]` and keeps the connection.
final class StubServer: Sendable {
    private let listener: CInt
    private let name: String
    private let seen = Mutex<[String]>([])

    /// Serves while the body runs.
    static func with<Result>(_ name: String, at path: String, _ body: (StubServer) async throws -> Result) async throws
        -> Result
    {
        let server = try StubServer(name, path)
        defer { server.stop(path) }
        return try await body(server)
    }

    /// Bodies of up to 200 bytes that came in, in order.
    var bodies: [String] { seen.withLock { $0 } }

    private init(_ name: String, _ path: String) throws {
        let listener = cx_unix_listen(path, 0o666, 128)
        guard listener >= 0 else { throw PlatformError(.setup, "\(path): \(String(cString: strerror(-listener)))") }
        _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) & ~O_NONBLOCK)
        self.listener = listener
        self.name = name
        Thread.detachNewThread { self.accept() }
    }

    private func stop(_ path: String) {
        unlink(path)
        // Wakes the thread that waits in `accept`; that one closes.
        shutdown(listener, CInt(SHUT_RDWR))
    }

    private func accept() {
        defer { close(listener) }
        while true {
            let connection = Foundation.accept(listener, nil, nil)
            if connection < 0 {
                if errno == EINTR { continue }
                return
            }
            Thread.detachNewThread { self.serve(connection) }
        }
    }

    private func serve(_ connection: CInt) {
        defer { close(connection) }
        var buffered: [UInt8] = []
        while let request = read(connection, &buffered) {
            if request.body.count <= 200 {
                seen.withLock { $0.append(String(decoding: request.body, as: UTF8.self)) }
            }
            let body =
                "[\"\(name)\", \"\(request.method)\", \"\(request.path)\", \"\(request.host)\", \(request.body.count)]"
            let answer =
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body
            let bytes = Array(answer.utf8)
            guard send(connection, bytes, bytes.count, CInt(MSG_NOSIGNAL)) == bytes.count else { return }
        }
    }

    private struct Request {
        var method = ""
        var path = ""
        var host = ""
        var body: [UInt8] = []
    }

    /// The next request with its whole body; `nil` at the end of the connection.
    private func read(_ connection: CInt, _ buffered: inout [UInt8]) -> Request? {
        let end = Array("\r\n\r\n".utf8)
        while true {
            if let split = buffered.firstRange(of: end) {
                let head = String(decoding: buffered[..<split.lowerBound], as: UTF8.self)
                let lines = head.components(separatedBy: "\r\n")
                let words = lines[0].components(separatedBy: " ")
                var length = 0
                var request = Request(method: words[0], path: words.count > 1 ? words[1] : "")
                for line in lines.dropFirst() {
                    let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
                    guard parts.count == 2 else { continue }
                    if parts[0].lowercased() == "content-length" { length = Int(parts[1]) ?? 0 }
                    if parts[0].lowercased() == "host" { request.host = parts[1] }
                }
                while buffered.count < split.upperBound + length {
                    guard receive(connection, &buffered) else { return nil }
                }
                request.body = Array(buffered[split.upperBound..<split.upperBound + length])
                buffered.removeFirst(split.upperBound + length)
                return request
            }
            guard receive(connection, &buffered) else { return nil }
        }
    }

    private func receive(_ connection: CInt, _ buffered: inout [UInt8]) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 65536)
        let count = Foundation.read(connection, &chunk, chunk.count)
        guard count > 0 else { return false }
        buffered += chunk[..<count]
        return true
    }
}
