import Client
import Core
import Foundation
import NIOCore
import Support
import Wire

/// How `submit`, `result` and `retry` wait for jobs and print them.
struct JobOutput {
    let context: CommandContext
    let format: OutputFormat
    let api: String

    /// Prints what a submission answered: the job's id, or the document.
    func printReceipt(_ receipt: JobReceipt) throws {
        noteIgnored(receipt)
        try printVerbatim(receipt.document) { "\(receipt.id)" }
    }

    /// Names the members of a submission that the platform does not know: they may be misspelt.
    func noteIgnored(_ receipt: JobReceipt) {
        guard !receipt.ignoredFields.isEmpty else { return }
        let fields = receipt.ignoredFields.joined(separator: ", ").inOneLine
        context.console.note("warning: these fields of the submission are not known and were ignored: \(fields)")
    }

    /// Waits for the end of a job with a line of progress on standard error: redrawn on a terminal, else a new line
    /// every 10 s.
    func wait(_ id: RequestID, _ jobs: JobClient, limit: Duration?, isKnown: Bool) async throws -> JobSnapshot {
        let console = context.console
        let line = ProgressLine(console)
        defer { line.clear() }
        var progress = JobProgress()
        return try await WaitInterruption.withHint(console, Self.waitHint(api, id)) {
            try await jobs.wait(
                id, limit: limit, period: .seconds(console.hasErrorTerminal ? 1 : 10), isKnown: isKnown
            ) { snapshot in
                let text = progress.line(snapshot.job, now: context.clock.instant())
                if console.hasErrorTerminal { line.show(text) } else { console.note(text.inOneLine) }
            }
        }
    }

    /// - Throws: an error for exit status 1: the job did not succeed, or has not ended after waiting.
    func check(_ snapshot: JobSnapshot, hasWaited: Bool) throws {
        let status = snapshot.job.jobStatus
        let reason = status.reason.map { ": \($0.inOneLine)" } ?? ""
        switch status.status {
        case .succeeded: return
        case .pending, .enqueuing, .running:
            guard hasWaited else { return }
            throw PlatformError(
                .timedOut,
                "job \(status.jobID) is still \(status.status.words)\(reason)\n\(Self.waitHint(api, status.jobID))")
        default:
            var text = "job \(status.jobID) ended as \(status.status.words)\(reason)"
            if case .batch(let batch) = status, batch.itemCounts.failed > 0 {
                text += "\nsee the failed items with: cortex results \(api) \(status.jobID) --failed"
            }
            text += "\nsee what the workers wrote with: cortex logs \(api) \(status.jobID)"
            text += "\nrun the rest again with: cortex retry \(api) \(status.jobID)"
            throw PlatformError(.containerFailed, text)
        }
    }

    /// The command that waits for a job that has not ended.
    static func waitHint(_ api: String, _ id: RequestID) -> String {
        "the job continues; wait for it: cortex result \(api) \(id) --wait"
    }

    /// Runs a call that names a job; if there is no such job, the error names the command that lists them.
    static func findingJob<Result: Sendable>(_ api: String, _ call: () async throws -> Result) async throws -> Result {
        do {
            return try await call()
        } catch let error as PlatformError where error.code == .notFound {
            throw PlatformError(
                .notFound, "\(error.message)\nsee those there are with: cortex jobs \(api)", cause: error)
        }
    }

    /// Prints a document of the platform: byte for byte as JSON, with its values as YAML. On a terminal with escapes
    /// for what could steer it (contract N8).
    func printVerbatim(_ document: ByteBuffer, pretty: () throws -> String) throws {
        try context.console.print(try text(of: document, pretty: pretty))
    }

    func text(of document: ByteBuffer, pretty: () throws -> String) throws -> String {
        switch format {
        case .pretty: try pretty()
        case .json: String(buffer: document)
        case .yaml: try AnswerDecoder.decode(JSONValue.self, from: Data(buffer: document)).yaml()
        }
    }
}

/// The progress of a job in one line, with an estimate of the time that is left.
struct JobProgress {
    /// The first time that a part of the work had ended, and how much.
    private var first: (at: Instant, done: Double)?

    private static let leastTime: Duration = .seconds(2)

    mutating func line(_ job: JobDocument, now: Instant) -> String {
        let status = job.jobStatus
        let reason = status.reason.map { " (\($0))" } ?? ""
        guard status.status != .pending else { return "pending\(reason)" }
        switch job {
        case .batch(let document): return batch(document.jobStatus, now: now) + reason
        case .task(let document): return task(document.jobStatus, now: now) + reason
        }
    }

    private mutating func batch(_ status: BatchJobStatusDocument, now: Instant) -> String {
        let items = status.itemCounts
        let ended = Double(items.succeeded + items.failed + items.cancelled)
        let total = status.totalBatchCount
        // All batches but the last one have the same size.
        let done = items.total == 0 ? 0 : Int64((Double(total) * ended / Double(items.total)).rounded(.down))
        let unit =
            items.total == total || items.failed == 0 ? "failed" : items.failed == 1 ? "item failed" : "items failed"
        let text = "\(done)/\(total) batches, \(items.failed) \(unit)"
        if status.isEnqueuing { return "\(text), the input is being listed" }
        return text + left(done: ended, of: Double(items.total), now: now)
    }

    private mutating func task(_ status: TaskJobStatusDocument, now: Instant) -> String {
        let running = Set(status.attempts.filter { $0.status == .running }.map(\.worker)).count
        let succeeded = Set(status.attempts.filter { $0.status == .succeeded }.map(\.worker)).count
        let workers = status.workers == 1 ? "running" : "\(running) running, \(succeeded)/\(status.workers) succeeded"
        guard let progress = status.progress.flatMap(Self.progress) else { return workers }
        let message = progress.message.map { ", \($0)" } ?? ""
        guard let done = progress.done, let total = progress.total, total > 0 else { return workers + message }
        return "\(workers), \(Self.text(done))/\(Self.text(total))\(message)" + left(done: done, of: total, now: now)
    }

    private mutating func left(done: Double, of total: Double, now: Instant) -> String {
        guard let first else {
            if done > 0 { first = (now, done) }
            return ""
        }
        let elapsed = now - first.at
        guard elapsed >= Self.leastTime, done > first.done, done < total else { return "" }
        let seconds = Int64((elapsed.inSeconds * (total - done) / (done - first.done)).rounded(.up))
        switch seconds {
        case ..<60: return ", about \(seconds)s left"
        case ..<3600: return ", about \((seconds + 59) / 60)m left"
        default: return ", about \(seconds / 3600)h\(seconds % 3600 / 60)m left"
        }
    }

    /// The sum of the workers' `done` and `total`; the message of the only worker.
    private static func progress(_ value: VerbatimJSON) -> (done: Double?, total: Double?, message: String?)? {
        switch value {
        case .value(.object(let members)):
            var message: String?
            if case .string(let text)? = members["message"] { message = text }
            return (number(members["done"]), number(members["total"]), message)
        case .value(.array(let elements)):
            let workers = elements.compactMap { progress(.value($0)) }
            guard !workers.isEmpty, workers.allSatisfy({ $0.done != nil && $0.total != nil }) else { return nil }
            return (workers.reduce(0) { $0 + ($1.done ?? 0) }, workers.reduce(0) { $0 + ($1.total ?? 0) }, nil)
        default: return nil
        }
    }

    private static func number(_ value: JSONValue?) -> Double? {
        switch value {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    private static func text(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    }
}
