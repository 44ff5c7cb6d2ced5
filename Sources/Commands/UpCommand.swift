import ArgumentParser
import Core

struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Run the whole platform on this machine, in the foreground.")

    @Option(help: "Where everything is kept (CORTEX_DATA_DIR).")
    var dataDir: String?
    @Option(help: "Address to listen on (CORTEX_HOST).")
    var host: String?
    @Option(help: "Port of the gateway, 0 for any free one (CORTEX_GATEWAY_PORT).")
    var port: Int?
    @Option(help: "Port of the operator, 0 for any free one (CORTEX_OPERATOR_PORT).")
    var operatorPort: Int?
    @Option(help: "auto, docker or sandbox (CORTEX_ENGINE).")
    var engine: String?
    @Option(help: "The engine's socket (CORTEX_ENGINE_SOCKET).")
    var engineSocket: String?
    @Option(help: "URL of the store (CORTEX_STORE).")
    var store: String?

    func run() async throws {
        throw PlatformError(.notSupported, "this build has no platform in it")
    }
}
