import Core
import Support
import TestSupport
import Testing

@Suite("C11, C13: requests inside a replica")
struct ReplicaActivityTests {
    @Test("C11: never more than max_concurrency are granted")
    func limit() {
        let activity = LocalReplicaActivity()
        #expect(activity.begin(upTo: 5, maxConcurrency: 3) == 3)
        #expect(activity.begin(upTo: 5, maxConcurrency: 3) == 0)
        activity.end(2)
        #expect(activity.inFlight == 1)
        #expect(activity.begin(upTo: 1, maxConcurrency: 3) == 1)
        // A new version may allow fewer than are inside.
        #expect(activity.begin(upTo: 5, maxConcurrency: 1) == 0)
        #expect(activity.begin(upTo: -1, maxConcurrency: 9) == 0)
    }

    @Test("S2: the youngest start is that of the requests that are still inside")
    func youngestStart() {
        let activity = LocalReplicaActivity()
        #expect(activity.begin(upTo: 3, maxConcurrency: 3) == 3)
        #expect(activity.youngestStart == nil, "asked for, but not begun")
        activity.started(2, at: Instant(seconds: 5))
        activity.started(at: Instant(seconds: 9))
        #expect(activity.youngestStart == Instant(seconds: 9))
        activity.end(startedAt: Instant(seconds: 9))
        #expect(activity.youngestStart == Instant(seconds: 5) && activity.inFlight == 2)
        activity.end(startedAt: Instant(seconds: 5))
        activity.end(startedAt: Instant(seconds: 5))
        #expect(activity.youngestStart == nil && activity.inFlight == 0)
    }

    @Test("C11: nor when many ask at once")
    func concurrent() async {
        let activity = LocalReplicaActivity()
        let granted = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<200 { group.addTask { activity.begin(upTo: 3, maxConcurrency: 100) } }
            return await group.reduce(0, +)
        }
        #expect(granted == 100 && activity.inFlight == 100)
    }

    @Test("C13: a closed replica begins nothing; those inside go on")
    func close() {
        let activity = LocalReplicaActivity()
        _ = activity.begin(upTo: 1, maxConcurrency: 2)
        activity.close()
        #expect(activity.isClosed && !activity.isCut)
        #expect(activity.begin(upTo: 1, maxConcurrency: 2) == 0)
        #expect(activity.inFlight == 1)
    }

    @Test("C13: draining ends when the last request leaves")
    func drain() async {
        let activity = LocalReplicaActivity()
        await activity.waitUntilIdle()
        _ = activity.begin(upTo: 2, maxConcurrency: 2)
        activity.close()
        let gone = Recorder()
        await withTaskGroup { group in
            for _ in 0..<3 {
                group.addTask {
                    await activity.waitUntilIdle()
                    #expect(gone.values.count == 2)
                }
            }
            for _ in 0..<2 {
                group.addTask {
                    gone.add(1)
                    activity.end()
                }
            }
        }
        #expect(activity.inFlight == 0)
    }

    @Test("C13: cutting runs each action once, also one that comes too late")
    func cut() {
        let activity = LocalReplicaActivity()
        let runs = Recorder()
        activity.onCut { runs.add(1) }
        activity.cut()
        activity.cut()
        #expect(runs.values == [1])
        activity.onCut { runs.add(10) }
        #expect(runs.values == [1, 10])
        #expect(activity.isCut && activity.isClosed)
    }

    @Test("C13: a cut has a reason, which a later one does not replace")
    func reason() {
        let activity = LocalReplicaActivity()
        #expect(activity.cutReason == nil)
        activity.expectLoss(.livenessProbe("main: HTTP 500"))
        #expect(activity.cutReason == .livenessProbe("main: HTTP 500") && !activity.isCut && !activity.isClosed)
        activity.expectNoLoss()
        #expect(activity.cutReason == nil)
        activity.cut(.diskLimit("the pod used 2 GiB of 1 GiB"))
        activity.cut()
        activity.expectNoLoss()
        #expect(activity.cutReason == .diskLimit("the pod used 2 GiB of 1 GiB"))
    }

    @Test("C13: what a container may have caused itself is never free for a request; a stop always is")
    func costs() {
        #expect(CutReason.stopped.cost == .nothing)
        for reason in [CutReason.livenessProbe("x"), .diskLimit("x"), .diskShortage("x")] {
            #expect(reason.cost == .interruption && reason.remedy != nil)
        }
        #expect(CutReason.outOfMemory(container: "main").cost == .attempt && CutReason.podLost("x").cost == .attempt)
    }

    @Test("C13: waiting for a drain ends with the waiting task")
    func cancelledDrain() async {
        let activity = LocalReplicaActivity()
        _ = activity.begin(upTo: 1, maxConcurrency: 1)
        let waiting = Task { await activity.waitUntilIdle() }
        waiting.cancel()
        await waiting.value
        #expect(activity.inFlight == 1)
    }

    @Test("A drained replica keeps nothing alive that waited for its cut", arguments: [false, true])
    func noLeak(_ isIdleFirst: Bool) {
        final class Held: Sendable {}
        let activity = LocalReplicaActivity()
        weak var held: Held?
        do {
            let object = Held()
            held = object
            activity.onCut { withExtendedLifetime(object) {} }
        }
        _ = activity.begin(upTo: 1, maxConcurrency: 1)
        #expect(held != nil)
        if isIdleFirst {
            activity.end()
            #expect(held != nil, "another request may begin")
            activity.close()
        } else {
            activity.close()
            #expect(held != nil, "a request is inside")
            activity.end()
        }
        #expect(held == nil)
        do {
            let late = Held()
            held = late
            activity.onCut { withExtendedLifetime(late) {} }
        }
        #expect(held == nil)
    }
}
