import NIOCore

/// When a connection is to be closed because its caller does nothing.
///
/// A whole header section must arrive within the idle time, however it drips in; a body must make progress; so must the caller's reading.
/// While the server works on an answer, the caller may be silent for as long as it takes.
struct IdleWatch {
    private let idleTime: TimeAmount
    private var since: NIODeadline
    /// Requests whose answer is not yet written.
    private var open = 0
    private var isReadingBody = false
    private var unsent = 0

    init(idleTime: TimeAmount, now: NIODeadline) {
        self.idleTime = idleTime
        self.since = now
    }

    var isBusy: Bool { open > 0 }

    mutating func receivedHead(now: NIODeadline) {
        open += 1
        isReadingBody = true
        since = now
    }

    mutating func receivedBody(now: NIODeadline) { since = now }

    mutating func receivedEnd(now: NIODeadline) {
        isReadingBody = false
        since = now
    }

    mutating func sentEnd(now: NIODeadline) {
        open -= 1
        since = now
    }

    enum Verdict: Equatable {
        case close
        case look(at: NIODeadline)
    }

    /// What to do now; `unsent` is the number of bytes that wait for the caller to read.
    mutating func check(now: NIODeadline, unsent: Int) -> Verdict {
        let stalled = unsent > 0 && unsent == self.unsent
        self.unsent = unsent
        if stalled { return .close }
        // Of pipelined requests only the first one's body is anyone's turn to send.
        let waitsForCaller = open == 0 || (open == 1 && isReadingBody)
        guard waitsForCaller else { return .look(at: now + idleTime) }
        let end = since + idleTime
        return now >= end ? .close : .look(at: end)
    }
}
