/// What the events of a job change in it. Stores apply these rules, each together with the rows that it concerns, so
/// that all stores agree (contract J4, J5, B9, B11).
extension Job {
    // MARK: Rules

    /// How long it is readable after its end (contract J11).
    package var retention: Duration {
        version.specification.jobs?.retention ?? version.specification.requests.retention
    }

    /// How long the items of batches without success are kept.
    package var keepFailed: Duration { version.specification.requests.keepFailed }

    /// The end of its retention; `nil` while it is open.
    package var purgeAt: Timestamp? { endedAt.map { $0 + retention } }

    /// Whether its retention is over.
    package func isPurged(at now: Timestamp) -> Bool { purgeAt.map { $0 <= now } ?? false }

    /// Whether it waits for its turn or for its first worker (contract J9).
    package var isPending: Bool { status == .pending && stop == nil }

    /// Whether batches of it may be claimed.
    package var isClaimable: Bool { status.isOpen && stop == nil }

    /// The job of a hidden queue; `nil` when the name is not that of one.
    package static func id(ofQueue name: String) -> RequestID? {
        guard name.utf8.count == 38, name.utf8.starts(with: "b-".utf8) else { return nil }
        return RequestID(String(name.dropFirst(2)))
    }

    // MARK: Input

    /// Batches were made.
    package mutating func added(batches: Int64, items: Int64) {
        counts.batches += batches
        counts.openBatches += batches
        counts.items += items
    }

    /// Whether more batches may follow.
    package var acceptsInput: Bool { isClaimable && !isInputComplete }

    /// Its input is complete. Without a batch it ends at once: nothing is left to do.
    package mutating func completeInput(now: Timestamp) {
        isInputComplete = true
        guard counts.batches == 0 else { return }
        status = .succeeded
        endedAt = now
    }

    // MARK: Deliveries

    /// A claim began to deliver batches, or the call after the last one.
    package mutating func began(batches: Int64, items: Int64, now: Timestamp) {
        counts.deliveredBatches += batches
        counts.itemsInProgress += items
        guard status != .running else { return }
        status = .running
        runningSince = now
        reason = nil
    }

    /// A batch in delivery is in the queue again.
    package mutating func returned(items: Int64) {
        counts.deliveredBatches -= 1
        counts.itemsInProgress -= items
    }

    /// The delivery of a batch ended.
    ///
    /// - Parameters:
    ///   - items: what was delivered.
    ///   - attempts: the deliveries of the batch that counted, with this one.
    /// - Returns: the lines with their numbers.
    package mutating func ended(_ outcome: BatchOutcome, items: Int64, attempts: Int) -> [RecordedLine] {
        returned(items: items)
        var failedItems: Int64 = 0
        var lines: [RecordedLine] = []
        lines.reserveCapacity(outcome.lines.count)
        for line in outcome.lines {
            counts.lines += 1
            lines.append(RecordedLine(number: counts.lines, attempts: attempts, line: line))
            switch line.verdict {
            case .succeeded: counts.itemsSucceeded += Int64(line.items.count)
            case .failed: failedItems += Int64(line.items.count)
            }
        }
        counts.itemsFailed += failedItems
        var isSuccess = false
        if case .ended = outcome.next {
            counts.openBatches -= 1
            isSuccess = failedItems == 0
            if !isSuccess { counts.failedBatches += 1 }
        }
        if isSuccess {
            counts.deliveriesSucceeded += 1
            // Stores keep whole microseconds.
            counts.busy += .microseconds(outcome.duration.wholeMicroseconds)
        } else {
            counts.deliveriesFailed += 1
        }
        return lines
    }

    /// Whether the call after the last batch is due (contract B11).
    package var isCompletionDue: Bool {
        isClaimable && isInputComplete && completion == nil && counts.batches > 0 && counts.openBatches == 0
    }

    /// The call after the last batch ended. Unless the job is being stopped, it ends with it.
    package mutating func ended(by completion: JobCompletion, now: Timestamp) {
        self.completion = completion
        guard isClaimable else { return }
        if case .failed(let failure) = completion {
            reason = "on-job-complete failed: \(failure.message)"
        } else if counts.itemsFailed > 0 {
            reason = "\(counts.itemsFailed) of \(counts.items) items failed"
        } else {
            reason = nil
        }
        status = reason == nil ? .succeeded : .completedWithFailures
        endedAt = now
    }

    // MARK: Status

    /// Changes the status, or only the reason.
    ///
    /// - Returns: `false` when the change is not allowed; then nothing was changed.
    package mutating func change(to new: JobStatus, reason: String?, now: Timestamp) -> Bool {
        guard status.isOpen else { return false }
        if new != status {
            guard new.origins.contains(status), stop == nil || stop?.status == new else { return false }
            if !new.isOpen {
                guard counts.openBatches == 0, completion != .running else { return false }
                endedAt = now
            }
            if new == .running { runningSince = now }
            status = new
        }
        self.reason = reason ?? (new.isOpen ? nil : stop?.reason)
        return true
    }

    /// Records that it is to be stopped; a second stop changes nothing.
    ///
    /// - Returns: `false` when it is not open, or cannot get the status of `stop`; then nothing was changed.
    package mutating func stop(by stop: JobStop) -> Bool {
        guard status.isOpen else { return false }
        guard self.stop == nil else { return true }
        guard !stop.status.isOpen, stop.status.origins.contains(status) else { return false }
        self.stop = stop
        return true
    }

    /// An open batch was cancelled.
    package mutating func cancelled(items: Int64, isDelivered: Bool) {
        if isDelivered { returned(items: items) }
        counts.openBatches -= 1
        counts.itemsCancelled += items
    }

