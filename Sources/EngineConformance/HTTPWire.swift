import Core
import Dispatch
import Foundation

/// One HTTP exchange over a connected descriptor, on a thread of its own.
enum HTTPWire {
    /// Posts `body` and returns the body of the answer. Closes the descriptor.
    static func post(_ body: String, over descriptor: CInt) async throws -> String {
        let head = "POST / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
        let answer = try await exchange(Array((head + body).utf8), over: descriptor)
        guard let split = answer.range(of: "\r\n\r\n") else {
            throw PlatformError(.internal, "no HTTP answer: \(answer.debugDescription)")
        }
        return String(answer[split.upperBound...])
    }

    /// Sends bytes, reads to the end, closes.
    static func exchange(_ bytes: [UInt8], over descriptor: CInt) async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(with: Result { try blockingExchange(bytes, descriptor) })
            }
        }
    }

    private static func blockingExchange(_ bytes: [UInt8], _ descriptor: CInt) throws -> String {
        defer { close(descriptor) }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw PlatformError(.connectionFailed, String(cString: strerror(errno))) }
            sent += count
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count >= 0 else { throw PlatformError(.connectionFailed, String(cString: strerror(errno))) }
            if count == 0 { return String(decoding: answer, as: UTF8.self) }
            answer += buffer[..<count]
        }
    }
}
