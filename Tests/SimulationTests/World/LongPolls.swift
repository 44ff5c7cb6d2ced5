import Core
import HTTPServing
import ServiceLifecycle

@testable import Gateway

/// The gateway's waiting callers, without its HTTP (contract A5).
///
/// `@unchecked Sendable`: confined to its world's thread, see `Schedule`.
final class LongPolls: Service, @unchecked Sendable {
    private let world: World
    private let store: SimulatedStore
    private let waiting: WaitingCallers
    private var isTicking = false

    init(_ world: World, _ store: SimulatedStore) {
        self.world = world
        self.store = store
        self.waiting = WaitingCallers(store: store, clock: world.clock)
    }

    /// Like `Gateway.run`.
    func run() async throws {
        await withGracefulShutdownHandler {
            await cancelWhenGracefulShutdown {
                for await change in self.store.changes() where !change.ended.isEmpty {
                    self.waiting.ended(change.ended)
                }
                // The stream may also end with a dead store; the service continues until it is stopped.
                try? await gracefulShutdown()
            }
        } onGracefulShutdown: {
            self.waiting.close()
        }
    }

    /// Like `GET /<endpoint>/<id>?wait=N`.
    func wait(for id: RequestID, within duration: Duration) async throws -> RequestRecord? {
        let began = world.schedule.elapsed
        let poll = waiting.enter(id, api: "api", within: duration, caller: CallerPresence())
        tick()
        var wasWaiting = false
        var end: RequestRecord?
        looking: while true {
            switch try await poll.look() {
            case .gone: return nil
            case .record(let record):
                end = record
                break looking
            case .stillWaiting:
                wasWaiting = true
                await withCheckedContinuation { continuation in poll.whenReady { continuation.resume() } }
            }
        }
        let took = Duration.microseconds(world.schedule.elapsed - began)
        // Only a slow store can extend it.
        if world.scenario.storeIsSlow == 0 {
            world.ledger.expect(
                took <= duration + .seconds(2), "A5", "a long poll of \(duration) took \(took)")
        }
        if let end, end.status.isEnded, let known = world.ledger[id], world.scenario.storeIsGood {
            let ago = Duration.microseconds(world.schedule.elapsed - known.changedAt)
            world.ledger.expect(
                !wasWaiting || ago <= WaitingCaller.recheck + .seconds(2), "A5",
                "a long poll noticed after \(ago) that \(known.name) had ended")
        }
        if end?.status.isEnded == true, wasWaiting { world.history.count(.longPollSawEnd) }
        return end
    }

    /// The gateway's timer, with larger steps, and only while a caller waits.
    private func tick() {
        guard !isTicking else { return }
        isTicking = true
        world.schedule.after(.seconds(1)) { [self] in
            isTicking = false
            waiting.tick(now: world.clock.instant())
            if waiting.count > 0 { tick() }
        }
    }
}
