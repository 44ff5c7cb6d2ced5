import Core
import Testing

@testable import Jobs

@Suite("Decisions of a Task job")
struct TaskMachineTests {
    private typealias Worker = TaskMachine.Worker

    private func facts(
        _ job: Job, _ workers: [TaskMachine.Worker], _ retries: TaskRetryPolicy = .init(), hasTurn: Bool = true
    ) -> TaskMachine.Facts {
        TaskMachine.Facts(job: job, workers: workers, retries: retries, hasTurn: hasTurn, now: JobPlan.now)
    }

    private func run(
        _ status: JobRun.Status, worker: Int = 0, attempt: Int = 1, exitCode: Int? = nil, reason: String? = nil
    ) -> JobRun {
        JobRun(
            worker: worker, attempt: attempt, pod: "t-\(worker)-\(attempt)", status: status, exitCode: exitCode,
            reason: reason, startedAt: JobPlan.now, endedAt: status.isEnded ? JobPlan.now : nil)
    }

    private func worker(_ run: JobRun?, _ phase: RunState.Phase? = nil, isDeclared: Bool = true, reason: String? = nil)
        -> TaskMachine.Worker
    {
        let owner = PodOwner.Worker(
            set: "t", jobID: "job", version: .init(name: "report", apiID: "1", podID: "p", deploymentID: "d"),
            index: run?.worker ?? 0)
        return TaskMachine.Worker(
            index: run?.worker ?? 0, run: run,
            state: phase.map { RunState(pod: run?.pod ?? "", worker: owner, phase: $0, reason: reason) },
            isDeclared: isDeclared && run != nil)
    }

    private let exited = RunEnd(cause: .exit, exit: ContainerExit(code: 3), endedAt: JobPlan.now)

