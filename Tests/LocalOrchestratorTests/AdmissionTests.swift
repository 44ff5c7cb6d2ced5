import Core
import TestSupport
import Testing

@testable import LocalOrchestrator

@Suite("Capacity: which replicas may start")
struct AdmissionTests {
    private let now = Instant(seconds: 1000)

    private func candidate(_ id: String, of api: String, mem: Int64, waits: Int64 = 0) -> Admission.Candidate {
        Admission.Candidate(
            id: id, api: api, amount: ComputeAmount(memory: mem << 20), since: now - .seconds(waits))
    }

    private func verdict(
        _ waiting: [Admission.Candidate], running: [String: Int] = [:], total: Int64 = 100, taken: Int64 = 0
    ) -> Admission.Verdict {
        Admission.verdict(
            waiting, running: running,
            capacity: Capacity(
                total: ComputeAmount(cpu: 2000, memory: total << 20), reserved: ComputeAmount(memory: taken << 20)),
            now: now)
    }

    @Test("C12: what fits starts, what does not says what is lacking")
    func fits() {
        let result = verdict([candidate("a", of: "a", mem: 60), candidate("b", of: "b", mem: 60)])
        #expect(result.admitted == ["a"])
        #expect(
            result.reasons == ["b": "waits for room: it declares 60Mi of mem, 60Mi of this machine's 100Mi are taken"])
    }

    @Test("C12: what is not declared is never lacking; a machine whose size is not known holds nothing back")
    func undeclared() {
        #expect(verdict([candidate("a", of: "a", mem: 0)], taken: 400).admitted == ["a"])
        let unknown = Admission.verdict(
            [candidate("a", of: "a", mem: 1 << 30)], running: [:], capacity: nil, now: now)
        #expect(unknown.admitted == ["a"])
    }

    @Test("C12: whoever has fewest replicas comes first, then who has waited longest")
    func order() {
        let waiting = [
            candidate("a1", of: "a", mem: 30, waits: 90), candidate("a2", of: "a", mem: 30, waits: 90),
            candidate("b1", of: "b", mem: 30, waits: 10), candidate("b2", of: "b", mem: 30, waits: 10),
        ]
        #expect(verdict(waiting).admitted == ["a1", "b1", "a2"])
        #expect(verdict(waiting, running: ["a": 1]).admitted == ["b1", "a1", "b2"])
    }

    @Test("J9: replicas and workers that wait take turns, whatever each has already; lower indexes come first")
    func turns() {
        func worker(_ index: Int) -> Admission.Candidate {
            var worker = candidate("w\(index)", of: "batch", mem: 20, waits: 90)
            worker.isWorker = true
            worker.index = index
            return worker
        }
        let waiting =
            [worker(10), worker(9), worker(2)] + ["a", "b"].map { candidate($0, of: "api", mem: 20, waits: 1) }
        #expect(verdict(waiting, running: ["api": 50, "batch": 1]).admitted == ["a", "w2", "b", "w9", "w10"])
        // The turn is remembered between calls.
        func next(_ last: Bool?) -> Admission.Verdict {
            Admission.verdict(
                waiting, running: ["api": 1], capacity: Capacity(total: ComputeAmount(memory: 20 << 20)),
                wasWorkerLast: last, now: now)
        }
        #expect(next(nil).admitted == ["a"] && next(nil).wasWorkerLast == false)
        #expect(next(false).admitted == ["w2"] && next(false).wasWorkerLast == true)
        #expect(next(true).admitted == ["a"])
    }

    @Test("J9: small workers do not delay a large replica for ever, nor the reverse", arguments: [true, false])
    func turnsOfLargeOnes(_ isLargeWorker: Bool) {
        func admitted(waits: Int64) -> Admission.Verdict {
            var large = candidate("large", of: "large", mem: 80, waits: waits)
            var small = candidate("small", of: "small", mem: 20, waits: 5)
            large.isWorker = isLargeWorker
            small.isWorker = !isLargeWorker
            return Admission.verdict(
                [large, small], running: ["small": 3, "large": 9],
                capacity: Capacity(
                    total: ComputeAmount(memory: 100 << 20), reserved: ComputeAmount(memory: 60 << 20)),
                wasWorkerLast: !isLargeWorker, now: now)
        }
        #expect(admitted(waits: 30).admitted == ["small"])
        #expect(admitted(waits: 60).admitted.isEmpty)
        #expect(admitted(waits: 60).reasons["small"] == "waits for room: it is the turn of large")
    }

    @Test("C12: a small one may pass a large one that does not fit, but not for ever where it has replicas already")
    func aging() {
        let large = { (waits: Int64) in candidate("large", of: "large", mem: 80, waits: waits) }
        let small = candidate("small", of: "small", mem: 20, waits: 5)
        #expect(verdict([large(30), small], running: ["small": 3], taken: 60).admitted == ["small"])
        let late = verdict([large(60), small], running: ["small": 3], taken: 60)
        #expect(late.admitted == [] && late.reasons["small"] == "waits for room: large has none yet and comes first")
        #expect(verdict([large(60), small], taken: 60).admitted == ["small"], "who has none is not held back")
        #expect(verdict([large(400), small], taken: 60).admitted == [], "but for every other five minutes")
        #expect(verdict([large(700), small], taken: 60).admitted == ["small"])
        let impossible = candidate("large", of: "large", mem: 500, waits: 600)
        #expect(verdict([impossible, small], running: ["small": 3], taken: 60).admitted == ["small"])
    }

    @Test("C12: never more than there is, and every API gets its first replica, by seeds", arguments: 0..<60)
    func property(_ seed: Int) {
        var generator = SeededGenerator(seed: UInt64(seed))
        let total = Int64(256)
        var sizes: [String: Int64] = [:]
        for index in 0..<4 { sizes["api\(index)"] = Int64.random(in: 16...total, using: &generator) }
        var running: [(api: String, id: String)] = []
        var waiting: [Admission.Candidate] = []
        var served: Set<String> = []
        var made = 0
        var now = now
        for _ in 0..<400 {
            now = now + .seconds(5)
            // Every API always wants more replicas, and replicas end gradually.
            for (api, size) in sizes.sorted(by: { $0.key < $1.key }) where waiting.count(where: { $0.api == api }) < 2 {
                made += 1
                waiting.append(
                    .init(id: "r\(made)", api: api, amount: ComputeAmount(memory: size), since: now))
            }
            if let gone = running.indices.randomElement(using: &generator) { running.remove(at: gone) }
            let taken = running.reduce(0) { $0 + (sizes[$1.api] ?? 0) }
            let result = Admission.verdict(
                waiting, running: running.reduce(into: [:]) { $0[$1.api, default: 0] += 1 },
                capacity: Capacity(
                    total: ComputeAmount(memory: total), reserved: ComputeAmount(memory: taken)), now: now)
            for id in result.admitted {
                guard let index = waiting.firstIndex(where: { $0.id == id }) else { continue }
                let candidate = waiting.remove(at: index)
                running.append((candidate.api, id))
                served.insert(candidate.api)
            }
            #expect(running.reduce(0) { $0 + (sizes[$1.api] ?? 0) } <= total, "seed \(seed)")
            #expect(waiting.allSatisfy { result.reasons[$0.id] != nil }, "seed \(seed)")
        }
        #expect(served == Set(sizes.keys), "seed \(seed)")
    }
}

@Suite("Capacity: reserving")
struct ComputeAmountTests {
    @Test("C12: a pod reserves what its containers declare; the default share of cpu is nobody's reservation")
    func reserved() {
        let containers = [
            ContainerSpecification(name: "a", compute: Compute(cpu: Quantity("1500m"), mem: Quantity("64Mi"), gpu: 1)),
            ContainerSpecification(name: "b"),
            ContainerSpecification(name: "c", compute: Compute(cpu: nil, mem: Quantity("1Gi"))),
        ]
        #expect(
            ComputeAmount(reservedBy: PodSpecification(containers: containers))
                == ComputeAmount(cpu: 1500, memory: 1088 << 20, gpu: 1))
    }

    @Test("C12: sums saturate")
    func saturates() {
        let huge = ComputeAmount(cpu: .max, memory: .max, gpu: .max)
        #expect(huge + ComputeAmount(cpu: 1, memory: 1, gpu: 1) == huge)
        #expect(Capacity(total: ComputeAmount(memory: 5), reserved: huge).lack(for: ComputeAmount(memory: 1)) != nil)
    }
}
