import ArgumentParser
import Client
import Core
import Support
import Wire

struct SchedulesCommand: APICommand {
    static let kinds = APIKind.withJobs
    static let configuration = CommandConfiguration(
        commandName: "schedules",
        abstract: "List the schedules of a Batch or Task API.",
        discussion: """
            With -o json also the next five times, and the newest planned times that led
            to no job, with the reasons.

            Example:
              cortex schedules report
            """)

    @OptionGroup var target: APIArgument
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        let list = try await context.withJobs(cluster, api: target.api) { try await $0.schedules() }
        try context.show(list, as: format.output) { ScheduleView.render(list.schedules, style: $0) }
    }
}

struct ScheduleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule",
        abstract: "Run, suspend or resume a schedule.",
        discussion: """
            Schedules are defined in cortex.yaml; list them with: cortex schedules API

            Example: cortex schedule suspend report nightly
            """,
        subcommands: [RunCommand.self, SuspendCommand.self, ResumeCommand.self])

    /// The schedule that a command is about.
    struct ScheduleArgument: ParsableArguments {
        @Argument(help: ArgumentHelp("Name of the schedule.", valueName: "name"), completion: .schedules)
        var schedule: String
    }

    struct RunCommand: APICommand {
        static let kinds = APIKind.withJobs
        static let configuration = CommandConfiguration(
            commandName: "run",
            abstract: "Submit the job of a schedule now, besides its plan; print its id.",
            discussion: """
                Example:
                  cortex schedule run report nightly
                """)

        @OptionGroup var target: APIArgument
        @OptionGroup var name: ScheduleArgument
        @OptionGroup var environment: EnvironmentOption
        @OptionGroup var format: OutputOption

        func run() async throws {
            let context = CommandContext.live()
            let cluster = try context.resolve(environment.environment)
            let receipt = try await context.withJobs(cluster, api: target.api) {
                try await $0.runSchedule(name.schedule)
            }
            try JobOutput(context: context, format: format.output, api: target.api).printReceipt(receipt)
        }
    }

    struct SuspendCommand: APICommand {
        static let kinds = APIKind.withJobs
        static let configuration = CommandConfiguration(
            commandName: "suspend",
            abstract: "Submit no jobs of a schedule until it is resumed.",
            discussion: """
                It holds across restarts, and across deploys that do not change suspended.

                Example:
                  cortex schedule suspend report nightly
                """)

        @OptionGroup var target: APIArgument
        @OptionGroup var name: ScheduleArgument
        @OptionGroup var environment: EnvironmentOption
        @OptionGroup var format: OutputOption

        func run() async throws {
            try await CommandContext.live().setSchedule(
                name.schedule, isSuspended: true, target, environment, format.output)
        }
    }

    struct ResumeCommand: APICommand {
        static let kinds = APIKind.withJobs
        static let configuration = CommandConfiguration(
            commandName: "resume",
            abstract: "Submit the jobs of a suspended schedule again.",
            discussion: """
                What becomes of planned times in between is said by catch_up in cortex.yaml.

                Example:
                  cortex schedule resume report nightly
                """)

        @OptionGroup var target: APIArgument
        @OptionGroup var name: ScheduleArgument
        @OptionGroup var environment: EnvironmentOption
        @OptionGroup var format: OutputOption

        func run() async throws {
            try await CommandContext.live().setSchedule(
                name.schedule, isSuspended: false, target, environment, format.output)
        }
    }
}

extension CommandContext {
    fileprivate func setSchedule(
        _ name: String, isSuspended: Bool, _ target: APIArgument, _ environment: EnvironmentOption,
        _ format: OutputFormat
    ) async throws {
        let answer = try await withJobs(try resolve(environment.environment), api: target.api) {
            try await $0.setSchedule(name, isSuspended: isSuspended)
        }
        try say(answer.message.inOneLine, as: format)
    }
}
