import Client
import Core
import Support
import Wire

/// Watches deployed APIs until each is ready or has failed, with a line of progress on standard error.
struct DeployWatcher {
    let client: OperatorClient
    let context: CommandContext
    let limit: Duration

    private static let period: Duration = .seconds(1)
    /// How often in a row the platform may be away: the time that a restart takes.
    private static let failuresAllowed = 60

    /// - Throws: ``PlatformError`` with all that failed, or `timed_out`.
    func run(_ names: [String]) async throws {
        let start = context.clock.instant()
        let progress = ProgressLine(context.console)
        defer { progress.clear() }
        var machines = names.map { (name: $0, progress: DeployProgress()) }
        var failures: [String] = []
        var away = 0
        while !machines.isEmpty {
            var waiting: [String] = []
            var rest: [(name: String, progress: DeployProgress)] = []
            for var machine in machines {
                guard let api = try await describe(machine.name, &away) else {
                    waiting.append("\(machine.name): the platform does not answer")
                    rest.append(machine)
                    continue
                }
                switch machine.progress.look(at: api, now: context.clock.instant()) {
                case .ready:
                    progress.clear()
                    context.console.note("\(machine.name) is ready" + (api.endpoint.map { ": \($0)" } ?? ""))
                case .failed(let reason):
                    failures.append(reason)
                case .waiting(let line):
                    waiting.append(line)
                    rest.append(machine)
                }
            }
            machines = rest
            guard !machines.isEmpty else { break }
            guard context.clock.instant() - start < limit else {
                failures += zip(machines, waiting).map { machine, line in
                    "not ready after \(Age.text(of: limit)): \(line); see why with: cortex describe \(machine.name)"
                }
                break
            }
            progress.show(waiting.joined(separator: "; "))
            try await context.clock.sleep(for: Self.period)
        }
        guard failures.isEmpty else {
            // One may have failed long before another: all of them are reported.
            throw PlatformError(
                machines.isEmpty ? .containerFailed : .timedOut,
                failures.map(\.inOneLine).joined(separator: "\nerror: "))
        }
    }

    /// The API's status; `nil` while the platform, which may be restarting, is away.
    private func describe(_ name: String, _ away: inout Int) async throws -> APIDocument? {
        do {
            let api = try await client.describe(name)
            away = 0
            return api
        } catch let error as PlatformError where error.isPassing && away < Self.failuresAllowed {
            away += 1
            return nil
        }
    }
}
