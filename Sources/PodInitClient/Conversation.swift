import CLinux
import Core
import PodInitProtocol
import Support
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One request to a `PodInit` and what comes back, on a connection of its own.
///
/// Everything happens on ``PollLoop``, without blocking, so thousands of conversations cost no thread of the
/// cooperative pool. A connection of its own makes cancelling simple: when it is closed, `PodInit` drops the request.
///
/// `PodInit` is not trusted: a container may have taken it over. What it sends is bounded in size, read a piece at a
/// time so that other pods get their turn, and descriptors that were not asked for end the conversation.
///
/// `@unchecked Sendable`: all stored properties but `let`s are read and written only on the loop's thread.
final class Conversation: PollHandler, @unchecked Sendable {
    /// How long to wait before a full backlog is tried again: doubled from the first to the last, in milliseconds.
    private static let retryDelays: ClosedRange<Int64> = 2...256
    /// Reads of one turn.
    private static let readsPerTurn = 4
    /// How long a subscription that sends without end is not read, in milliseconds.
    private static let floodPause: Int64 = 20

    private let loop = PollLoop.shared
    private let path: String
    private let request: [UInt8]
    /// Whether a connected TCP socket is to come with the answer.
    private let expectsConnection: Bool
    /// Gets each frame, and the connection that came with it, which is then the handler's. Returns whether more frames
    /// are wanted.
    private let onFrame: @Sendable ([String], CInt?) -> Bool
    /// Called once, last; without an error when `onFrame` wanted no more.
    private let onEnd: @Sendable (PlatformError?) -> Void

    private var socket: CInt = -1
    private var token: UInt64?
    private var deadline: Timer?
    private var pause: Timer?
    private var retryDelay = retryDelays.lowerBound
    private var sent = 0
    private var isSendWaiting = false
    private var decoder = FrameDecoder(fieldLimit: PodInitLimits.answerFields)
    private var connection: CInt?
    private var isEnded = false

    init(
        path: String, request: [String], expectsConnection: Bool = false,
        onFrame: @escaping @Sendable ([String], CInt?) -> Bool,
        onEnd: @escaping @Sendable (PlatformError?) -> Void
    ) {
        self.path = path
        self.request = Frame.encode(request)
        self.expectsConnection = expectsConnection
        self.onFrame = onFrame
        self.onEnd = onEnd
    }

    /// Begins; `timeout` bounds the whole conversation.
    func begin(timeout: Duration?) {
        do {
            try loop.perform { self.start(timeout) }
        } catch {
            onEnd(error as? PlatformError ?? PlatformError(.unavailable, "No pod can be reached.", cause: error))
        }
    }

    /// Ends the conversation with `error`, unless it has ended.
    func cancel(_ error: PlatformError) {
        // A loop that cannot be started has no conversation to end.
        try? loop.perform { self.end(error) }
    }

    // MARK: On the loop

    private func start(_ timeout: Duration?) {
        guard !isEnded else { return }
        if let timeout {
            let milliseconds = min(max(timeout.wholeMicroseconds / 1000, 0), 1_000_000_000)
            deadline = loop.after(milliseconds) { [weak self] in
                self?.end(PlatformError(.timedOut, "The pod did not answer in time."))
            }
        }
        guard request.count <= Frame.limit + 4 else {
            return end(PlatformError(.badRequest, "Command and environment of a container are larger than 1 MiB."))
        }
        connect()
    }

    private func connect() {
        guard !isEnded else { return }
        guard !DescriptorCloser.shared.isFull(path) else {
            return end(PlatformError(.connectionFailed, "The pod keeps too many descriptors from being closed."))
        }
        let descriptor = cx_unix_connect(path)
        if descriptor == -EAGAIN {
            pause = loop.after(retryDelay) { self.connect() }
            // Strong: nothing else may hold the conversation until the loop watches its socket. `end` cancels the
            // timer.
            retryDelay = min(2 * retryDelay, Self.retryDelays.upperBound)
            return
        }
        guard descriptor >= 0 else {
            return end(PlatformError(.connectionFailed, "The pod is gone: \(text(-descriptor))."))
        }
        socket = descriptor
        switch loop.watch(descriptor, for: CInt(CX_READ), self) {
        case .success(let token):
            self.token = token
            send()
        case .failure(let error):
            end(error)
        }
    }

    /// What the loop reports about the socket.
    func ready(_ readiness: CInt) {
        if readiness & CInt(CX_WRITE) != 0 { send() }
        if readiness & CInt(CX_READ | CX_HANGUP) != 0 { receive() }
    }

    private func send() {
        while !isEnded, sent < request.count {
            let result = request.withUnsafeBytes {
                cx_send(socket, $0.baseAddress?.advanced(by: sent), $0.count - sent, -1)
            }
            if result == -Int(EAGAIN) {
                isSendWaiting = true
                if let token { loop.change(token, of: socket, to: CInt(CX_READ | CX_WRITE)) }
                return
            }
            guard result >= 0 else {
                return end(PlatformError(.connectionFailed, "The pod is gone: \(text(CInt(-result)))."))
            }
            sent += result
        }
        if !isEnded, isSendWaiting, let token { loop.change(token, of: socket, to: CInt(CX_READ)) }
    }

