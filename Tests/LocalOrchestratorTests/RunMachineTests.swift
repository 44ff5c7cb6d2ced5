import Core
import Testing

@testable import LocalOrchestrator

@Suite("The machine of a run")
struct RunMachineTests {
    private static let start = Timestamp(seconds: 1000)

    private static func plan(timeout: Duration? = nil) -> RunPlan {
        RunPlan(
            pod: "t-j-0-a", api: OrchestratorFixture.api("task", grace: .seconds(30), containers: 3),
            job: JobContext(jobID: "j", workers: 1), index: 0, attempt: 1, timeout: timeout)
    }

    private static func pod(
        _ states: [ObservedContainer.State] = [.running, .running, .running], endedAt: [Int: Int64] = [:],
        isAlive: Bool = true
    ) -> ObservedPod {
        let containers = zip(["main", "side1", "side2"], states).enumerated().map { index, container in
            ObservedContainer(
                name: container.0, state: container.1, endedAt: endedAt[index].map(Timestamp.init(seconds:)))
        }
        return ObservedPod(
            id: "t-j-0-a", owner: .worker(plan().worker), createdAt: start, isAlive: isAlive, containers: containers)
    }

    private static func exit(_ code: Int, outOfMemory: Bool = false) -> ObservedContainer.State {
        .exited(ContainerExit(code: code, outOfMemory: outOfMemory))
    }

    private static func running(timeout: Duration? = nil) -> RunMachine {
        var machine = RunMachine(plan(timeout: timeout), mayStart: true)
        #expect(machine.handle(.listed(nil), now: start) == [.begin])
        #expect(machine.handle(.listed(nil), now: start).isEmpty)
        #expect(machine.handle(.started, now: start).isEmpty)
        return machine
    }

    private static func end(of machine: RunMachine) -> RunEnd? {
        if case .over(let end) = machine.state { end } else { nil }
    }

