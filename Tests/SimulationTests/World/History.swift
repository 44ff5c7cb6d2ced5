import Core

/// The events of a world, in order: time, actor, event. Recorded only on demand; a failed seed is run again for it.
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class History: @unchecked Sendable {
    let isKept: Bool
    private let schedule: Schedule
    private(set) var lines: [String] = []
    private var tally = [Int](repeating: 0, count: Happening.allCases.count)

    init(_ schedule: Schedule, isKept: Bool) {
        self.schedule = schedule
        self.isKept = isKept
    }

    func note(_ actor: @autoclosure () -> String, _ event: @autoclosure () -> String) {
        guard isKept else { return }
        let milliseconds = schedule.elapsed / 1000
        let fraction = String(milliseconds % 1000 + 1000).dropFirst()
        let time = "\(milliseconds / 1000).\(fraction)"
        lines.append("\(time.padded(to: -9)) s  \(actor().padded(to: 12))  \(event())")
    }

    func count(_ happening: Happening) { tally[happening.rawValue] += 1 }

    var counts: [Int] { tally }
}

/// Events that must have happened in some seed; otherwise the simulation proves nothing about them.
enum Happening: Int, CaseIterable {
    case submitted, duplicate, completed, failed, cancelled, expired, purged, retriedByHand, retriedByPolicy
    case releasedUncounted, leaseLost, staleFinish, rescued, returnedAtStart, longPollSawEnd
    case storeFailedBefore, storeFailedAfter, hintLost, hintLate, outage
    case refused, hung, hungUp, wrongStatus, wrongType, badJSON, malformed, tooLarge, neverAnswered, streamed,
        largeResult
    case keptConnection, deadKeptConnection, unseenRequest
    case podDied, containerExited, wentDeaf, startFailed, crash, gracefulRestart, rollout, scaled, ghost, clockForward,
        clockBack
}

extension String {
    /// Padded with blanks on the right, or for a negative width on the left.
    func padded(to width: Int) -> String {
        let blanks = String(repeating: " ", count: max(0, abs(width) - count))
        return width < 0 ? blanks + self : self + blanks
    }
}
