import ArgumentParser
import Client
import Core
import Support
import Wire

struct SplitCommand: APICommand {
    static let configuration = CommandConfiguration(
        commandName: "split",
        abstract: "Change the weights of a TrafficSplitter, or show its targets.",
        discussion: """
            Give the weight of every target but the shadow; together they are 100. They
            hold from the next request on. The change is a new version: cortex rollback
            undoes it. Without weights the present ones are shown.

            A target that the guard has rolled back gets no requests until --resume, or
            until a deploy that changes the splitter.

            Examples:
              cortex split chat
              cortex split chat chat-v1=90 chat-v2=10
              cortex split chat --resume
            """)

    static let kinds: Set<APIKind> = [.trafficSplitter]

    @OptionGroup var target: APIArgument
    @Argument(
        help: ArgumentHelp("A target and its percentage of the requests.", valueName: "target=weight"),
        completion: .targets)
    var weights: [String] = []
    @Flag(help: "Let a target that was rolled back take requests again.")
    var resume = false
    @OptionGroup var environment: EnvironmentOption
    @OptionGroup var format: OutputOption

    func validate() throws {
        guard !resume || weights.isEmpty else { throw ValidationError("--resume takes no weights.") }
    }

    func run() async throws {
        let context = CommandContext.live()
        let weights = try Self.parse(weights)
        let cluster = try context.resolve(environment.environment, announce: format.output == .pretty)
        try await context.withOperator(cluster) { client in
            guard resume || !weights.isEmpty else {
                let api = try await client.api(target.api)
                try WrongKind.expect(Self.kinds, api, name: target.api)
                return try context.show([api], as: format.output) { style in
                    SplitterView.traffic(of: api, now: context.clock.now(), style: style)
                }
            }
            let answer =
                resume
                ? try await client.resumeSplit(target.api)
                : try await client.split(target.api, weights: weights)
            try context.show(answer, as: format.output) { _ in answer.message.inOneLine }
        }
    }

    /// Reads `name=90`. Whether the names are those of the targets, and the sum 100, is checked by the operator.
    static func parse(_ words: [String]) throws -> [String: Int] {
        var weights: [String: Int] = [:]
        for word in words {
            let parts = word.split(separator: "=", omittingEmptySubsequences: false)
            guard parts.count == 2, let name = parts.first, !name.isEmpty,
                let weight = parts.last.flatMap({ Int($0) }), (0...100).contains(weight)
            else {
                throw PlatformError(
                    .usage, "\"\(word.inOneLine)\" is no weight; write it like chat-v1=90 (0 to 100)")
            }
            guard weights.updateValue(weight, forKey: String(name)) == nil else {
                throw PlatformError(.usage, "\(name.description.inOneLine) has two weights; give one")
            }
        }
        return weights
    }
}
