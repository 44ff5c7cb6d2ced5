import Core
import Gateway
import Logging
import Reconciler
import ServiceLifecycle
import Support
import Synchronization

/// Begins the graceful shutdown on a signal, and ensures that the process ends in time, however the shutdown began.
struct ShutdownService: Service {
    let thread: ShutdownThread

    func run() async throws {
        let (requests, request) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        thread.onStop { request.yield() }
        // Its return ends the group, because the service is registered that way.
        for await _ in requests.cancelOnGracefulShutdown() { break }
        thread.shutdownHasBegun()
    }
}

/// Makes what a deploy or a delete has changed hold for the next request (contract X3, R18): the gateway does not wait
/// for the store's hint.
struct PublishingReconciler: Reconciling {
    let reconciler: Reconciler
    let gateway: Gateway

    func reconcile(_ api: String) async {
        await gateway.refresh()
        await reconciler.reconcile(api)
    }

    func admit(_ api: String) async {
        await gateway.refresh()
        await reconciler.admit(api)
    }

    func reasonHeldBack(_ api: String) -> String? { reconciler.reasonHeldBack(api) }
}

/// Services whose shutdown begins at the same time, so that the grace period of each begins at once: requests inside
/// containers may come from any of them. The first one that ends ends the others.
struct ServicesTogether: Service {
    private let services: [any Service]

    init(_ services: [any Service]) { self.services = services }

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for service in services { group.addTask { try await service.run() } }
            // On a graceful shutdown, which every service sees, all of them are waited for.
            try await group.next()
            guard Task.isShuttingDownGracefully else {
                group.cancelAll()
                return
            }
            try await group.waitForAll()
        }
    }
}

/// A part of the platform. The list of operations contains it from the request to stop until it has stopped.
struct NamedService: Service {
    let name: String
    let service: any Service
    var operations = OperationRegistry.shared

    func run() async throws {
        let entry = Entry()
        defer { if let number = entry.end() { operations.end(number) } }
        try await withGracefulShutdownHandler {
            try await service.run()
        } onGracefulShutdown: { [operations, name] in
            entry.begin { operations.begin("stop service", name) }
        }
    }

    /// The number in the list of operations, from the request to stop until the service has ended.
    private final class Entry: Sendable {
        private let state = Mutex<(number: UInt64?, hasEnded: Bool)>((nil, false))

        func begin(_ make: () -> UInt64) {
            state.withLock { if !$0.hasEnded { $0.number = make() } }
        }

        func end() -> UInt64? {
            state.withLock { state in
                state.hasEnded = true
                return state.number
            }
        }
    }
}

/// Watches the clock: sleeps that last too long are the first sign that threads are not scheduled (contract U4).
struct ClockWatch: Service {
    static let period: Duration = .seconds(1)
    static let tolerance: Duration = .seconds(5)

    let clock: any PlatformClock
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while true {
                let start = clock.instant()
                do {
                    try await clock.sleep(for: Self.period)
                } catch {
                    return
                }
                let took = clock.instant() - start
                guard took > Self.tolerance else { continue }
                logger.warning(
                    "a sleep of one second took much longer: this machine was suspended or has too little CPU",
                    metadata: ["seconds": "\(took.wholeMicroseconds / 1_000_000)"])
            }
        }
    }
}
