import Core
import TestSupport
import Testing

extension StoreCheck {
    static let jobRuns = [
        StoreCheck("T2, T3: a run is saved with its files until it has ended; one that was lost is followed by another")
        {
            fixture in
            let store = fixture.store
            try await fixture.deployJobs(fixture.taskAPI())
            try await fixture.create(1, batches: 0, of: fixture.taskAPI())
            let id = fixture.id(1)
            func save(_ run: JobRun, _ files: [JobFile] = []) async throws -> Bool {
                try await store.save(run, of: id, files: files, now: fixture.at(1))
            }
            var run = JobRun(worker: 0, attempt: 1, pod: "p1", status: .planned, startedAt: fixture.at(1))
            var hints = HintReader(store.changes([.jobs]))
            #expect(try await save(run))
            try await hints.expect { $0.jobs == [id] }
            run.status = .running
            run.pod = "p2"
            run.startedAt = fixture.at(2)
            #expect(try await save(run))
            #expect(try await store.runs(of: id, limit: 10) == [run])
            run.status = .exit
            run.exitCode = 3
            run.reason = "exit code 3: last line"
            run.endedAt = fixture.at(3)
            let file = JobFile(
                kind: .artifact, worker: 0, attempt: 1, path: "a/b ü", content: .kept(.inline([1, 2]), digest: [7, 8]))
            #expect(try await save(run, [file]))
            #expect(try await save(run, [file]), "a repetition")
            #expect(try await store.files(of: id, kind: .artifact) == [file])
            var changed = run
            changed.exitCode = 0
            changed.status = .succeeded
            #expect(try await !save(changed, [file]))
            changed.pod = "p9"
            #expect(try await !save(changed))
            #expect(try await store.runs(of: id, limit: 10) == [run])

            var lost = JobRun(worker: 1, attempt: 1, pod: "p3", status: .running, startedAt: fixture.at(4))
            #expect(try await save(lost))
            lost.status = .lost
            lost.endedAt = fixture.at(5)
            #expect(try await save(lost))
            lost.reason = "changed"
            #expect(try await !save(lost))
            lost.reason = nil
            let again = JobRun(worker: 1, attempt: 1, pod: "p4", status: .planned, startedAt: fixture.at(6))
            #expect(try await save(again))
            let next = JobRun(worker: 0, attempt: 2, pod: "p5", status: .planned, startedAt: fixture.at(7))
            #expect(try await save(next))
            #expect(try await store.runs(of: id, limit: 10) == [next, again, lost, run])
            #expect(try await store.runs(of: id, limit: 2) == [next, again])
            #expect(try await store.runs(of: fixture.id(2), limit: 2).isEmpty)
            #expect(try await !store.save(next, of: fixture.id(2), files: [], now: fixture.at(1)))
        },
        StoreCheck("T6, J12: files are listed by worker, attempt and path, and a new one takes the place of an old one")
        {
            fixture in
            let store = fixture.store
            try await fixture.deployJobs(fixture.taskAPI())
            for number in 1...2 { try await fixture.create(number, batches: 0, of: fixture.taskAPI()) }
            func file(_ kind: JobFile.Kind, _ worker: Int, _ attempt: Int, _ path: String, _ content: JobFile.Content)
                -> JobFile
            { JobFile(kind: kind, worker: worker, attempt: attempt, path: path, content: content) }
            let old = try await fixture.body(StoreFixture.bytes(100_000))
            let new = try await fixture.body(StoreFixture.bytes(100_001))
            let files = [
                file(.artifact, 0, 1, "B", .kept(.inline([2]), digest: [1])),
                file(.artifact, 0, 1, "a", .omitted(reason: "a link")),
                file(.artifact, 0, 1, "a\nb", .kept(old, digest: [3])),
                // Two names that look the same.
                file(.artifact, 0, 1, "a\u{308}", .kept(.inline([7]), digest: [7])),
                file(.artifact, 0, 1, "\u{E4}", .kept(.empty, digest: [4])),
                file(.artifact, 0, 2, "0", .kept(.inline([5]), digest: [5])),
                file(.artifact, 1, 1, "0", .kept(.inline([6]), digest: [6])),
            ]
            let others = [
                file(.result, 0, 1, "result.json", .kept(.inline(Array("{}".utf8)), digest: [])),
                file(.log, 0, 1, "main", .kept(.inline(Array("log".utf8)), digest: [])),
            ]
            try await store.add(files.reversed() + others, to: fixture.id(1), now: fixture.at(1))
            #expect(try await store.files(of: fixture.id(1), kind: .artifact) == files)
            #expect(try await store.files(of: fixture.id(1), kind: .result) == [others[0]])
            #expect(try await store.files(of: fixture.id(1), kind: .log) == [others[1]])
            #expect(try await store.files(of: fixture.id(2), kind: .artifact).isEmpty)
            var replaced = files
            replaced[2].content = .kept(new, digest: [9])
            replaced[1].content = .kept(.inline([8]), digest: [8])
            replaced[0].content = .omitted(reason: "too large")
            try await store.add(Array(replaced[0...2]), to: fixture.id(1), now: fixture.at(2))
            #expect(try await store.files(of: fixture.id(1), kind: .artifact) == replaced)
            _ = try await store.maintain(now: fixture.at(20))
            #expect(try await fixture.isGone(old))
            #expect(try await fixture.bytes(of: new) == StoreFixture.bytes(100_001))
            // Of no job.
            let lost = try await fixture.body(StoreFixture.bytes(100_002))
            try await store.add(
                [file(.log, 0, 1, "main", .kept(lost, digest: []))], to: fixture.id(3), now: fixture.at(2))
            _ = try await store.maintain(now: fixture.at(40))
            #expect(try await fixture.isGone(lost))
        },
        StoreCheck("T6, N4: tens of thousands of files of one run are saved with its end") { fixture in
            try await fixture.deployJobs(fixture.taskAPI())
            try await fixture.create(1, batches: 0, of: fixture.taskAPI())
            let files = (0..<20_000).map { number in
                JobFile(
                    kind: .artifact, worker: 0, attempt: 1, path: "file-\(10_000 + number)",
                    content: number % 2 == 0 ? .omitted(reason: "a link") : .kept(.inline([1]), digest: [2]))
            }
            // With a search for each file this takes longer than the test may take.
            for _ in 0..<2 { try await fixture.store.add(files, to: fixture.id(1), now: fixture.at(1)) }
            #expect(try await fixture.store.files(of: fixture.id(1), kind: .artifact) == files)
        },
    ]

