import ArgumentParser
import Client
import Core
import Foundation
import NIOHTTP1

struct CallCommand: APICommand {
    static let configuration = CommandConfiguration(
        commandName: "call",
        abstract: "Send a request to a RealtimeAPI or TrafficSplitter; print the response.",
        discussion: """
            The body of the response is printed as it arrives. The exit status is 0 for a
            2xx status, 22 for any other, and 1 if there was no complete response.

            Content-Type of -d, unless -H gives one: for text application/json if it is
            JSON, else application/x-www-form-urlencoded as curl sends it; for @file by
            the file's name; for standard input application/octet-stream.

            Examples:
              cortex call chat -d '{"prompt": "Hello"}'
              cortex call chat '/v1/models?limit=5' -i
              cortex call chat /images -X PUT -d @photo.png
              cat audio.wav | cortex call chat /speech -H 'Content-Type: audio/wav' -d -
            """)

    static let kinds = APIKind.answeringDirectly

    @OptionGroup var target: APIArgument
    @Argument(
        help: "Path and query below the API's endpoint, sent byte for byte.", completion: .list([]))
    var path = "/"
    @OptionGroup var environment: EnvironmentOption
    @Option(
        name: [.customShort("X"), .customLong("method")],
        help: ArgumentHelp("The method (default: POST with -d, else GET).", valueName: "method"),
        completion: .list(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]))
    var method: String?
    @Option(
        name: .shortAndLong, parsing: .unconditional,
        help: ArgumentHelp("The body: text, @file, or - for standard input.", valueName: "data"))
    var data: String?
    @Option(
        name: [.customShort("H"), .customLong("header")], parsing: .unconditionalSingleValue,
        help: ArgumentHelp("A header. Can be repeated.", valueName: "name:value"))
    var headers: [HeaderArgument] = []
    @Flag(
        name: [.customShort("i"), .customLong("include")],
        help: "Print the status and the headers before the body.")
    var includesHead = false

    func validate() throws {
        guard method.map(HeaderArgument.isToken) ?? true else {
            throw ValidationError("A method is a word such as GET or PROPFIND.")
        }
    }

    func run() async throws {
        let context = CommandContext.live()
        let cluster = try context.resolve(environment.environment)
        let input = try data.map {
            try PayloadInput($0, console: context.console, textType: "application/x-www-form-urlencoded")
        }
        defer { input?.close() }
        let endpoint = try await context.withOperator(cluster) { client in
            let api = try await client.api(target.api)
            try WrongKind.expect(Self.kinds, api, name: target.api)
            return try EndpointURL.gateway(of: api, in: cluster)
        }
        var call = try APICall(endpoint: endpoint, path: path, environment: cluster)
        call.method = method ?? (input == nil ? "GET" : "POST")
        call.headers = headers.map { ($0.name, $0.value) }
        if let type = input?.contentType, !headers.contains(where: { $0.name.lowercased() == "content-type" }) {
            call.headers.append(("Content-Type", type))
        }
        call.payload = input?.payload
        let (console, name, includesHead) = (context.console, target.api, includesHead)
        try await call.send { response in
            var output = ResponseOutput(console)
            if includesHead { try await output.write(head: response) }
            try await response.forEachPart { try await output.write($0) }
            try await output.finish()
            guard !(200..<300).contains(response.status.code) else { return }
            let isOurs = response.headers.first(name: "X-Cortex-Origin") == "gateway"
            console.note("error: \(isOurs ? "the platform" : name) answered \(response.status)")
            throw ExitCode(ExitStatus.httpStatus)
        }
    }
}