    @Test("T5: every worker gets a run, lower indexes first; without a turn none does")
    func begin() {
        let job = JobPlan.taskJob(workers: 2)
        let workers = [Worker(index: 0), Worker(index: 1)]
        #expect(
            TaskMachine.decide(facts(job, workers)) == [.plan(worker: 0, attempt: 1), .plan(worker: 1, attempt: 1)])
        #expect(TaskMachine.decide(facts(job, workers, hasTurn: false)) == [])
    }

    @Test("T3: a calendar that is set back does not delay the next attempt")
    func setBack() {
        let job = JobPlan.taskJob(status: .running)
        let retries = TaskRetryPolicy(maxAttempts: 2, on: [.exit], backoff: .seconds(10))
        var ended = run(.exit, exitCode: 1)
        ended.endedAt = JobPlan.now + .seconds(3600)
        let actions = TaskMachine.decide(facts(job, [worker(ended)], retries))
        #expect(actions.contains(.plan(worker: 0, attempt: 2)))
        ended.endedAt = JobPlan.now
        let later = TaskMachine.decide(facts(job, [worker(ended)], retries))
        #expect(!later.contains(.plan(worker: 0, attempt: 2)))
    }

    @Test("N2: a job of an API that is held back starts nothing and shows the reason; what runs goes on")
    func heldBack() {
        func decide(_ job: Job, _ workers: [TaskMachine.Worker]) -> [TaskMachine.Action] {
            var facts = facts(job, workers)
            facts.heldBack = "its volume is gone"
            return TaskMachine.decide(facts)
        }
        var job = JobPlan.taskJob()
        let reason = TaskMachine.Action.explain("its volume is gone")
        #expect(decide(job, [Worker(index: 0)]) == [reason])
        #expect(decide(job, [worker(run(.planned), isDeclared: false)]) == [reason])
        #expect(decide(job, [worker(run(.lost))]) == [.run, reason], "it had begun")
        job.reason = "its volume is gone"
        #expect(decide(job, [Worker(index: 0)]) == [])
        #expect(
            TaskMachine.decide(facts(job, [Worker(index: 0)])) == [.plan(worker: 0, attempt: 1), .explain(nil)])
        let running = JobPlan.taskJob(status: .running)
        #expect(decide(running, [worker(run(.running), .running)]) == [])
        #expect(decide(running, [worker(run(.succeeded))]) == [.finish(.succeeded, reason: nil)])
    }

    @Test("J6: after a restart a planned run is started, a running one is taken over")
    func restart() {
        let planned = run(.planned)
        #expect(TaskMachine.decide(facts(JobPlan.taskJob(), [worker(planned, isDeclared: false)])) == [.start(planned)])
        let running = run(.running)
        let job = JobPlan.taskJob(status: .running)
        #expect(TaskMachine.decide(facts(job, [worker(running, isDeclared: false)])) == [.resume(running)])
        var stopped = JobPlan.taskJob()
        stopped.stop = JobStop(status: .stopped, reason: "x")
        #expect(
            TaskMachine.decide(facts(stopped, [worker(planned, isDeclared: false)])) == [.resume(planned)],
            "nothing is started for a job that is being stopped")
    }

    @Test("J4, T2: the first container that runs makes the job running; the end of a run is collected first")
    func running() {
        let planned = run(.planned)
        #expect(TaskMachine.decide(facts(JobPlan.taskJob(), [worker(planned, .running)])) == [.began(planned)])
        let begun = run(.running)
        #expect(TaskMachine.decide(facts(JobPlan.taskJob(), [worker(begun, .running)])) == [.run])
        let job = JobPlan.taskJob(status: .running)
        #expect(TaskMachine.decide(facts(job, [worker(begun, .over(exited))])) == [.collect(begun, exited)])
    }

    @Test("T2: all workers succeeded")
    func success() {
        let job = JobPlan.taskJob(workers: 2, status: .running)
        let done = [worker(run(.succeeded, worker: 0)), worker(run(.succeeded, worker: 1))]
        #expect(TaskMachine.decide(facts(job, done)) == [.finish(.succeeded, reason: nil)])
        #expect(TaskMachine.decide(facts(job, [done[0], worker(run(.running, worker: 1), .running)])) == [])
    }

    @Test("T2: a worker without another attempt ends the job, with its reason; the others are stopped")
    func failure() {
        let job = JobPlan.taskJob(workers: 2, status: .running)
        let failed = worker(run(.exit, worker: 0, exitCode: 3, reason: "exit code 3: bye"))
        let other = run(.running, worker: 1)
        #expect(
            TaskMachine.decide(facts(job, [failed, worker(other, .running)]))
                == [.stop(JobStop(status: .workerError, reason: "worker 0 failed: exit code 3: bye"))])
        var stopping = job
        stopping.stop = JobStop(status: .workerError, reason: "x")
        #expect(TaskMachine.decide(facts(stopping, [failed, worker(other, .running)])) == [.end(other)])
        #expect(
            TaskMachine.decide(facts(stopping, [failed, worker(run(.stopped, worker: 1))]))
                == [.finish(.workerError, reason: "x")])
    }

    @Test(
        "T3: which ends are followed by another attempt",
        arguments: [
            (JobRun.Status.exit, 1, 1, TaskRetryPolicy(maxAttempts: 3, on: [.exit]), 2 as Int?),
            (.exit, 3, 1, TaskRetryPolicy(maxAttempts: 3, on: [.exit]), nil),
            (.exit, 1, 42, TaskRetryPolicy(maxAttempts: 3, on: [.exit], noRetryExitCodes: [42]), nil),
            (.oom, 1, 137, TaskRetryPolicy(maxAttempts: 3, on: [.exit]), nil),
            (.oom, 1, 137, TaskRetryPolicy(maxAttempts: 3, on: [.oom]), 2),
            (.timeout, 2, 137, TaskRetryPolicy(maxAttempts: 3, on: [.timeout]), 3),
            (.lost, 1, 0, TaskRetryPolicy(), 1), (.lost, 1, 0, TaskRetryPolicy(onLost: .fail), nil),
            (.stopped, 1, 143, TaskRetryPolicy(maxAttempts: 9, on: [.exit, .oom, .timeout]), nil),
        ])
    func attempts(status: JobRun.Status, attempt: Int, code: Int, retries: TaskRetryPolicy, next: Int?) {
        let end = run(status, attempt: attempt, exitCode: code)
        switch TaskMachine.next(after: end, retries) {
        case .again(let number, let moment):
            #expect(number == next)
            #expect(moment == JobPlan.now + (status == .lost ? .zero : .seconds(Int64(1 << (attempt - 1)))))
        case .failed: #expect(next == nil)
        case .done: Issue.record("it did not succeed")
        }
    }

    @Test("T3: another attempt waits for the backoff")
    func backoff() {
        let job = JobPlan.taskJob(status: .running)
        let retries = TaskRetryPolicy(maxAttempts: 2, on: [.exit], backoff: .seconds(5))
        #expect(
            TaskMachine.decide(facts(job, [worker(run(.exit, exitCode: 1))], retries))
                == [.look(at: JobPlan.now + .seconds(5))])
        let now = TaskRetryPolicy(maxAttempts: 2, on: [.exit], backoff: .zero)
        #expect(
            TaskMachine.decide(facts(job, [worker(run(.exit, exitCode: 1))], now)) == [.plan(worker: 0, attempt: 2)])
    }

    @Test("T4: a start that keeps failing shows its reason, and ends the job after start_timeout")
    func startTrouble() {
        var trouble = worker(run(.planned), .startFailed, reason: "no such image")
        trouble.state?.failingSince = JobPlan.now - .seconds(899)
        let job = JobPlan.taskJob()
        #expect(TaskMachine.decide(facts(job, [trouble])) == [.explain("no such image")])
        trouble.state?.failingSince = JobPlan.now - .seconds(900)
        guard case .stop(let stop)? = TaskMachine.decide(facts(job, [trouble])).first else {
            Issue.record("the job goes on")
            return
        }
        #expect(stop.status == .unexpectedError)
        #expect(stop.reason.contains("no such image"))
    }
}
