/// What a handler returns: the answer, or the wait for it.
package enum HTTPReply: Sendable {
    case response(OutgoingResponse)
    case pending(any PendingReply)
}

/// An answer that is not there yet. While it waits, its connection has no task; only this object is kept.
package protocol PendingReply: AnyObject, Sendable {
    /// Calls `action` once, from any thread, as soon as it is worth asking for the reply. It must also be called when
    /// the caller leaves.
    func whenReady(_ action: @escaping @Sendable () -> Void)

    /// The answer, or another wait. An error it throws becomes the answer (``ErrorResponses``).
    nonisolated(nonsending) func reply() async throws -> HTTPReply
}

/// Answers requests. An error it throws becomes the answer (``ErrorResponses``).
package typealias HTTPHandler =
    nonisolated(nonsending) @Sendable (_ request: IncomingRequest, _ body: inout IncomingBody) async throws ->
    OutgoingResponse

/// Answers requests, at once or later. An error it throws becomes the answer (``ErrorResponses``).
package typealias HTTPReplyHandler =
    nonisolated(nonsending) @Sendable (_ request: IncomingRequest, _ body: inout IncomingBody) async throws ->
    HTTPReply