    /// The call after the last batch was cancelled.
    package mutating func cancelledCompletion() { completion = nil }

    /// The requests of its queue that have not ended, with the call after the last batch.
    package var openRequests: Int { Int(counts.openBatches) + (completion == .running ? 1 : 0) }
}

extension BatchOutcome {
    /// The items that did not succeed, as the lines say: those that are delivered again, or have failed.
    package func unsucceeded(of items: ItemSet) -> ItemSet? {
        items.subtracting(lines.filter(\.isSuccess).map(\.items))
    }

    /// Whether its lines and its remainder fit the items that were delivered: with an end each item is in exactly one
    /// line; with a retry there are only successes, and the others are the remainder.
    package func fits(_ items: ItemSet) -> Bool {
        switch next {
        case .ended:
            guard items.subtracting(lines.map(\.items))?.isEmpty == true else { return false }
            guard let remainder else { return true }
            return unsucceeded(of: items) == remainder.items && !remainder.items.isEmpty
        case .retry:
            guard lines.allSatisfy(\.isSuccess), let rest = unsucceeded(of: items), !rest.isEmpty else { return false }
            return remainder.map { $0.items == rest } ?? lines.isEmpty
        }
    }

    /// The error of an outcome that does not fit.
    package static var misfit: PlatformError {
        PlatformError(.internal, "The results of a batch do not fit its items. Report this; nothing was recorded.")
    }
}

extension ResultLine {
    package var isSuccess: Bool {
        if case .succeeded = verdict { true } else { false }
    }

    package var failure: RequestFailure? {
        if case .failed(let failure) = verdict { failure } else { nil }
    }
}

/// How a delivery from the queue of a job ended, for every ``Outcome``.
package enum JobDeliveryEnd: Sendable, Hashable {
    case batch(BatchOutcome)
    case completion(JobCompletion)
    /// The call after the last batch is made again.
    case retriedCompletion(notBefore: Timestamp)
    case interrupted

    /// - Returns: `nil` for an outcome that the request at this place cannot have.
    package init?(_ outcome: Outcome, of place: BatchPlace) {
        switch outcome {
        case .interrupted: self = .interrupted
        case .batch(let outcome):
            guard !place.isCompletion else { return nil }
            self = .batch(outcome)
        case .completion(let completion):
            guard place.isCompletion, completion != .running else { return nil }
            self = .completion(completion)
        case .completed(let reply):
            let line = ResultLine(items: place.items, verdict: .succeeded(reply: reply, isSplit: false))
            self =
                place.isCompletion
                ? .completion(.succeeded) : .batch(BatchOutcome(lines: [line], next: .ended, duration: .zero))
        case .failed(let failure):
            let line = ResultLine(items: place.items, verdict: .failed(failure))
            self =
                place.isCompletion
                ? .completion(.failed(failure)) : .batch(BatchOutcome(lines: [line], next: .ended, duration: .zero))
        case .retry(let failure, let notBefore):
            self =
                place.isCompletion
                ? .retriedCompletion(notBefore: notBefore)
                : .batch(BatchOutcome(lines: [], next: .retry(failure, notBefore: notBefore), duration: .zero))
        }
    }
}

extension JobStop {
    /// The stop of the jobs of an API that is deleted.
    package static var apiDeleted: JobStop { JobStop(status: .stopped, reason: "its API was deleted") }
}

extension Job {
    /// The error of batches for an API that is not deployed.
    package static var unknownAPI: PlatformError {
        PlatformError(.notFound, "The API of this job is not deployed. Deploy it, then submit the job again.")
    }

    /// The error of a job or a batch whose id exists.
    package static var idIsUsed: PlatformError {
        PlatformError(.conflict, "A job or a batch with this id exists already. Submit the job with a new id.")
    }
}

extension StoredBatch.State {
    /// - Returns: `nil` for a batch that succeeded.
    package init?(_ status: RequestStatus) {
        switch status {
        case .inQueue: self = .inQueue
        case .inProgress: self = .inProgress
        case .failed: self = .failed
        case .cancelled: self = .cancelled
        case .completed: return nil
        }
    }
}

extension JobRun {
    /// What becomes of a run when another one with the same worker and attempt is saved.
    package enum Replacement: Sendable, Hashable {
        /// It is that run; nothing changes.
        case same
        /// It gets the new state.
        case change
        /// It was lost, and the new run follows it.
        case next
        /// It has ended, and does not change.
        case refused
    }

    package func replacement(by run: JobRun) -> Replacement {
        if self == run { return .same }
        if !status.isEnded { return .change }
        return status == .lost && pod != run.pod ? .next : .refused
    }
}

extension JobFile {
    /// The bytes that are kept.
    package var body: Body? {
        if case .kept(let body, _) = content { body } else { nil }
    }

    /// What a file has in common with the one whose place it takes.
    package struct Place: Sendable, Hashable {
        package let kind: Kind
        package let worker: Int
        package let attempt: Int
        /// Two names that look the same are two files.
        private let path: [UInt8]

        package init(kind: Kind, worker: Int, attempt: Int, path: String) {
            self.kind = kind
            self.worker = worker
            self.attempt = attempt
            self.path = Array(path.utf8)
        }
    }

    package var place: Place { Place(kind: kind, worker: worker, attempt: attempt, path: path) }

    /// By worker, attempt and the bytes of the path.
    package static func isOrderedBefore(_ left: JobFile, _ right: JobFile) -> Bool {
        guard (left.worker, left.attempt) == (right.worker, right.attempt) else {
            return (left.worker, left.attempt) < (right.worker, right.attempt)
        }
        return left.path.utf8.lexicographicallyPrecedes(right.path.utf8)
    }
}
