package import Core
package import Logging
import ServiceLifecycle
import Support

/// Runs the store's upkeep every few seconds: requests whose lease expired or whose process is gone return to their
/// queues, requests that waited too long fail, and what is past its retention is erased (contract A10, A3, C6).
///
/// It also records that this process lives, on a schedule of its own: an upkeep may take longer than
/// ``Limits/processTimeout``.
package struct Rescuer: Service {
    private let store: any Store
    private let process: String
    private let clock: any PlatformClock
    private let chance: RandomSource
    private let logger: Logger
    private let interval: Duration
    private let leaseExtension: Duration

    /// When the calendar is ahead of the expected time by more than this, the clock was set or the process stood still.
    static let clockJump: Duration = .seconds(5)

    /// - Parameter process: the holder of this process's leases. It has called `Store.beat` already.
    package init(
        store: any Store, process: String, clock: any PlatformClock, random: any RandomNumberGenerator & Sendable,
        logger: Logger,
        interval: Duration = .seconds(5), leaseExtension: Duration = Limits.leaseExtension
    ) {
        self.store = store
        self.process = process
        self.clock = clock
        self.chance = RandomSource(random)
        self.logger = logger
        self.interval = interval
        self.leaseExtension = leaseExtension
    }

    package func run() async throws {
        await cancelWhenGracefulShutdown {
            async let beats: Void = beat()
            await maintain()
            await beats
        }
    }

    private func beat() async {
        let outage = OutageLog(logger)
        while (try? await clock.sleep(for: Limits.heartbeat)) != nil {
            do {
                let count = try await store.beat(process: process, now: clock.now())
                outage.succeeded()
                if count > 0 {
                    logger.warning(
                        "requests of other processes returned to their queues", metadata: ["count": "\(count)"])
                }
            } catch {
                guard !Task.isCancelled else { return }
                outage.failed("heartbeat", error)
            }
        }
    }

    private func maintain() async {
        let outage = OutageLog(logger)
        var failures = 0
        var expected: Timestamp?
        while !Task.isCancelled {
            guard let now = await timeAfterClockJump(expected) else { return }
            do {
                let upkeep = try await store.maintain(now: now)
                outage.succeeded()
                failures = 0
                if upkeep.rescued > 0 {
                    logger.warning(
                        "requests whose lease expired or whose process is gone returned to their queues",
                        metadata: ["count": "\(upkeep.rescued)"])
                }
                if upkeep.expired > 0 {
                    logger.info("requests waited longer than max_queue_time", metadata: ["count": "\(upkeep.expired)"])
                }
                if upkeep.purged > 0 {
                    logger.debug("requests past their retention were erased", metadata: ["count": "\(upkeep.purged)"])
                }
            } catch {
                guard !Task.isCancelled else { return }
                failures += 1
                outage.failed("upkeep", error)
            }
            let wait =
                failures == 0 ? interval : interval + Backoff.store.delay(failures: failures, chance: chance.next())
            // An upkeep that took long is no jump of the clock.
            expected = clock.now() + wait
            guard (try? await clock.sleep(for: wait)) != nil else { return }
        }
    }

    /// The present time. If it is far ahead of the expected one (the clock was set forward, the machine slept, this
    /// process stood still), every lease may seem expired although its worker runs. Then this waits until each worker
    /// had the time to extend its leases.
    ///
    /// - Returns: `nil` when the task is cancelled.
    private func timeAfterClockJump(_ expected: Timestamp?) async -> Timestamp? {
        let now = clock.now()
        guard let expected, now - expected > Self.clockJump else { return now }
        logger.warning(
            "the clock was set forward, or this machine stood still: leases get time to be extended",
            metadata: ["seconds": "\((now - expected).components.seconds)"])
        guard (try? await clock.sleep(for: leaseExtension + Self.clockJump)) != nil else { return nil }
        return clock.now()
    }
}