    @Test("T2: the first exit decides, the other containers are stopped, and their exit codes do not count")
    func firstExit() {
        var machine = Self.running()
        let later = Self.start + .seconds(60)
        let actions = machine.handle(
            .listed(Self.pod([.running, Self.exit(3), .running], endedAt: [1: 1050])), now: later)
        #expect(actions == [.stopContainers(["main", "side2"], grace: .seconds(30))])
        #expect(Self.end(of: machine) == nil && machine.occupiesMachine)
        #expect(
            machine.handle(
                .listed(
                    Self.pod([Self.exit(143), Self.exit(3), .running], endedAt: [0: 1061, 1: 1050])), now: later)
                == [.stopContainers(["side2"], grace: .seconds(30))])
        #expect(
            machine.handle(
                .listed(
                    Self.pod([Self.exit(143), Self.exit(3), Self.exit(137)], endedAt: [0: 1061, 1: 1050, 2: 1090])),
                now: later
            ).isEmpty)
        #expect(
            Self.end(of: machine)
                == RunEnd(
                    cause: .exit, exit: ContainerExit(code: 3), container: "side1",
                    reason: "container side1 exited with code 3 (see its logs)", endedAt: Timestamp(seconds: 1050)))
        #expect(!machine.occupiesMachine)
    }

    @Test(
        "T2: of several exits the earliest one counts, at the same time the first in the file",
        arguments: [([1040, 1030, 1035], 1), ([1040, 1040, 1040], 0), ([1041, 1040, 1040], 1)] as [([Int64], Int)])
    func order(_ times: [Int64], _ expected: Int) {
        var machine = Self.running()
        let pod = Self.pod(
            [Self.exit(10), Self.exit(11), Self.exit(12)], endedAt: [0: times[0], 1: times[1], 2: times[2]])
        #expect(machine.handle(.listed(pod), now: Self.start + .seconds(100)).isEmpty)
        #expect(Self.end(of: machine)?.exit?.code == 10 + expected)
        #expect(Self.end(of: machine)?.endedAt == Timestamp(seconds: times[expected]))
    }

    @Test("T2: exit code 0 is success, and a container that was killed for memory is oom")
    func verdicts() {
        var machine = Self.running()
        _ = machine.handle(.listed(Self.pod([Self.exit(0), Self.exit(0), Self.exit(0)])), now: Self.start)
        #expect(Self.end(of: machine)?.isSuccess == true && Self.end(of: machine)?.reason == nil)
        machine = Self.running()
        _ = machine.handle(
            .listed(Self.pod([Self.exit(137, outOfMemory: true), Self.exit(0), Self.exit(0)])), now: Self.start)
        #expect(Self.end(of: machine)?.cause == .outOfMemory && Self.end(of: machine)?.isSuccess == false)
    }

    @Test("T9: a timeout ends the attempt; a container that had exited before counts all the same")
    func timeout() {
        var machine = Self.running(timeout: .seconds(60))
        #expect(machine.deadline == Self.start + .seconds(60))
        let late = Self.start + .seconds(60)
        #expect(
            machine.handle(.timedOut, now: late)
                == [.stopContainers(["main", "side1", "side2"], grace: .seconds(30))])
        #expect(machine.deadline == nil)
        var other = machine
        let ends = [Self.exit(143), Self.exit(143), Self.exit(143)]
        _ = machine.handle(.listed(Self.pod(ends, endedAt: [0: 1061, 1: 1062, 2: 1062])), now: late + .seconds(5))
        let end = Self.end(of: machine)
        #expect(end?.cause == .timeout && end?.exit?.code == 143 && end?.endedAt == Timestamp(seconds: 1061))
        #expect(end?.reason == "it ran longer than its timeout of 60 s")
        _ = other.handle(
            .listed(Self.pod([Self.exit(0), Self.exit(143), Self.exit(143)], endedAt: [0: 1059, 1: 1062, 2: 1062])),
            now: late + .seconds(5))
        #expect(Self.end(of: other)?.isSuccess == true)
    }

    @Test("T9: a failing liveness probe ends the attempt with a reason that names it")
    func liveness() {
        var machine = Self.running()
        let reason = "liveness probe of main failed: 500"
        #expect(
            machine.handle(.livenessFailed(reason: reason), now: Self.start)
                == [.stopContainers(["main", "side1", "side2"], grace: .seconds(30))])
        // The stop is repeated while containers run.
        #expect(
            machine.handle(.listed(Self.pod()), now: Self.start)
                == [.stopContainers(["main", "side1", "side2"], grace: .seconds(30))])
        _ = machine.handle(
            .listed(Self.pod([Self.exit(137), Self.exit(143), Self.exit(143)], endedAt: [0: 1003, 1: 1004, 2: 1004])),
            now: Self.start + .seconds(5))
        #expect(Self.end(of: machine)?.cause == .exit && Self.end(of: machine)?.reason == reason)
        #expect(Self.end(of: machine)?.exit?.code == 137)
    }

    @Test("J5: a stop ends a run in every state")
    func stop() {
        var machine = Self.running()
        #expect(
            machine.handle(.stopRequested(grace: .seconds(7)), now: Self.start)
                == [.stopContainers(["main", "side1", "side2"], grace: .seconds(7))])
        let gone = Self.pod([Self.exit(143), Self.exit(143), Self.exit(143)], endedAt: [0: 1001, 1: 1001, 2: 1001])
        _ = machine.handle(.listed(gone), now: Self.start + .seconds(1))
        #expect(Self.end(of: machine)?.cause == .stopped)

        machine = RunMachine(Self.plan(), mayStart: true)
        _ = machine.handle(.listed(nil), now: Self.start)
        #expect(machine.handle(.stopRequested(grace: .zero), now: Self.start) == [.cancelStart])
        #expect(machine.handle(.started, now: Self.start).isEmpty)
        #expect(Self.end(of: machine) == nil)
        _ = machine.handle(.startCancelled, now: Self.start)
        #expect(Self.end(of: machine)?.cause == .stopped)

        machine = RunMachine(Self.plan(), mayStart: false)
        #expect(machine.handle(.stopRequested(grace: .seconds(7)), now: Self.start).isEmpty)
        #expect(
            machine.handle(.listed(Self.pod()), now: Self.start)
                == [.adopt, .stopContainers(["main", "side1", "side2"], grace: .seconds(7))])
        machine = RunMachine(Self.plan(), mayStart: true)
        _ = machine.handle(.stopRequested(grace: .zero), now: Self.start)
        #expect(machine.handle(.listed(nil), now: Self.start).isEmpty)
        #expect(Self.end(of: machine)?.cause == .stopped)
    }

    @Test("T3: a run that was started before and is not listed is lost; one that was only planned starts")
    func resumed() {
        var machine = RunMachine(Self.plan(), mayStart: false)
        #expect(machine.handle(.listed(nil), now: Self.start).isEmpty)
        #expect(Self.end(of: machine)?.cause == .lost)
        machine = RunMachine(Self.plan(), mayStart: true)
        #expect(machine.handle(.listed(Self.pod()), now: Self.start + .seconds(9)) == [.adopt])
        #expect(machine.state == .running && machine.startedAt == Self.start)
    }

    @Test("T3, T10: in a pod that is not alive only an exit with a time is true, otherwise the run is lost")
    func deadPod() {
        let killed = [Self.exit(137), Self.exit(137), Self.exit(137)]
        var machine = Self.running()
        _ = machine.handle(.listed(Self.pod(killed, isAlive: false)), now: Self.start)
        #expect(Self.end(of: machine)?.cause == .lost)
        machine = RunMachine(Self.plan(), mayStart: false)
        _ = machine.handle(
            .listed(Self.pod([Self.exit(137), Self.exit(4), Self.exit(137)], endedAt: [1: 1020], isAlive: false)),
            now: Self.start + .seconds(50))
        let end = Self.end(of: machine)
        #expect(end?.cause == .exit && end?.exit?.code == 4 && end?.endedAt == Timestamp(seconds: 1020))
        // A container engine may go on running containers of such a pod.
        machine = Self.running()
        #expect(
            machine.handle(.listed(Self.pod([.running, .running, .running], isAlive: false)), now: Self.start)
                == [.stopContainers(["main", "side1", "side2"], grace: .zero)])
        _ = machine.handle(.listed(Self.pod(killed, isAlive: false)), now: Self.start)
        #expect(Self.end(of: machine)?.cause == .lost)
    }

    @Test("T3: a start that the end of the platform interrupted is repeated, or the run is lost")
    func interruptedStart() {
        let half = Self.pod([.running, .created, .created])
        var machine = RunMachine(Self.plan(), mayStart: true)
        #expect(machine.handle(.listed(half), now: Self.start) == [.begin])
        machine = RunMachine(Self.plan(), mayStart: false)
        #expect(
            machine.handle(.listed(half), now: Self.start) == [.adopt, .stopContainers(["main"], grace: .seconds(30))])
        _ = machine.handle(.listed(Self.pod([Self.exit(143), .created, .created])), now: Self.start)
        #expect(Self.end(of: machine)?.cause == .lost)
    }

    @Test("T6: only a run that is over is removed")
    func acknowledge() {
        var machine = Self.running()
        #expect(machine.handle(.acknowledged, now: Self.start).isEmpty)
        _ = machine.handle(.listed(Self.pod([Self.exit(0), Self.exit(0), Self.exit(0)])), now: Self.start)
        // It stays over whatever the engine lists.
        #expect(machine.handle(.listed(nil), now: Self.start).isEmpty)
        #expect(machine.handle(.acknowledged, now: Self.start) == [.remove])
        #expect(machine.handle(.acknowledged, now: Self.start).isEmpty)
    }
}
