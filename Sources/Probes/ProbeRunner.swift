package import Core
package import NIOCore
import NIOPosix
import Support

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The result of a probe after it changed.
package struct ProbeReport: Sendable, Hashable {
    /// Whether the probe passes.
    package var isHealthy: Bool
    /// Why the last check failed, in one line; `nil` when it passed.
    package var reason: String?

    package init(isHealthy: Bool, reason: String? = nil) {
        self.isHealthy = isHealthy
        self.reason = reason
    }
}

/// Runs the probes of one container, while it runs.
package struct ProbeRunner: Sendable {
    /// Runs a command inside the container; an exit code of 0 is success.
    package typealias Exec = @Sendable (_ command: [String], _ timeout: Duration) async throws -> ExecResult

    let connector: any Connector
    let clock: any PlatformClock
    let exec: Exec
    let group: any EventLoopGroup

    package init(
        connector: any Connector, clock: any PlatformClock,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        exec: @escaping Exec = { _, _ in
            throw PlatformError(.notSupported, "This container's engine cannot run commands for a probe.")
        }
    ) {
        self.connector = connector
        self.clock = clock
        self.exec = exec
        self.group = group
    }

    /// Checks until the task is cancelled.
    ///
    /// - Parameters:
    ///   - startsHealthy: `false` for readiness (not ready until it passes), `true` for liveness (alive until it
    ///     fails).
    ///   - onChange: called when the probe begins to pass or to fail, and when the reason of a failure changes. It is
    ///     never called twice in a row with the same report, and never concurrently.
    package func run(
        _ probe: Probe, startsHealthy: Bool = false, onChange: @Sendable (ProbeReport) async -> Void
    ) async {
        var machine = ProbeMachine(probe, startsHealthy: startsHealthy, now: clock.instant())
        var reported = ProbeReport(isHealthy: startsHealthy)
        var actions = machine.start()
        while !Task.isCancelled {
            var event: ProbeMachine.Event?
            for action in actions {
                switch action {
                case .wait(let moment):
                    let duration = moment - clock.instant()
                    if duration > .zero, (try? await clock.sleep(for: duration)) == nil { return }
                    event = .tick
                case .check:
                    event = await check(probe)
                case .becameHealthy, .becameUnhealthy:
                    break
                }
            }
            guard let event, !Task.isCancelled else { return }
            actions = machine.handle(event, now: clock.instant())
            let report = ProbeReport(isHealthy: machine.isHealthy, reason: machine.lastFailure)
            if event != .tick, report != reported {
                reported = report
                await onChange(report)
            }
        }
    }

    /// Runs one check with the probe's timeout.
    ///
    /// - Returns: ``ProbeMachine/Event/success`` or ``ProbeMachine/Event/failure(_:)``.
    package func check(_ probe: Probe) async -> ProbeMachine.Event {
        do {
            try await withTimeLimit(probe.timeout, clock: clock) {
                switch probe.handler {
                case .tcpSocket(let port):
                    _ = close(try await connector.connect(port: port))
                case .httpGet(let target):
                    let status = try await HTTPCheck.status(of: target, connector: connector, group: group)
                    guard (200..<400).contains(status) else {
                        throw ProbeFailure("GET \(target.path) on port \(target.port) answered \(status)")
                    }
                case .exec(let command):
                    let result = try await exec(command, probe.timeout)
                    guard result.exitCode == 0 else {
                        let output =
                            result.output.split(whereSeparator: \.isNewline).last.map { ": \($0.prefix(200))" } ?? ""
                        throw ProbeFailure("the command exited with \(result.exitCode)\(output)")
                    }
                }
            }
            return .success
        } catch {
            return .failure(reason(error, probe))
        }
    }

    /// The message of a connector without the port, which the subject names already: `connection refused`.
    private static func bare(_ message: String) -> String {
        guard let found = message.wholeMatch(of: /Port [0-9]+ of the pod: (.+?)\.?/) else { return message }
        return found.1.prefix(1).lowercased() + found.1.dropFirst()
    }

    private func reason(_ error: any Error, _ probe: Probe) -> String {
        let subject =
            switch probe.handler {
            case .tcpSocket(let port): "port \(port)"
            case .httpGet(let target): "GET \(target.path) on port \(target.port)"
            case .exec: "the command"
            }
        return switch error {
        case let failure as ProbeFailure: failure.message
        case let error as PlatformError where error.code == .timedOut:
            "\(subject) gave no answer within \(probe.timeout.secondsText) s"
        case let error as PlatformError: "\(subject): \(Self.bare(error.message))"
        default: "\(subject): the connection was lost"
        }
    }
}

/// The reason of a failed check, in one line.
struct ProbeFailure: Error {
    let message: String

    init(_ message: String) { self.message = message }
}
