/// A point of time on a clock that nobody can set, for deadlines and waits; it means nothing outside this process.
///
/// What is stored, or shown to people, is a ``Timestamp``.
package struct Instant: TimePoint {
    /// Microseconds since an unknown beginning.
    package var microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }
}
