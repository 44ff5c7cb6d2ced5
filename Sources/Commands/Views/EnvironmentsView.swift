import Client
import Core
import Support
import Wire

/// `cortex env list`.
enum EnvironmentsView {
    /// The original's shape; tokens are not shown.
    struct Document: Encodable {
        struct Entry: Encodable {
            var name: String
            var operatorEndpoint: String

            enum CodingKeys: String, CodingKey {
                case name
                case operatorEndpoint = "operator_endpoint"
            }
        }

        @OrNull var defaultEnvironment: String?
        var environments: [Entry]

        init(_ file: EnvironmentFile) {
            self.defaultEnvironment = file.defaultEnvironment
            self.environments = file.environments.map {
                Entry(name: $0.name, operatorEndpoint: EndpointURL.withoutSecrets($0.operatorEndpoint))
            }
        }

        enum CodingKeys: String, CodingKey {
            case environments
            case defaultEnvironment = "default_environment"
        }
    }

    static func render(_ file: EnvironmentFile, style: TextStyle) -> String {
        guard !file.environments.isEmpty else {
            return "no environment is configured; make one with: cortex up, or cortex env configure NAME -o URL"
        }
        return file.environments.map { environment in
            let mark = environment.name == file.defaultEnvironment ? " (default)" : ""
            let token = environment.token == nil ? "\ntoken: none" : ""
            return style.bold("\(environment.name)\(mark)".inOneLine)
                + "\ncortex operator endpoint: \(EndpointURL.withoutSecrets(environment.operatorEndpoint).inOneLine)\(token)"
        }.joined(separator: "\n\n")
    }
}
