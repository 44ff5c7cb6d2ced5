import CPodInit
import Core
import Dispatch
import Foundation
import PodInitProtocol

/// One request to a `PodInit` and what comes back, on a connection of its own.
///
/// Everything runs on one serial queue that never blocks, so thousands of conversations cost no thread of the cooperative pool.
/// A connection of its own makes cancelling simple: closing it tells `PodInit` to drop the request.
///
/// `@unchecked Sendable`: all stored properties but `let`s are read and written only on `queue`, which is serial.
final class Conversation: @unchecked Sendable {
    private static let queue = DispatchQueue(label: "cortex.pod-init-client")
    /// How long to wait before a full backlog or send buffer is tried again.
    private static let patience: DispatchTimeInterval = .milliseconds(2)

    private let path: String
    private let request: [UInt8]
    /// Gets each frame, and the descriptor that came with it, which is then the handler's. Returns whether more frames are wanted.
    private let onFrame: @Sendable ([String], CInt?) -> Bool
    /// Called once, last; without an error when `onFrame` wanted no more.
    private let onEnd: @Sendable (PlatformError?) -> Void

    private var socket: CInt = -1
    private var source: (any DispatchSourceRead)?
    private var sent = 0
    private var decoder = FrameDecoder()
    private var passed: CInt?
    private var isEnded = false

    init(
        path: String, request: [String], onFrame: @escaping @Sendable ([String], CInt?) -> Bool,
        onEnd: @escaping @Sendable (PlatformError?) -> Void
    ) {
        self.path = path
        self.request = Frame.encode(request)
        self.onFrame = onFrame
        self.onEnd = onEnd
    }

    /// Begins; `timeout` bounds the whole conversation.
    func begin(timeout: Duration?) {
        Self.queue.async { self.connect() }
        guard let timeout else { return }
        let microseconds = Int(min(max(timeout.wholeMicroseconds, 0), 1_000_000_000_000))
        // Weak: an ended conversation is not kept until its deadline.
        Self.queue.asyncAfter(deadline: .now() + .microseconds(microseconds)) { [weak self] in
            self?.end(PlatformError(.timedOut, "The pod did not answer in time."))
        }
    }

    /// Ends the conversation with `error`, unless it has ended.
    func cancel(_ error: PlatformError) {
        Self.queue.async { self.end(error) }
    }

    private func connect() {
        guard !isEnded else { return }
        guard request.count <= Frame.limit + 4 else {
            return end(PlatformError(.badRequest, "Command and environment of a container are larger than 1 MiB."))
        }
        let descriptor = cx_unix_connect(path)
        if descriptor == -EAGAIN {
            return Self.queue.asyncAfter(deadline: .now() + Self.patience) { self.connect() }
        }
        guard descriptor >= 0 else {
            return end(PlatformError(.connectionFailed, "The pod is gone: \(text(-descriptor))."))
        }
        socket = descriptor
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: Self.queue)
        // Strong: the source keeps the conversation alive until `end` lets go of it.
        source.setEventHandler { self.receive() }
        // Only now: a descriptor must stay open as long as a source watches it.
        source.setCancelHandler { close(descriptor) }
        self.source = source
        source.resume()
        send()
    }

    private func send() {
        while !isEnded, sent < request.count {
            let result = request.withUnsafeBytes {
                cx_send(socket, $0.baseAddress?.advanced(by: sent), $0.count - sent, -1)
            }
            if result == -Int(EAGAIN) {
                return Self.queue.asyncAfter(deadline: .now() + Self.patience) { self.send() }
            }
            guard result >= 0 else {
                return end(PlatformError(.connectionFailed, "The pod is gone: \(text(CInt(-result)))."))
            }
            sent += result
        }
    }

    private func receive() {
        while !isEnded {
            var received: CInt = -1
            let result = withUnsafeTemporaryAllocation(byteCount: 16 * 1024, alignment: 1) { buffer in
                let count = cx_receive(socket, buffer.baseAddress, buffer.count, &received)
                if count > 0 { decoder.append(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
                return count
            }
            if received >= 0 {
                if let passed { close(passed) }
                passed = received
            }
            if result == -Int(EAGAIN) { return }
            guard result > 0 else {
                let reason = result == 0 ? "it closed the connection" : text(CInt(-result))
                return end(PlatformError(.connectionFailed, "The pod is gone: \(reason)."))
            }
            deliver()
        }
    }

    private func deliver() {
        do {
            while !isEnded, let fields = try decoder.next() {
                let descriptor = passed
                passed = nil
                if !onFrame(fields, descriptor) { end(nil) }
            }
        } catch {
            end(PlatformError(.internal, "The pod answered with a broken frame.", cause: error))
        }
    }

    private func end(_ error: PlatformError?) {
        guard !isEnded else { return }
        isEnded = true
        source?.cancel()
        source = nil
        if let passed { close(passed) }
        passed = nil
        onEnd(error)
    }
}

/// The system's text for an error number.
func text(_ number: CInt) -> String { String(cString: strerror(number)) }
