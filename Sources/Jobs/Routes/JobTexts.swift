import Core
import Foundation
import HTTPServing
import NIOCore
import NIOHTTP1
import Wire

/// The documents of jobs as bytes.
enum JobTexts {
    /// `/cortex/spec/job.json` (contract J8).
    static func file(of job: Job) throws -> String {
        String(decoding: try OrderedJSON.bytes(of: JobSubmissionDocument(job), .indented), as: UTF8.self)
    }

    /// `api_spec`, as in `GET /get`.
    static func specification(of api: DeployedAPI) throws -> VerbatimJSON {
        // What cannot be read as JSON is shown as the text it is.
        func json(_ text: String) -> JSONValue {
            (try? JSONDecoder().decode(JSONValue.self, from: Data(text.utf8))) ?? .string(text)
        }
        let document = SpecDocument(api, submitted: json(api.submitted), json: json)
        return VerbatimJSON(try OrderedJSON.bytes(of: document, .sorted))
    }

    /// An answer with a document; a part of it that is in the store is streamed.
    static func response(
        _ document: some Encodable, store: any Store, headersOnly: Bool, headers: HTTPHeaders = [:]
    ) async throws -> OutgoingResponse {
        var pieces = try OrderedJSON.pieces(of: document)
        pieces.append(.inline([UInt8(ascii: "\n")]))
        let length = pieces.reduce(0) { $0 + $1.size }
        if pieces.allSatisfy({ if case .inline = $0 { true } else { false } }) {
            var buffer = ByteBuffer()
            for case .inline(let bytes) in pieces { buffer.writeBytes(bytes) }
            return .json(buffer, headers: headers)
        }
        // Opened before the status is sent: what was erased is a 404, not a broken answer.
        var readers: [(any BodyReader)?] = []
        do {
            for piece in pieces {
                if case .stored = piece {
                    readers.append(try await store.reader(of: piece))
                } else {
                    readers.append(nil)
                }
            }
        } catch {
            for reader in readers { await reader?.close() }
            throw error
        }
        var all = headers
        all.add(name: "Content-Type", value: "application/json")
        let parts = zip(pieces, readers).map { (piece: $0, reader: $1) }
        guard !headersOnly else {
            for reader in readers { await reader?.close() }
            return OutgoingResponse(status: .ok, headers: all, body: .stream(length: length, write: { _ in }))
        }
        return OutgoingResponse(
            status: .ok, headers: all,
            body: .stream(
                length: length,
                write: { body in
                    defer { for part in parts { if let reader = part.reader { closeLater(reader) } } }
                    for part in parts {
                        if case .inline(let bytes) = part.piece { try await body.write(bytes) }
                        while let bytes = try await part.reader?.read(upTo: Limits.bodyPiece) {
                            try await body.write(bytes)
                        }
                    }
                }))
    }

    /// Closing waits for nothing that the answer depends on.
    private static func closeLater(_ reader: any BodyReader) {
        Task { await reader.close() }
    }
}
