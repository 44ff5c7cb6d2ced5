import Core
import Foundation
import NIOCore
package import Wire

/// A configuration file on its way to the operator.
package struct ConfigurationUpload: Sendable, Hashable {
    package var content: [UInt8]
    /// Its name, for messages.
    package var fileName: String
    /// Its absolute folder, which relative volume sources are resolved against; `nil` where there is none.
    package var directory: String?

    package init(content: [UInt8], fileName: String, directory: String?) {
        self.content = content
        self.fileName = fileName
        self.directory = directory
    }
}

extension OperatorClient {
    /// Deploys every API of a file (`POST /deploy`, a form with the part `config`).
    ///
    /// - Throws: `configuration_invalid` with every problem, and then nothing was deployed. What went wrong with one
    ///   API is in its result.
    package func deploy(_ upload: ConfigurationUpload, force: Bool) async throws -> [DeployResultDocument] {
        guard upload.content.count <= Limits.configuration else {
            throw PlatformError(
                .payloadTooLarge,
                "\(upload.fileName) is larger than \(Limits.configuration) bytes; is it the right file?")
        }
        var query = [("configFileName", upload.fileName), ("force", "\(force)")]
        if let directory = upload.directory { query.append(("configDir", directory)) }
        let boundary = Self.boundary(for: upload.content)
        var form = ByteBuffer()
        form.writeString("--\(boundary)\r\n")
        form.writeString("Content-Disposition: form-data; name=\"config\"; filename=\"config\"\r\n")
        form.writeString("Content-Type: application/yaml\r\n\r\n")
        form.writeBytes(upload.content)
        form.writeString("\r\n--\(boundary)--\r\n")
        return try await call(
            "POST", "/deploy", query: query, timeout: Self.writeTimeout,
            body: ("multipart/form-data; boundary=\(boundary)", form))
    }

    /// A boundary that does not occur in the content: no randomness is needed for that.
    static func boundary(for content: [UInt8]) -> String {
        let data = Data(content)
        var number = 0
        while data.range(of: Data("cortex-form-\(number)".utf8)) != nil { number += 1 }
        return "cortex-form-\(number)"
    }
}
