import Core
import Foundation
import NIOHTTP1
import Support
import Synchronization
import TestSupport
import Testing

@testable import EngineDocker

/// An engine that ends or hangs in the middle of an answer: the caller that waits for the answer gets an error.
@Suite("Answers that are cut off", .timeLimit(.minutes(2)))
struct DyingStreamTests {
    /// Everything that reads an answer which goes on.
    enum Reader: String, CaseIterable, Sendable {
        case events, followedLog, log, command, pull, call

        /// Reads to the end of the answer, and throws what broke it off.
        func read(_ client: DockerClient) async throws {
            switch self {
            case .events: for try await _ in try await client.events(label: "x") {}
            case .followedLog: for try await _ in try await client.logs("x", follow: true, tail: nil, since: nil) {}
            case .log: for try await _ in try await client.logs("x", follow: false, tail: nil, since: nil) {}
            case .command: for try await _ in try await client.startExec("x") {}
            case .pull:
                guard let reference = ImageReference("registry.example/app:1") else { return }
                try await client.pull(reference, credentials: nil) { _ in }
            case .call: _ = try await client.call(.POST, "/containers/x/start")
            }
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var reader: Reader
        var place: DyingDaemon.Place
        var death: DyingDaemon.Death
        var testDescription: String { "\(reader), \(place), \(death)" }

        static let all = Reader.allCases.flatMap { reader in
            DyingDaemon.Place.allCases.flatMap { place in
                DyingDaemon.Death.allCases.map { Case(reader: reader, place: place, death: $0) }
            }
        }
    }

    @Test(
        "U4: an engine that is killed, or hangs up, before the head, after it or within the body ends every reader at once",
        arguments: Case.all)
    func cutOff(_ item: Case) async throws {
        try await DyingDaemon.with(item.place) { daemon async throws in
            let client = DockerClient(socketPath: daemon.socket, clock: SystemClock())
            let outcome = Outcome { try await item.reader.read(client) }
            try await expectEventually { daemon.standsStill }
            #expect(outcome.result == nil, "it waits while the engine does")
            await daemon.die(item.death)
            try await expectEventually(within: .seconds(5), "it waits for ever") { outcome.result != nil }
            if item.place != .inEndlessBody {
                #expect((outcome.error as? PlatformError)?.code == .engineUnavailable, "\(outcome.result as Any)")
            }
            // The socket's file is still there after a SIGKILL, and nobody behind it.
            if item.death == .killed {
                let next = Outcome { try await item.reader.read(client) }
                try await expectEventually(within: .seconds(5), "it waits for ever") { next.result != nil }
                #expect((next.error as? PlatformError)?.code == .engineUnavailable)
            }
            await client.shutDown()
        }
    }

    @Test(
        "U4: whoever waits for an engine that stands still can be cancelled, and shutting down waits for nobody",
        arguments: Reader.allCases, DyingDaemon.Place.allCases)
    func cancelled(_ reader: Reader, _ place: DyingDaemon.Place) async throws {
        try await DyingDaemon.with(place) { daemon async throws in
            let client = DockerClient(socketPath: daemon.socket, clock: SystemClock())
            let first = Outcome { try await reader.read(client) }
            try await expectEventually { daemon.standsStill }
            first.cancel()
            try await expectEventually(within: .seconds(5), "cancelling ends nothing") { first.result != nil }
            let second = Outcome { try await reader.read(client) }
            let end = Outcome { await client.shutDown() }
            try await expectEventually(within: .seconds(5), "shutting down waits for ever") { end.result != nil }
            try await expectEventually(within: .seconds(5), "shutting down ends nothing") { second.result != nil }
        }
    }
}

/// What became of an operation that may never end: looked at, not waited for.
final class Outcome: Sendable {
    private let found = Mutex<Result<Void, any Error>?>(nil)
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(_ body: @escaping @Sendable () async throws -> Void) {
        let task = Task {
            do {
                try await body()
                self.found.withLock { $0 = .success(()) }
            } catch {
                self.found.withLock { $0 = .failure(error) }
            }
        }
        self.task.withLock { $0 = task }
    }

    /// `nil` while it runs.
    var result: Result<Void, any Error>? { found.withLock { $0 } }

    var error: (any Error)? {
        if case .failure(let error) = result { return error }
        return nil
    }

    func cancel() { task.withLock { $0 }?.cancel() }
}
