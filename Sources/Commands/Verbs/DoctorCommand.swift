import ArgumentParser
import Client
import Core

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check whether this machine can run the platform, and say what to do.",
        discussion: """
            It looks at container engines, ports, disk space, permissions and cli.yaml.
            It exits with 1 when something must be repaired.

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
