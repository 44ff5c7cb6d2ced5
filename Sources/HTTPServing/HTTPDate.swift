import Core
import Synchronization

/// The `Date` header, made once a second.
final class HTTPDate: Sendable {
    private let clock: any PlatformClock
    private let cached = Mutex((second: Int64.min, text: ""))

    init(clock: any PlatformClock) {
        self.clock = clock
    }

    var now: String {
        let time = clock.now()
        return cached.withLock {
            if $0.second != time.seconds { $0 = (time.seconds, Self.text(time)) }
            return $0.text
        }
    }

    /// IMF-fixdate (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    static func text(_ time: Timestamp) -> String {
        let civil = CivilTime(time)
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        return "\(days[civil.weekday]), \(two(civil.day)) \(months[civil.month - 1]) \(civil.year) "
            + "\(two(civil.hour)):\(two(civil.minute)):\(two(civil.second)) GMT"
    }
}
