/// What a reader of a job's log wants (contract J12).
package struct JobLogOptions: Sendable, Hashable {
    package var follow: Bool
    /// Only the last lines of each container; `nil` for all that are kept.
    package var tail: Int?
    /// `nil` for all.
    package var worker: Int?
    package var attempt: Int?
    package var container: String?

    package init(
        follow: Bool = false, tail: Int? = nil, worker: Int? = nil, attempt: Int? = nil, container: String? = nil
    ) {
        self.follow = follow
        self.tail = tail
        self.worker = worker
        self.attempt = attempt
        self.container = container
    }
}
