import Core

/// The fixed delay of each planned time (contract J14), so that schedules of many APIs do not start in the same second.
struct ScheduleJitter: Sendable {
    private let api: String
    private let schedule: String
    /// The upper bound, in microseconds, exclusive.
    private let bound: Int64

    init(api: String, schedule: String, bound: Duration) {
        self.api = api
        self.schedule = schedule
        self.bound = bound.wholeMicroseconds
    }

    /// The delay of a planned time: in [0, `jitter`), and less than the time until the next planned time, so that jobs
    /// are made in the order of their planned times.
    ///
    /// - Parameter following: the next planned time; `nil` if there is none.
    func delay(of planned: Timestamp, following: Timestamp?) -> Duration {
        let gap = following.map { $0.microseconds - planned.microseconds } ?? .max
        let limit = min(bound, gap)
        guard limit > 0 else { return .zero }
        return .microseconds(Int64(hash(of: planned) % UInt64(limit)))
    }

    /// The 64-bit FNV-1a hash of the API's name, a zero byte, the schedule's name, a zero byte, and the planned time in
    /// microseconds since 1970 as eight bytes, lowest first; then the finalizer of MurmurHash3, which spreads it over
    /// all bits. It must never change: after a restart with another version a planned time would move.
    func hash(of planned: Timestamp) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        func add(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        for text in [api, schedule] {
            for byte in text.utf8 { add(byte) }
            add(0)
        }
        let time = UInt64(bitPattern: planned.microseconds)
        for shift in stride(from: UInt64(0), to: 64, by: 8) { add(UInt8(truncatingIfNeeded: time >> shift)) }
        hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
        hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
        return hash ^ hash >> 33
    }
}
