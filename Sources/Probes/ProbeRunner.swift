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

/// What a probe says, whenever that changes or the reason for a failure does.
package struct ProbeReport: Sendable, Hashable {
    package var isHealthy: Bool
    /// Why the last check failed, in one line; `nil` when it passed.
    package var reason: String?

    package init(isHealthy: Bool, reason: String? = nil) {
        self.isHealthy = isHealthy
        self.reason = reason
    }
}

/// Runs one probe of one container for as long as the container lives.
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

    /// Checks until the task is cancelled. `onChange` is called when the probe begins to pass or to fail, and when a
    /// failing probe fails for another reason than before (for `describe`); never twice with the same report, never at
    /// the same time.
    ///
    /// - Parameter startsHealthy: `false` for readiness (not ready until it passed), `true` for liveness (alive until
    ///   it failed).
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

    /// One check with the probe's timeout.
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

    /// Without the port, which the subject has already: `connection refused`.
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
            "\(subject) gave no answer within \(probe.timeout.inSeconds.formatted) s"
        case let error as PlatformError: "\(subject): \(Self.bare(error.message))"
        default: "\(subject): the connection was lost"
        }
    }
}

extension Double {
    /// `1`, `0.5`: without a needless fraction.
    fileprivate var formatted: String {
        self == rounded() && abs(self) < 1e15 ? "\(Int64(self))" : "\(self)"
    }
}

/// A check that went wrong, for people.
struct ProbeFailure: Error {
    let message: String

    init(_ message: String) { self.message = message }
}
