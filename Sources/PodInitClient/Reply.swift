import Core
import PodInitProtocol
import Synchronization

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
