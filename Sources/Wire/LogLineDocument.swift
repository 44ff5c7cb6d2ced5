package import Core

/// One line of the `application/x-ndjson` stream of `GET /logs/{api}`.
///
/// Exactly one of three: a line of a container (`replica`, `container`, `text`), a notice of the platform (`notice`), or the error that ended the stream (`error`).
/// An empty line of the stream is a heartbeat: skip it.
package struct LogLineDocument: Sendable, Hashable, Codable {
    package var replica: String?
    package var container: String?
    /// The line, without its line end.
    package var text: String?
    /// Something to tell the person who reads, not a line of a container.
    package var notice: String?
    package var error: ErrorDocument.Detail?

    package init(replica: String, container: String, text: String) {
        self.replica = replica
        self.container = container
        self.text = text
    }

    package init(notice: String) {
        self.notice = notice
    }

    package init(error: PlatformError) {
        self.error = ErrorDocument(error).error
    }
}