    private func receive() {
        for turn in 1...Self.readsPerTurn {
            var held: CInt = 0
            let result = cx_receive_all(
                socket, loop.scratch.baseAddress, loop.scratch.count, loop.passed.baseAddress, &held)
            if held > 0, !take(Array(loop.passed[..<Int(held)])) {
                return end(PlatformError(.connectionFailed, "The pod passed a descriptor that was not asked for."))
            }
            if result == -Int(EAGAIN) { return }
            guard result > 0 else {
                let reason = result == 0 ? "it closed the connection" : text(CInt(-result))
                return end(PlatformError(.connectionFailed, "The pod is gone: \(reason)."))
            }
            decoder.append(UnsafeRawBufferPointer(rebasing: loop.scratch[..<result]))
            deliver()
            guard !isEnded else { return }
            // The other pods' turn; what is left is reported again. A subscription never sends this much of its own
            // accord.
            if turn == Self.readsPerTurn, deadline == nil, let token {
                pause = loop.pause(token, of: socket, milliseconds: Self.floodPause, self)
            }
        }
    }

    /// Keeps the connection that was asked for. Everything else is closed off the loop.
    private func take(_ descriptors: [CInt]) -> Bool {
        guard expectsConnection, connection == nil, descriptors.count == 1, cx_is_tcp(descriptors[0]) == 1 else {
            DescriptorCloser.shared.close(descriptors, of: path)
            return false
        }
        // Set by `PodInit` already, unless it is no `PodInit` any more.
        _ = fcntl(descriptors[0], F_SETFL, O_RDWR | O_NONBLOCK)
        connection = descriptors[0]
        return true
    }

    private func deliver() {
        do {
            while !isEnded, let fields = try decoder.next() {
                // Only an answer that grants the request hands the connection on; `end` closes it otherwise.
                let granted = fields.first == Answer.ok.rawValue ? connection : nil
                if granted != nil { connection = nil }
                if !onFrame(fields, granted) { end(nil) }
            }
        } catch {
            end(PlatformError(.internal, "The pod answered with a broken frame.", cause: error))
        }
    }

    private func end(_ error: PlatformError?) {
        guard !isEnded else { return }
        isEnded = true
        deadline?.cancel()
        pause?.cancel()
        if let token { loop.forget(token, of: socket) }
        if socket >= 0 {
            // What was not read may hold descriptors, which closing the socket would close.
            if cx_hang_up(socket) == 0 { close(socket) } else { DescriptorCloser.shared.close([socket], of: path) }
        }
        if let connection { DescriptorCloser.shared.close([connection], of: path) }
        (socket, token, connection, deadline, pause) = (-1, nil, nil, nil, nil)
        onEnd(error)
    }
}

/// The system's text for an error number.
func text(_ number: CInt) -> String { String(cString: strerror(number)) }

/// The single reply of a conversation, carried to the task that waits for it.
final class Reply: Sendable {
    typealias Value = (fields: [String], descriptor: CInt?)

    private struct State {
        var continuation: CheckedContinuation<Value, any Error>?
        var result: Result<Value, PlatformError>?
        var isCancelled = false
        var isEnded = false
    }

    private let state = Mutex(State())

    /// Hands over the waiting task. A task that is cancelled early finds the conversation ended already.
    func wait(_ continuation: CheckedContinuation<Value, any Error>) {
        let isEnded = state.withLock { state in
            if !state.isEnded { state.continuation = continuation }
            return state.isEnded
        }
        if isEnded { continuation.resume(throwing: CancellationError()) }
    }

    func cancel() {
        state.withLock { $0.isCancelled = true }
    }

    /// Keeps the frame and, of one that grants the request, its descriptor.
    func put(_ fields: [String], _ descriptor: CInt?) {
        let result: Result<Value, PlatformError>
        if fields.first == Answer.ok.rawValue {
            result = .success((Array(fields.dropFirst()), descriptor))
        } else {
            result = .failure(Self.refusal(fields))
        }
        state.withLock { $0.result = result }
    }

    /// Resumes the waiting task: with the reply if there is one, else with the error.
    func end(_ error: PlatformError?) {
        let (continuation, result, isCancelled) = state.withLock { state in
            state.isEnded = true
            defer { state.continuation = nil }
            return (state.continuation, state.result, state.isCancelled)
        }
        switch (result, isCancelled) {
        case (.success(let value), _): continuation?.resume(returning: value)
        case (_, true): continuation?.resume(throwing: CancellationError())
        case (.failure(let refusal), false): continuation?.resume(throwing: refusal)
        case (nil, false):
            continuation?.resume(throwing: error ?? PlatformError(.internal, "The pod answered nothing."))
        }
    }

    private static func refusal(_ fields: [String]) -> PlatformError {
        guard fields.first == Answer.error.rawValue, fields.count >= 3, let refusal = Refusal(rawValue: fields[1])
        else {
            return PlatformError(.internal, "The pod gave an answer that is not understood.")
        }
        let code: PlatformError.Code =
            switch refusal {
            case .connect: .connectionFailed
            case .timedOut: .timedOut
            case .badRequest: .badRequest
            case .notFound: .notFound
            case .container: .containerFailed
            case .unavailable: .unavailable
            case .internal: .internal
            }
        return PlatformError(code, fields[2])
    }
}
