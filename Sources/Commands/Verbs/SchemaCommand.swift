import APIConfiguration
import ArgumentParser
import Core

struct SchemaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema",
        abstract: "Print the JSON Schema of cortex.yaml, for editors.",
        discussion: """
            Save it beside cortex.yaml, and begin cortex.yaml with
              # yaml-language-server: $schema=cortex.schema.json

            Examples:
              cortex schema > cortex.schema.json
              cortex schema --kind AsyncAPI
            """)

    @Option(help: ArgumentHelp("Only APIs of this kind.", valueName: "kind"))
    var kind: APIKind?
    @OptionGroup var format: OutputOption

    func run() throws {
        let document = ConfigurationSchema.document(kinds: kind.map { [$0] } ?? APIKind.allCases)
        try CommandContext.live().show(document, as: format.output) { _ in try DocumentText.encode(document) }
    }
}

extension APIKind: ExpressibleByArgument {}
