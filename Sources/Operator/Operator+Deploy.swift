import Core
import HTTPTypes
import Hummingbird
import NIOCore

extension Operator {
    /// What a form adds to the file in it: boundaries and headers.
    private static let formOverhead = 64 * 1024

    /// `POST /deploy`: the file as the part `config` of a form, or as the whole body.
    func deploy(_ request: Request, query: QueryParameters, addresses: PlatformAddresses) async throws
        -> [DeployResultDocument]
    {
        let force = try query.bool("force")
        let directory = try query.text("configDir")
        if let directory, !directory.hasPrefix("/") || directory.utf8.contains(0) {
            throw PlatformError(
                .badRequest, "the query parameter configDir must be an absolute folder, not \(directory.shown)")
        }
        let (file, partName) = try await configurationFile(of: request)
        let fileName = try query.text("configFileName") ?? partName ?? "cortex.yaml"
        guard fileName.utf8.count <= 255,
            !fileName.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F })
        else {
            throw PlatformError(
                .badRequest,
                "the query parameter configFileName must be at most 255 bytes without control characters")
        }
        let outcomes = try await deployments.deploy(file, fileName: fileName, baseDirectory: directory, force: force)
        return outcomes.map { outcome in
            DeployResultDocument(
                api: outcome.api.map {
                    APIDocument(spec: Self.specDocument($0), endpoint: Self.endpoint(of: $0, addresses))
                },
                message: outcome.message, error: outcome.error?.message ?? "")
        }
    }

    private func configurationFile(of request: Request) async throws -> (file: [UInt8], name: String?) {
        guard let boundary = try MultipartForm.boundary(ofContentType: request.headers[.contentType] ?? "") else {
            let file = try await body(of: request, upTo: Limits.configuration)
            guard !file.isEmpty else {
                throw PlatformError(
                    .badRequest, "the body is empty: send cortex.yaml as the body, or as the part config of a form")
            }
            return (file, nil)
        }
        let form = try MultipartForm(
            try await body(of: request, upTo: Limits.configuration + Self.formOverhead), boundary: boundary)
        let parts = form.parts.filter { $0.name == "config" }
        guard let part = parts.first, parts.count == 1 else {
            throw PlatformError(
                .badRequest, "the form must have exactly one part named config with the file; it has \(parts.count)")
        }
        guard part.content.count <= Limits.configuration else { throw Self.tooLarge(Limits.configuration) }
        return (part.content, part.fileName.flatMap { $0.isEmpty ? nil : $0 })
    }

    /// - Throws: `payload_too_large` past the limit; `bad_request` when fewer bytes came than were announced, so
    ///   that half a file is never deployed.
    private func body(of request: Request, upTo limit: Int) async throws -> [UInt8] {
        let announced = request.headers[.contentLength].flatMap { Int($0) }
        if let announced, announced > limit { throw Self.tooLarge(limit) }
        var bytes: [UInt8] = []
        for try await buffer in request.body {
            guard bytes.count + buffer.readableBytes <= limit else { throw Self.tooLarge(limit) }
            bytes += buffer.readableBytesView
        }
        if let announced, announced != bytes.count {
            throw PlatformError(.badRequest, "the body ended after \(bytes.count) of \(announced) bytes: send it again")
        }
        return bytes
    }

    private static func tooLarge(_ limit: Int) -> PlatformError {
        PlatformError(.payloadTooLarge, "a configuration may have at most \(limit) bytes: split the file")
    }
}
