import Core
import Dequeuer
import TestSupport
import Testing

@Suite("Deliveries of hours")
struct LongDeliveryTests {
    @Test("A10: a POST that lasts three hours keeps its lease to the end", .timeLimit(.minutes(20)))
    func hours() async throws {
        let clock = ManualClock()
        var settings = Platform.Settings()
        settings.clock = clock
        settings.configuration = DequeuerConfiguration()
        let gate = Gate()
        let seen = Journal<Int>()
        let container: @Sendable (inout ContainerServer.Connection) async throws -> Void = { connection in
            while try await connection.readRequest() != nil {
                seen.append(connection.number)
                await gate.wait()
                try await connection.answer("1")
            }
        }
        try await Platform.with(settings, container: container) { platform, _ in
            let id = try await platform.submit()
            try await expectEventually { seen.all.count == 1 }
            let extensions = 3 * 3600 / 10
            for round in 1...extensions {
                clock.advance(by: .seconds(10))
                try await expectEventually(within: .seconds(60)) { platform.store.extensions >= round }
                // Just before the next extension the lease is still good.
                guard round % 100 == 0 else { continue }
                let upkeep = try await platform.store.maintain(now: clock.now() + .milliseconds(9900))
                #expect(upkeep.rescued == 0)
            }
            gate.open()
            let record = try await platform.end(of: id)
            #expect(record.status == .completed && record.attempts == 1)
            #expect(seen.all.count == 1)
        }
    }
}
