import Core
import Testing

extension StoreCheck {
    /// Every change of status from every status: the allowed arrows of ``RequestTransition`` happen, the others change
    /// nothing.
    static let transitions = RequestTransition.allCases.flatMap { transition in
        RequestStatus.allCases.map { status in
            let result = transition.apply(to: status)
            let arrow = "\(status.rawValue) –\(transition.rawValue)→ \(result?.rawValue ?? "forbidden")"
            return StoreCheck("A2: \(arrow)") { fixture in
                try await fixture.deploy(policy: .init(keepFailed: .seconds(1000)))
                let lease = try await fixture.arrange(1, at: status)
                let before = try await fixture.read(1)
                try await fixture.attempt(transition, on: 1, lease: lease)
                let after = try await fixture.read(1)
                #expect(after?.status == result ?? status)
                if result == nil { #expect(after == before) }
                let status = result ?? status
                #expect(
                    try await fixture.counts()
                        == QueueCounts(inQueue: status == .inQueue ? 1 : 0, inProgress: status == .inProgress ? 1 : 0))
            }
        }
    }
}

extension StoreFixture {
    /// Brings a request to a status and returns the last lease it had, or one that never was.
    fileprivate func arrange(_ number: Int, at status: RequestStatus) async throws -> Lease {
        try await submit(number...number, deadline: at(500))
        var lease = Lease(api: "echo", id: id(number), token: 1)
        if status == .inQueue { return lease }
        lease = try await claimOne()
        switch status {
        case .inQueue, .inProgress: break
        case .completed: _ = try await store.finish(lease, outcome: .completed(Self.result), now: at(1))
        case .failed: _ = try await store.finish(lease, outcome: .failed(Self.failure), now: at(1))
        case .cancelled: _ = try await store.cancel(id(number), api: "echo", now: at(1))
        }
        return lease
    }

    /// Asks the store for a change of status, allowed or not.
    fileprivate func attempt(_ transition: RequestTransition, on number: Int, lease: Lease) async throws {
        switch transition {
        case .claim: _ = try await claim(10, now: at(2))
        case .complete: _ = try await store.finish(lease, outcome: .completed(Self.result), now: at(2))
        case .fail: _ = try await store.finish(lease, outcome: .failed(Self.failure), now: at(2))
        case .retryAttempt:
            _ = try await store.finish(lease, outcome: .retry(Self.failure, notBefore: at(9)), now: at(2))
        case .giveBack:
            try await store.release([lease], now: at(2))
            _ = try await store.beat(process: "next", now: at(2))
        case .cancel: _ = try await store.cancel(id(number), api: "echo", now: at(2))
        case .expire:
            // The lease is extended so that only the deadline is past.
            _ = try await store.extend([lease], visibility: .seconds(1000), now: at(2))
            _ = try await store.maintain(now: at(500))
        case .retryByHand:
            do {
                _ = try await store.retry(id(number), api: "echo", now: at(2))
            } catch let error as PlatformError {
                #expect(error.code == .conflict)
            }
        }
    }
}
