import Core

@testable import StoreMemory

/// One caller: submits, reads, waits, cancels, retries by hand.
struct Caller {
    let world: World
    let call: Scenario.Call
    let number: Int

    func run() async {
        await world.pause(call.at)
        guard let id = await submit() else { return }
        if let wait = call.cancelAfter {
            world.go { [self] in
                await world.pause(wait)
                await cancel(id)
            }
        }
        await follow(id)
    }

    private var payload: [UInt8] { Array("payload of call \(number)".utf8) }

    /// Sends the request until it is accepted, like a client that needs the result.
    private func submit() async -> RequestID? {
        for _ in 0..<12 {
            guard let store = world.platform?.store, !store.isDead else {
                await world.pause(.seconds(1))
                continue
            }
            let now = world.clock.now()
            let id = world.dice.id(now: now)
            world.ledger.submitting(id, payload: payload)
            let bytes = payload
            let body = call.isFile ? await world.memory.turn { $0.bodies.save(bytes) } : .inline(bytes)
            if call.isFile { world.history.count(.streamed) }
            let submission = Submission(
                id: id, api: "api", payload: body, headers: [HeaderField("content-type", "text/plain")],
                idempotency: call.hasKey ? .init(key: "key \(number)", fingerprint: [UInt8(number & 255)]) : nil,
                queueDeadline: world.scenario.policy.maxQueueTime.map { now + $0 })
            do {
                switch try await store.submit(
                    submission, maxQueueLength: world.scenario.policy.maxQueueLength, now: now)
                {
                case .accepted:
                    world.history.note("caller \(number)", "has \(world.ledger.name(id))")
                    world.ledger.acknowledged(id)
                    return id
                case .duplicate(let first):
                    world.history.note("caller \(number)", "has \(world.ledger.name(first)), by its key")
                    world.ledger.acknowledged(first)
                    return first
                case .queueFull:
                    await world.pause(.seconds(2))
                case .idempotencyMismatch, .unknownAPI:
                    world.ledger.expect(false, "A6", "caller \(number)'s request was refused")
                    return nil
                }
            } catch {
                await world.pause(.seconds(1))
            }
        }
        return nil
    }

    private func follow(_ id: RequestID) async {
        var mayRetry = call.retriesByHand
        for _ in 0..<40 {
            do {
                guard let platform = world.platform, !platform.isDead else {
                    await world.pause(.seconds(1))
                    continue
                }
                let record =
                    if let wait = call.longPoll {
                        try await platform.longPolls.wait(for: id, within: wait)
                    } else {
                        try await platform.store.read(id, api: "api", now: world.clock.now())
                    }
                guard let record else { return }
                if record.status == .failed, mayRetry {
                    mayRetry = false
                    await world.pause(world.dice.seconds(0...3))
                    _ = try await platform.store.retry(id, api: "api", now: world.clock.now())
                } else if record.status.isEnded {
                    return
                }
            } catch {
                // The store did not answer, or the request cannot be retried (any more).
            }
            await world.pause(world.dice.seconds(0.1...8))
        }
    }

    private func cancel(_ id: RequestID) async {
        guard let store = world.platform?.store else { return }
        world.history.note("caller \(number)", "cancels \(world.ledger.name(id))")
        // A store that does not answer causes a 503; a later read shows whether the request was cancelled.
        _ = try? await store.cancel(id, api: "api", now: world.clock.now())
    }
}
