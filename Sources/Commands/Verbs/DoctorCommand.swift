import ArgumentParser
import Client
import Core

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check whether this machine can run the platform.",
        discussion: """
            It checks container engines, ports, disk space, permissions and cli.yaml,
            and prints what to do about each problem. It exits with 1 when there is one.

            Example:
              cortex doctor
            """)

    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let report = await Doctor(
            probes: .live(), variables: context.variables, environments: context.environments
        ).examine()
        try context.show(report, as: format.output) { report.render($0) }
        if !report.isHealthy { throw ExitCode(ExitStatus.failure) }
    }
}

/// The findings of `doctor`: one line for each check.
struct DoctorReport: Sendable, Equatable, Encodable {
    enum Verdict: String, Sendable, Encodable {
        case ok
        /// Not there, and not needed.
        case absent
        /// Works, within limits that the machine's administrator should know.
        case note
        case problem
    }

    struct Check: Sendable, Equatable, Encodable {
        var name: String
        var verdict: Verdict
        /// What was found.
        var finding: String
        /// What to do; only for a problem.
        var advice: String?
    }

    var checks: [Check] = []

    var isHealthy: Bool { !checks.contains { $0.verdict == .problem } }

    mutating func ok(_ name: String, _ finding: String) {
        checks.append(Check(name: name, verdict: .ok, finding: finding))
    }

    mutating func absent(_ name: String, _ finding: String) {
        checks.append(Check(name: name, verdict: .absent, finding: finding))
    }

    mutating func note(_ name: String, _ finding: String) {
        checks.append(Check(name: name, verdict: .note, finding: finding))
    }

    mutating func problem(_ name: String, _ finding: String, advice: String) {
        checks.append(Check(name: name, verdict: .problem, finding: finding, advice: advice))
    }

    func render(_ style: TextStyle) -> String {
        let width = checks.reduce(0) { max($0, $1.name.count) }
        return checks.map { check in
            let mark =
                switch check.verdict {
                case .ok: style.colored("✓", .green)
                case .absent: "-"
                case .note: style.colored("!", .yellow)
                case .problem: style.colored("✗", .red)
                }
            let name = check.name + String(repeating: " ", count: width - check.name.count)
            let (column, blank) = (width + 5, String(repeating: " ", count: width + 5))
            let advice = check.advice.map { "\n" + blank + style.hanging($0, at: column) } ?? ""
            return "\(mark) \(name)   \(style.hanging(check.finding, at: column))\(advice)"
        }.joined(separator: "\n")
    }
}
