package import Core
import Foundation

/// Ages as the original wrote them: `12s`, `3m4s`, `5h6m`, `7d8h` (reference: cortex.md §9.3).
package enum Age {
    /// `duration` in its two largest units; a negative one is `0s`.
    package static func text(of duration: Duration) -> String {
        let seconds = max(0, duration.components.seconds)
        switch seconds {
        case ..<60: return "\(seconds)s"
        case ..<3600: return "\(seconds / 60)m\(seconds % 60)s"
        case ..<(48 * 3600): return "\(seconds / 3600)h\(seconds % 3600 / 60)m"
        default: return "\(seconds / 86_400)d\(seconds % 86_400 / 3600)h"
        }
    }

    /// - Parameter seconds: since 1970.
    package static func since(seconds: Int64, now: Timestamp) -> String {
        text(of: .seconds(now.seconds - seconds))
    }

    /// - Parameter rfc3339: a moment as the platform writes it; `-` for none or another form.
    package static func since(rfc3339: String?, now: Timestamp) -> String {
        guard let rfc3339, let date = try? Date(rfc3339, strategy: .iso8601) else { return "-" }
        return since(seconds: Int64(date.timeIntervalSince1970), now: now)
    }
}
