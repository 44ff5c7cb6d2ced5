package import Core
package import PodInitProtocol

/// The platform's side of the conversation with a pod's `PodInit` (docs/pod-init.md).
///
/// Holds nothing open between calls. Every call can be cancelled (`CancellationError`), waits no longer than its
/// timeout, and leaves no descriptor behind. A pod that is gone is `connection_failed`.
package struct PodInitClient: Sendable, Hashable {
    /// May be longer than a socket address can hold.
    package let socketPath: String

    package init(socketPath: String) {
        self.socketPath = socketPath
    }

    /// Whether a `PodInit` that speaks this protocol answers.
    package func ping(timeout: Duration = .seconds(5)) async throws {
        let (fields, _) = try await call([Verb.ping.rawValue], timeout: timeout)
        guard fields.first == PodInitLimits.version else {
            throw PlatformError(.versionMismatch, "The pod was started by another version. Refresh the API.")
        }
    }

    /// Connects to `127.0.0.1:port` inside the pod, or to `[::1]:port` where that refuses.
    ///
    /// - Returns: the connected TCP socket, non-blocking and close-on-exec. It is the caller's to close.
    /// - Throws: `connection_failed` with the system's reason when nothing accepts within `timeout`.
    package func connect(port: Int, timeout: Duration) async throws -> CInt {
        let milliseconds = String(Self.milliseconds(timeout))
        let reply: (fields: [String], descriptor: CInt?)
        do {
            reply = try await call(
                [Verb.connect.rawValue, String(port), milliseconds], timeout: timeout + .seconds(5),
                expectsConnection: true)
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(.connectionFailed, "Port \(port) of the pod did not accept in time.", cause: error)
        }
        guard let descriptor = reply.descriptor else {
            throw PlatformError(.internal, "The pod answered without a connection.")
        }
        return descriptor
    }

    /// What runs in the pod.
    package func status(timeout: Duration = .seconds(10)) async throws -> StatusReport {
        let (fields, _) = try await call([Verb.status.rawValue], timeout: timeout)
        guard let report = StatusReport(fields: fields) else {
            throw PlatformError(.versionMismatch, "The pod was started by another version. Refresh the API.")
        }
        return report
    }

    /// Starts a container of a sandbox pod, again if it has ended. Returns once its command runs.
    ///
    /// - Throws: `container_failed` with the reason when it does not.
    package func start(_ request: StartRequest, timeout: Duration = .seconds(60)) async throws {
        _ = try await call([Verb.start.rawValue] + request.fields, timeout: timeout)
    }

    /// Sends a signal to the main process of a container. Nothing happens when it has ended.
    package func signal(container: String, _ number: CInt) async throws {
        _ = try await call([Verb.signal.rawValue, container, String(number)], timeout: .seconds(10))
    }

    /// SIGTERM, and SIGKILL after `grace`; returns once the container ended.
    package func stop(container: String, grace: Duration) async throws {
        let request = [Verb.stop.rawValue, container, String(Self.milliseconds(grace))]
        _ = try await call(request, timeout: grace + .seconds(30))
    }

    /// Runs a command in a container; its output is cut at `cap` bytes.
    ///
    /// - Throws: `timed_out` once the command was killed, `container_failed` when it cannot be run.
    package func exec(_ command: [String], container: String, timeout: Duration, cap: Int) async throws -> ExecResult {
        let request = [Verb.exec.rawValue, container, String(Self.milliseconds(timeout)), String(cap)] + command
        let (fields, _) = try await call(request, timeout: timeout + .seconds(10))
        guard fields.count == 2, let code = Int(fields[0]) else {
            throw PlatformError(.internal, "The pod answered wrongly to a command.")
        }
        // Cut here as well: `PodInit` is not trusted.
        return ExecResult(exitCode: code, output: String(decoding: fields[1].utf8.prefix(cap), as: UTF8.self))
    }

    /// SIGTERM to every container at once, SIGKILL after `grace`; returns once all ended. `PodInit` then ends too.
    package func shutdown(grace: Duration) async throws {
        let request = [Verb.shutdown.rawValue, String(Self.milliseconds(grace))]
        _ = try await call(request, timeout: grace + .seconds(30))
    }

    /// Prepares to hear of each container that starts or ends; nothing is heard before `begin`.
    ///
    /// - Parameters:
    ///   - onEvent: gets the container's name; first, once the subscription holds, an empty one, because what happened
    ///     before went unheard. Called on the loop's thread, which must not be blocked.
    ///   - onEnd: called once, when the pod is gone or the subscription was cancelled.
    package func subscribe(
        onEvent: @escaping @Sendable (String) -> Void, onEnd: @escaping @Sendable () -> Void
    ) -> Subscription {
        let conversation = Conversation(path: socketPath, request: [Verb.subscribe.rawValue]) { fields, _ in
            if fields.first == Answer.ok.rawValue { onEvent("") }
            if fields.first == Answer.event.rawValue, fields.count > 1 { onEvent(fields[1]) }
            return fields.first != Answer.error.rawValue
        } onEnd: { _ in
            onEnd()
        }
        return Subscription(conversation: conversation)
    }

    /// A running subscription. It goes on until it is cancelled or the pod is gone, also without a reference to it.
    package struct Subscription: Sendable {
        fileprivate let conversation: Conversation

        package func begin() { conversation.begin(timeout: nil) }

        package func cancel() {
            conversation.cancel(PlatformError(.unavailable, "Not wanted any more."))
        }
    }

    /// One request, one reply: the fields after `ok`, and the descriptor that came along.
    private func call(
        _ request: [String], timeout: Duration, expectsConnection: Bool = false
    ) async throws -> (fields: [String], descriptor: CInt?) {
        let reply = Reply()
        let conversation = Conversation(
            path: socketPath, request: request, expectsConnection: expectsConnection
        ) { fields, descriptor in
            reply.put(fields, descriptor)
            return false
        } onEnd: { error in
            reply.end(error)
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                reply.wait(continuation)
                conversation.begin(timeout: timeout)
            }
        } onCancel: {
            reply.cancel()
            conversation.cancel(PlatformError(.unavailable, "The call was cancelled."))
        }
    }

    private static func milliseconds(_ duration: Duration) -> Int64 {
        min(max(duration.wholeMicroseconds / 1000, 0), 86_400_000)
    }
}
