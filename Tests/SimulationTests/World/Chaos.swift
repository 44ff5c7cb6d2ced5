import Core
import StoreMemory
import TestSupport

extension World {
    /// The faults that the seed planned, one after the other.
    func wreak() async {
        for (at, event) in scenario.events {
            let wait = at - .microseconds(schedule.elapsed)
            if wait > .zero { await pause(wait) }
            guard !isCalm else { return }
            await perform(event)
        }
    }

    private func perform(_ event: Scenario.Event) async {
        switch event {
        case .killPod:
            guard let pod = somePod() else { return }
            history.count(.podDied)
            history.note(pod.id, "dies")
            pod.die()
            engine.tell(pod.id)
        case .exitContainer:
            guard let pod = somePod() else { return }
            history.count(.containerExited)
            pod.exit(code: dice.pick([0, 1, 137]))
        case .deaf(let duration):
            somePod()?.goDeaf(for: duration)
        case .crash:
            history.count(.crash)
            platform?.crash()
            await pause(dice.seconds(0.1...20))
            await startPlatform()
        case .restart:
            history.count(.gracefulRestart)
            await platform?.shutDown()
            await pause(dice.seconds(0.1...5))
            await startPlatform()
        case .jump(let duration):
            history.count(duration > .zero ? .clockForward : .clockBack)
            history.note("clock", "jumps by \(duration)")
            clock.jump(by: duration)
        case .scale(let count):
            history.count(.scaled)
            history.note("operator", "scales to \(count)")
            await scale(to: count)
        case .rollout:
            history.count(.rollout)
            await rollOut()
        case .outage(let duration):
            history.count(.outage)
            history.note("store", "does not answer for \(duration)")
            isStoreOut = true
            schedule.after(duration) { [self] in isStoreOut = false }
        case .ghost(let duration):
            go { [self] in await haunt(duration) }
        }
    }

    private func somePod() -> SimulatedPod? {
        let pods = engine.order.filter(\.isAlive)
        return pods.isEmpty ? nil : dice.pick(pods)
    }

    private func rollOut() async {
        version += 1
        let api = deployedAPI()
        history.note("operator", "deploys version \(version)")
        // The operator stores it first, and has it applied then.
        try? await memory.deploy(api, now: clock.now())
        await platform?.reconcile()
    }

    func scale(to count: Int) async {
        replicas = count
        try? await memory.saveRequestedReplicas(count, of: "api")
        await platform?.reconcile()
    }

    static let ghost = "ghost"

    /// A worker that takes requests and is silent for longer than its leases last.
    private func haunt(_ duration: Duration?) async {
        let store = SimulatedStore(self, run: Self.ghost)
        guard
            let claims = try? await store.claim(
                api: "api", limit: dice.int(1...2), visibility: Limits.lease,
                holder: LeaseHolder(process: Self.ghost, replica: Self.ghost), now: clock.now()),
            !claims.isEmpty
        else { return }
        history.count(.ghost)
        guard let duration else { return }
        await pause(duration)
        for claim in claims {
            let bytes = Array("\"from a ghost, delivery \(ledger.answers.count)\"".utf8)
            ledger.answers.append(.init(id: claim.id, bytes: bytes, isComplete: true, startedAt: schedule.elapsed))
            _ = try? await store.finish(claim.lease, outcome: .completed(.inline(bytes)), now: clock.now())
        }
    }
}
