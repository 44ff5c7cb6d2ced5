import Core
import Foundation
import Operator
import Support
import Wire

/// Checks each part of the running platform, for `GET /health` and `cortex cluster health`.
struct PlatformHealth: Sendable {
    let store: any Store
    let engine: any Engine
    let book: AddressBook
    let disk: DiskWatch
    let clock: any PlatformClock

    /// Longest time in which a part may answer.
    static let limit: Duration = .seconds(5)

    /// All parts, checked concurrently.
    func components() async -> [HealthDocument.Component] {
        let (store, engine) = (store, engine)
        async let storeHealth = component("store", answer: "\(store.name) answers") { _ = try await store.counts() }
        async let engineHealth = component("engine", answer: "\(engine.name) answers") { _ = try await engine.list() }
        return await [gateway, storeHealth, engineHealth, diskHealth]
    }

    private var gateway: HealthDocument.Component {
        guard let addresses = book.known else { return .init("gateway", .unhealthy, "does not listen yet") }
        return .init("gateway", .healthy, "listens at \(addresses.gateway)")
    }

    private var diskHealth: HealthDocument.Component {
        guard !disk.hasFailed, let (space, reserve) = disk.state else {
            return .init("disk", .unhealthy, "the file system of the data directory does not answer")
        }
        let text = "\(DiskSpace.gigabytes(space.free)) free"
        guard disk.spare > 0 else {
            return .init(
                "disk", .unhealthy,
                "only \(text), below the reserve of \(DiskSpace.gigabytes(reserve)): requests are refused with disk_low. Free some space, or lower --disk-reserve"
            )
        }
        return .init("disk", .healthy, "\(text), reserve \(DiskSpace.gigabytes(reserve))")
    }

    private static let noAnswer = "does not answer within \(Age.text(of: limit))"

    /// Returns in time even if the check neither ends nor reacts to cancellation.
    private func component(_ name: String, answer: String, _ check: @escaping @Sendable () async throws -> Void) async
        -> HealthDocument.Component
    {
        do {
            try await withTimeLimit(Self.limit, clock: clock, check)
            return .init(name, .healthy, answer)
        } catch let error as PlatformError {
            return .init(name, .unhealthy, error.code == .timedOut ? Self.noAnswer : error.message)
        } catch {
            return .init(name, .unhealthy, "does not answer")
        }
    }
}
