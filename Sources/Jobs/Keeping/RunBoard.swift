import Core
import Synchronization

/// The newest states of all runs, as the orchestrator reports them. Safe from any thread.
final class RunBoard: Sendable {
    private let states = Mutex<[String: [String: RunState]]>([:])

    /// The runs of a job by their pods.
    func runs(of job: RequestID) -> [String: RunState] { states.withLock { $0[job.description] ?? [:] } }

    /// - Returns: the jobs of which something changed.
    func update(_ runs: [RunState]) -> Set<RequestID> {
        var next: [String: [String: RunState]] = [:]
        for run in runs { next[run.worker.jobID, default: [:]][run.pod] = run }
        return states.withLock { states in
            let changed = Set(states.keys).union(next.keys).filter { states[$0] != next[$0] }
            states = next
            return Set(changed.compactMap { RequestID($0) })
        }
    }
}
