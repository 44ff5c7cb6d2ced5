import Core
import NIOCore

/// The times within which a caller must act (contract N6), in the form that connections use. Shared by all connections
/// of a server.
final class IdleTimes: Sendable {
    let firstByte: TimeAmount
    let head: TimeAmount
    let idle: TimeAmount
    let bodyGrace: TimeAmount
    let bodyCredit: TimeAmount
    let answer: TimeAmount
    let linger: TimeAmount
    /// Bytes a second that a body must bring, and an answer must be read with.
    let rate: Int

    init(_ limits: HTTPServerLimits) {
        self.firstByte = TimeAmount(limits.firstByteTime)
        self.head = TimeAmount(limits.headTime)
        self.idle = TimeAmount(limits.idleTime)
        self.bodyGrace = TimeAmount(limits.bodyGrace)
        self.bodyCredit = TimeAmount(max(limits.bodyGrace, limits.bodyCredit))
        self.answer = TimeAmount(limits.answerTime)
        self.linger = TimeAmount(limits.lingerTime)
        self.rate = max(1, limits.bodyRate)
    }
}

/// Decides when a connection is closed because its caller is silent or too slow (contract N6). Pure; one value per
/// connection.
///
/// A new connection must send a byte, a head must be complete some time after its first byte, however slowly it
/// arrives, a body must keep its rate, and so must the caller's reading. While the server works on an answer, the
/// caller may be silent for as long as that takes.
struct IdleWatch {
    /// What the caller has sent of the next or present request.
    private enum Input {
        /// Nothing since the connection was opened.
        case nothing
        /// All of the last request, and nothing of another.
        case between
        /// A part of a head.
        case head
        /// A head with `Expect: 100-continue`; it is the server's turn to ask for the body.
        case expecting
        /// A head, and not yet all of the body.
        case body
        /// Refused; nothing more is taken.
        case refused
    }

    enum Refusal: Equatable {
        case head
        case body
    }

    enum Verdict: Equatable {
        case close
        case refuse(Refusal)
        case look(at: NIODeadline)
    }

    private let times: IdleTimes
    private var input = Input.nothing
    /// Requests whose answer is not yet written.
    private var open = 0
    /// Until when the caller must have acted, where it is its turn.
    private var deadline: NIODeadline
    /// Of the present read from the socket: whether it brought a part of a message, whether a body began in it, and
    /// bytes of bodies.
    private var hasPart = false
    private var isNewBody = false
    private var bodyBytes = 0
    /// The bytes of answers that had been read by the caller when `slowSince` was set.
    private var readThen = 0
    private var slowSince: NIODeadline?

    init(_ times: IdleTimes, now: NIODeadline) {
        self.times = times
        self.deadline = now + times.firstByte
    }

    var isBusy: Bool { open > 0 }
    /// Whether the next byte begins a request, as far as can be known: the last read may have brought the beginning of
    /// it.
    var mayBeginRequest: Bool { open == 0 && (input == .nothing || input == .between) }
    /// Whether the present read brought a whole head.
    var hasHead: Bool { hasPart }
    /// Whether a body has begun in the present read, of which no byte has come yet.
    var hasBodyAhead: Bool { isNewBody && bodyBytes == 0 && input == .body }
    var isInBody: Bool { input == .body || input == .expecting }

    mutating func receivedHead() {
        open += 1
        hasPart = true
        guard input != .refused else { return }
        input = .body
        isNewBody = true
    }

    /// The head that has just come asks to be told to go on.
    mutating func expectsContinue() {
        if input == .body { input = .expecting }
    }

    mutating func receivedBody(_ count: Int) {
        hasPart = true
        guard input != .refused else { return }
        if input == .expecting { isNewBody = true }
        input = .body
        bodyBytes += count
    }

    mutating func receivedEnd() {
        hasPart = true
        if input != .refused { input = .between }
    }

    /// The present read from the socket is over.
    ///
    /// - Returns: when to look at the connection at the latest, if that may be sooner than known before.
    mutating func readEnded(now: @autoclosure () -> NIODeadline) -> NIODeadline? {
        defer {
            hasPart = false
            isNewBody = false
            bodyBytes = 0
        }
        switch input {
        case .body:
            let now = now()
            if isNewBody { deadline = now + times.bodyGrace }
            // A caller that is faster than it must be may pause a little longer.
            let earned = min(Int64(bodyBytes) * 1_000_000_000 / Int64(times.rate), times.bodyCredit.nanoseconds)
            deadline = min(deadline + .nanoseconds(earned), now + times.bodyCredit)
            return isNewBody ? deadline : nil
        case .nothing, .between:
            guard !hasPart else {
                // The body of a request that was answered before it is over.
                if open == 0 { deadline = now() + times.idle }
                return nil
            }
            input = .head
            deadline = now() + times.head
            return open == 0 ? deadline : nil
        case .head, .expecting, .refused:
            return nil
        }
    }

    /// The caller was asked for the body.
    ///
    /// - Returns: as `readEnded`.
    mutating func sentContinue(now: NIODeadline) -> NIODeadline? {
        guard input == .expecting else { return nil }
        input = .body
        deadline = now + times.bodyGrace
        return deadline
    }

    /// An answer is written.
    ///
    /// - Returns: as `readEnded`.
    mutating func sentEnd(now: NIODeadline) -> NIODeadline? {
        open = max(0, open - 1)
        guard open == 0 else { return nil }
        switch input {
        case .nothing, .between:
            deadline = now + times.idle
            return nil
        case .head:
            deadline = now + times.head
            return deadline
        case .expecting, .body, .refused:
            // The body is not wanted any more: the connection is closed after a while in which the caller can read the
            // answer.
            deadline = now + times.linger + times.linger
            return deadline
        }
    }

    /// No more of the present request is taken.
    mutating func refuse(now: NIODeadline) {
        input = .refused
        deadline = now + times.linger + .seconds(5)
    }

    /// What to do now.
    ///
    /// - Parameters:
    ///   - unsent: bytes of answers that wait for the caller to read.
    ///   - read: bytes of answers that it has read since the connection was opened.
    ///   - isUntaken: whether parts of a request wait for the server.
    mutating func check(now: NIODeadline, unsent: Int, read: Int, isUntaken: Bool) -> Verdict {
        if unsent > 0 {
            if let since = slowSince {
                if now - since >= times.answer {
                    let needed = Int64(times.rate) * (now - since).nanoseconds / 1_000_000_000
                    if Int64(read - readThen) < max(1, needed) { return .close }
                    slowSince = now
                    readThen = read
                }
            } else {
                slowSince = now
                readThen = read
            }
        } else {
            slowSince = nil
        }
        let next = verdict(now: now, isUntaken: isUntaken)
        guard let slowSince, case .look(let deadline) = next else { return next }
        return .look(at: min(deadline, slowSince + times.answer))
    }

    private mutating func verdict(now: NIODeadline, isUntaken: Bool) -> Verdict {
        switch input {
        case .expecting:
            return .look(at: now + times.idle)
        case .nothing, .between, .head:
            guard open == 0 else { return .look(at: now + times.idle) }
            if now < deadline { return .look(at: deadline) }
            return input == .head ? .refuse(.head) : .close
        case .body:
            // Nothing more is asked of a caller whose bytes the server has not taken, as with all but the first of
            // pipelined requests.
            if isUntaken { deadline = max(deadline, now + times.bodyGrace) }
            return now < deadline ? .look(at: deadline) : .refuse(.body)
        case .refused:
            // A request inside is answered first.
            guard open == 0 else { return .look(at: now + times.idle) }
            return now < deadline ? .look(at: deadline) : .close
        }
    }
}
