import Core
import Foundation
import Operator

/// Looks at each part of the running platform, for `GET /health` and `cortex cluster health`.
struct PlatformHealth: Sendable {
    let store: any Store
    let engine: any Engine
    let book: AddressBook
    /// The data directory.
    let directory: String
    let clock: any PlatformClock

    /// Longest time that one part may take to answer.
    static let patience: Duration = .seconds(5)

    /// All parts, looked at together.
    func components() async -> [HealthDocument.Component] {
        let (store, engine) = (store, engine)
        async let storeHealth = component("store", answer: "sqlite answers") { _ = try await store.counts() }
        async let engineHealth = component("engine", answer: "\(engine.name) answers") { _ = try await engine.list() }
        return await [gateway, storeHealth, engineHealth, disk]
    }

    private var gateway: HealthDocument.Component {
        guard let addresses = book.known else { return .init("gateway", .unhealthy, "does not listen yet") }
        return .init("gateway", .healthy, "listens at \(addresses.gateway)")
    }

    private var disk: HealthDocument.Component {
        guard let free = DoctorProbes.freeSpace(near: directory) else {
            return .init("disk", .unhealthy, "the free space is not known")
        }
        let text = "\(Doctor.gigabytes(free)) free"
        guard free >= Doctor.spaceNeeded else {
            return .init(
                "disk", .unhealthy, "only \(text): make room, at least \(Doctor.gigabytes(Doctor.spaceNeeded))")
        }
        return .init("disk", .healthy, text)
    }

    private func component(_ name: String, answer: String, _ check: @escaping @Sendable () async throws -> Void) async
        -> HealthDocument.Component
    {
        let clock = clock
        return await withTaskGroup(of: HealthDocument.Component?.self) { group in
            group.addTask {
                do {
                    try await check()
                    return .init(name, .healthy, answer)
                } catch is CancellationError {
                    return nil
                } catch {
                    return .init(name, .unhealthy, (error as? PlatformError)?.message ?? "does not answer")
                }
            }
            group.addTask {
                guard (try? await clock.sleep(for: Self.patience)) != nil else { return nil }
                return .init(name, .unhealthy, "does not answer within \(Age.text(of: Self.patience))")
            }
            defer { group.cancelAll() }
            for await component in group {
                if let component { return component }
            }
            return .init(name, .unhealthy, "does not answer")
        }
    }
}
