import Core
import HTTPServing
import NIOCore
import Wire

extension Operator {
    /// What a form adds to the file in it: boundaries and headers.
    private static let formOverhead = 64 * 1024

    /// `POST /deploy`: the file as the part `config` of a form, or as the whole body.
    func deploy(_ call: OperatorCall, _ body: inout IncomingBody) async throws -> OutgoingResponse {
        let request = call.request
        let query = try QueryParameters(request)
        let force = try query.bool("force")
        let directory = try query.text("configDir")
        if let directory, !directory.hasPrefix("/") || directory.utf8.contains(0) {
            throw PlatformError(
                .badRequest, "the query parameter configDir must be an absolute folder, not \(directory.shown)")
        }
        let (file, partName) = try await configurationFile(request, &body)
        let fileName = try query.text("configFileName") ?? partName ?? "cortex.yaml"
        guard fileName.unicodeScalars.count <= 255,
            !fileName.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F })
        else {
            throw PlatformError(
                .badRequest, "configFileName must have at most 255 characters and no control characters")
        }
        do {
            let results = try await deployments.deploy(
                file, fileName: fileName, baseDirectory: directory, by: call.principal, force: force)
            let addresses = configuration.addresses().reachable(from: request.header("host"))
            return try Self.json(results.map { Self.document($0, addresses) })
        } catch let rejected as ConfigurationRejected {
            let error = PlatformError(.configurationInvalid, rejected.message)
            return try Self.json(ErrorDocument(error, problems: rejected.problems), status: error.code.status)
        }
    }

    private static func document(_ outcome: DeployService.DeployResult, _ addresses: PlatformAddresses)
        -> DeployResultDocument
    {
        DeployResultDocument(
            api: outcome.api.map { APIDocument(spec: specDocument($0), endpoint: endpoint(of: $0, addresses)) },
            message: outcome.message, error: outcome.error?.message ?? "", errorKind: outcome.error?.code.kind)
    }

    private func configurationFile(_ request: IncomingRequest, _ body: inout IncomingBody) async throws
        -> (file: [UInt8], name: String?)
    {
        guard let boundary = try MultipartForm.boundary(ofContentType: request.header("content-type") ?? "") else {
            let file = Array(buffer: try await body.collect(upTo: Limits.configuration))
            guard !file.isEmpty else {
                throw PlatformError(
                    .badRequest, "the body is empty: send cortex.yaml as the body, or as the part config of a form")
            }
            return (file, nil)
        }
        let bytes = Array(buffer: try await body.collect(upTo: Limits.configuration + Self.formOverhead))
        let parts = try MultipartForm(bytes, boundary: boundary).parts.filter { $0.name == "config" }
        guard let part = parts.first, parts.count == 1 else {
            throw PlatformError(
                .badRequest, "the form must have exactly one part named config with the file; it has \(parts.count)")
        }
        guard part.content.count <= Limits.configuration else {
            throw IncomingBody.tooLarge(limit: Int64(Limits.configuration))
        }
        return (part.content, part.fileName.flatMap { $0.isEmpty ? nil : $0 })
    }
}

extension Operator {
    /// `POST /rollback/{api}?version=ID&force=true`
    func rollback(_ call: OperatorCall) async throws -> OutgoingResponse {
        let query = try QueryParameters(call.request)
        let (version, force) = (try query.text("version"), try query.bool("force"))
        do {
            let outcome = try await deployments.rollback(
                api: call.api, to: version, by: call.principal, force: force)
            return try Self.json(MessageDocument(message: outcome.message))
        } catch let rejected as ConfigurationRejected {
            let error = PlatformError(.configurationInvalid, rejected.message)
            return try Self.json(ErrorDocument(error, problems: rejected.problems), status: error.code.status)
        }
    }
}