    static let schedules = [
        StoreCheck("J14: the state of a schedule is saved until it is removed or its API is deleted") { fixture in
            let store = fixture.store
            let state = ScheduleState(
                fingerprint: "cron 0 3 * * * Europe/Berlin", lastPlanned: fixture.at(60), isSuspended: true,
                waiting: fixture.at(120), lastJob: fixture.id(9),
                skips: [
                    .init(plannedAt: fixture.at(50), count: 3, reason: "down"),
                    .init(plannedAt: fixture.at(10), count: 1, reason: "job \(fixture.id(8)) was running"),
                ])
            try await store.save(state, of: "nightly", api: "sum")
            try await fixture.deploySum()
            #expect(try await store.schedules(of: "sum").isEmpty, "nothing was deployed")
            let plain = ScheduleState(fingerprint: "every 1", lastPlanned: fixture.at(0))
            try await store.save(plain, of: "nightly", api: "sum")
            try await store.save(plain, of: "hourly", api: "sum")
            try await store.save(state, of: "nightly", api: "sum")
            #expect(try await store.schedules(of: "sum") == ["nightly": state, "hourly": plain])
            try await fixture.deployJobs(fixture.batchAPI(version: 2))
            #expect(try await store.schedules(of: "sum") == ["nightly": state, "hourly": plain])
            try await store.removeSchedule("hourly", of: "sum")
            try await store.removeSchedule("unknown", of: "sum")
            #expect(try await store.schedules(of: "sum") == ["nightly": state])
            for keep in [true, false] {
                _ = try await store.delete(api: "sum", keepRequests: keep, now: fixture.at(1))
                #expect(try await store.schedules(of: "sum").isEmpty)
                try await fixture.deployJobs(fixture.batchAPI(version: 3))
                #expect(try await store.schedules(of: "sum").isEmpty)
                try await store.save(state, of: "nightly", api: "sum")
            }
        }
    ]
}
