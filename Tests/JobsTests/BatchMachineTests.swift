import Core
import Testing

@testable import Jobs

@Suite("Decisions of a Batch job")
struct BatchMachineTests {
    private func facts(
        _ job: Job, _ workers: [WorkerStatus] = [], _ change: (inout BatchMachine.Facts) -> Void = { _ in }
    )
        -> BatchMachine.Facts
    {
        var facts = BatchMachine.Facts(
            job: job, workers: workers, hasTurn: true, isDeclared: !workers.isEmpty, isListing: false,
            withoutWorker: .zero, now: JobPlan.now)
        change(&facts)
        return facts
    }

    private func ready(_ index: Int, inFlight: Int = 0) -> WorkerStatus {
        WorkerStatus(index: index, pod: "p\(index)", state: .ready, wasEverReady: true, inFlight: inFlight)
    }

    private func failing(_ index: Int, failures: Int, reason: String = "exit code 1") -> WorkerStatus {
        WorkerStatus(index: index, pod: "p\(index)", state: .failed, failures: failures, reason: reason)
    }

    @Test("B12: as many workers as the submission names, but no more than there are batches")
    func count() {
        #expect(
            BatchMachine.decide(facts(JobPlan.batchJob(workers: 9, batches: 4, status: .pending))) == [
                .declare(count: 4)
            ])
        #expect(
            BatchMachine.decide(facts(JobPlan.batchJob(workers: 3, batches: 4, status: .pending))) == [
                .declare(count: 3)
            ])
    }

    @Test("J5: after a restart, a job that is being stopped ends only when the workers of before are known to be gone")
    func stopAfterRestart() {
        var job = JobPlan.batchJob(workers: 3)
        job.stop = JobStop(status: .stopped, reason: "by its caller")
        func decide(_ workers: [WorkerStatus], isKnown: Bool, isDeclared: Bool) -> [BatchMachine.Action] {
            BatchMachine.decide(
                facts(job, workers) {
                    $0.areWorkersKnown = isKnown
                    $0.isDeclared = isDeclared
                })
        }
        #expect(decide([], isKnown: false, isDeclared: false) == [.takeOver(count: 3)])
        #expect(decide([], isKnown: false, isDeclared: true) == [])
        #expect(decide([ready(1)], isKnown: true, isDeclared: true) == [.dismiss])
        #expect(decide([], isKnown: true, isDeclared: false) == [.cancelRest])
    }

    @Test("J9: a job without a turn starts nothing")
    func waits() {
        let job = JobPlan.batchJob(status: .pending)
        #expect(BatchMachine.decide(facts(job) { $0.hasTurn = false }) == [])
    }

    @Test("N2: a job of an API that is held back waits with the reason, and starts when it no longer is")
    func heldBack() {
        var job = JobPlan.batchJob(workers: 2, status: .pending)
        #expect(
            BatchMachine.decide(facts(job) { $0.heldBack = "its volume is gone" }) == [.explain("its volume is gone")])
        job.reason = "its volume is gone"
        #expect(BatchMachine.decide(facts(job) { $0.heldBack = "its volume is gone" }) == [])
        #expect(BatchMachine.decide(facts(job)) == [.declare(count: 2)])
        var listed = JobPlan.batchJob(batches: 0, status: .pending)
        listed.isInputComplete = false
        #expect(BatchMachine.decide(facts(listed) { $0.heldBack = "no" }) == [.explain("no")])
        job.stop = JobStop(status: .stopped, reason: "x")
        #expect(BatchMachine.decide(facts(job) { $0.heldBack = "no" }) == [.cancelRest], "it can be stopped")
    }

    @Test("B4: the input is listed, and workers start with the first batches")
    func listing() {
        var job = JobPlan.batchJob(workers: 9, batches: 0, status: .pending)
        job.isInputComplete = false
        #expect(BatchMachine.decide(facts(job)) == [.list])
        job.status = .enqueuing
        #expect(BatchMachine.decide(facts(job) { $0.isListing = true }) == [])
        job.counts.batches = 1
        job.counts.openBatches = 1
        #expect(BatchMachine.decide(facts(job) { $0.isListing = true }) == [.declare(count: 9)])
    }

    @Test("B12: a worker with nothing inside is released when no batch waits; the last one stays")
    func release() {
        var job = JobPlan.batchJob(workers: 3, batches: 3)
        let workers = [ready(0), ready(1, inFlight: 1), ready(2)]
        job.counts.deliveredBatches = 2
        #expect(BatchMachine.decide(facts(job, workers)) == [], "a batch waits")
        job.counts.openBatches = 1
        job.counts.deliveredBatches = 1
        #expect(BatchMachine.decide(facts(job, workers)) == [.release(worker: 0), .release(worker: 2)])
        job.isInputComplete = false
        #expect(BatchMachine.decide(facts(job, workers) { $0.isListing = true }) == [], "more is being listed")
        job.isInputComplete = true
        job.counts.openBatches = 0
        job.counts.deliveredBatches = 0
        #expect(
            BatchMachine.decide(facts(job, [ready(0), ready(1), ready(2)]))
                == [.release(worker: 1), .release(worker: 2)], "one stays for on-job-complete")
        job.counts.openBatches = 1
        job.counts.deliveredBatches = 1
        #expect(
            BatchMachine.decide(facts(job, [ready(0), ready(1)])) == [], "who holds the batch is not known yet")
    }

    @Test("B12: workers that never became ready end the job after three failures each")
    func neverReady() {
        let job = JobPlan.batchJob(status: .pending)
        #expect(
            BatchMachine.decide(facts(job, [failing(0, failures: 3), failing(1, failures: 2)])).contains {
                if case .stop = $0 { true } else { false }
            } == false)
        let actions = BatchMachine.decide(facts(job, [failing(0, failures: 3), failing(1, failures: 3)]))
        #expect(
            actions == [
                .stop(JobStop(status: .workerError, reason: "no worker has ever been ready: worker 0: exit code 1"))
            ])
        var killed = failing(1, failures: 3)
        killed.wasKilledForMemory = true
        guard case .stop(let stop)? = BatchMachine.decide(facts(job, [failing(0, failures: 3), killed])).first else {
            Issue.record("the job goes on")
            return
        }
        #expect(stop.status == .workerOOM)
    }

    @Test("B7, B12: failures of workers that were ready do not end the job before start_timeout")
    func wasReady() {
        let job = JobPlan.batchJob()
        let workers = [failing(0, failures: 9), failing(1, failures: 9)]
        #expect(BatchMachine.decide(facts(job, workers)) == [.explain("worker 0: exit code 1")])
        let actions = BatchMachine.decide(facts(job, workers) { $0.withoutWorker = .seconds(900) })
        guard case .stop(let stop)? = actions.first else {
            Issue.record("the job goes on")
            return
        }
        #expect(stop.status == .workerError)
        #expect(stop.reason.contains("start_timeout"))
    }

    @Test("J5: a job that is being stopped dismisses its workers first, then cancels the rest")
    func stopping() {
        var job = JobPlan.batchJob()
        job.stop = JobStop(status: .stopped, reason: "stopped by its caller")
        #expect(BatchMachine.decide(facts(job, [ready(0)])) == [.dismiss])
        #expect(BatchMachine.decide(facts(job, [ready(0)]) { $0.hasTurn = false }).first == .dismiss)
        #expect(BatchMachine.decide(facts(job)) == [.cancelRest])
    }

    @Test("J10: the time-out counts from running_since")
    func timeout() {
        var job = JobPlan.batchJob()
        job = Job(
            id: job.id, version: job.version,
            submission: JobSubmission(workers: 1, timeout: .seconds(10), work: .batch(.init(batchSize: 1))),
            createdAt: JobPlan.now - .seconds(100))
        #expect(BatchMachine.deadline(of: job) == nil)
        job.status = .running
        job.runningSince = JobPlan.now - .seconds(9)
        job.counts.batches = 1
        job.counts.openBatches = 1
        #expect(BatchMachine.decide(facts(job, [ready(0)])) == [.look(at: JobPlan.now + .seconds(1))])
        job.runningSince = JobPlan.now - .seconds(10)
        guard case .stop(let stop)? = BatchMachine.decide(facts(job, [ready(0)])).first else {
            Issue.record("the job goes on")
            return
        }
        #expect(stop.status == .timedOut)
    }

    @Test("B13: more failed batches than allowed stop the rest")
    func failureLimit() {
        var job = JobPlan.batchJob()
        job = Job(
            id: job.id, version: job.version,
            submission: JobSubmission(workers: 1, work: .batch(.init(batchSize: 1, maxFailedBatches: 2))),
            createdAt: JobPlan.now)
        job.status = .running
        job.counts.batches = 9
        job.counts.openBatches = 6
        job.counts.failedBatches = 2
        #expect(BatchMachine.decide(facts(job, [ready(0)])) == [])
        job.counts.failedBatches = 3
        guard case .stop(let stop)? = BatchMachine.decide(facts(job, [ready(0)])).first else {
            Issue.record("the job goes on")
            return
        }
        #expect(stop.status == .completedWithFailures)
    }

    @Test("J4: a reason goes away when a worker works again")
    func reason() {
        var job = JobPlan.batchJob()
        job.reason = "worker 0: exit code 1"
        #expect(BatchMachine.decide(facts(job, [ready(0, inFlight: 1), ready(1, inFlight: 1)])) == [.explain(nil)])
    }

    @Test("J4: an ended job only dismisses what is left of it", arguments: JobStatus.allCases.filter { !$0.isOpen })
    func ended(status: JobStatus) {
        let job = JobPlan.batchJob(status: status)
        #expect(BatchMachine.decide(facts(job, [ready(0)])) == [.dismiss])
        #expect(BatchMachine.decide(facts(job)) == [])
    }
}
