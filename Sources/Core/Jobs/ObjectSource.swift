/// A file that a job may be made from.
package struct StoredObject: Sendable, Hashable {
    /// `s3://bucket/key` or `file:///path`, not encoded.
    package var url: String
    package var size: Int64
    /// Changes when the content does.
    package var version: String

    package init(url: String, size: Int64, version: String) {
        self.url = url
        self.size = size
        self.version = version
    }
}

/// Where files are: an S3-compatible server, or folders of this machine (contract B4). Safe from any task.
///
/// Errors: ``InputFailure`` for what stays wrong when it is tried again; ``PlatformError`` `unavailable` for a server
/// that does not answer now.
package protocol ObjectSource: Sendable {
    /// The beginning of its URLs: `s3://` or `file://`.
    var scheme: String { get }

    /// Refuses a URL that cannot be listed here, for example because no credentials are known.
    ///
    /// - Throws: ``PlatformError`` `not_supported` or `bad_request`, with the way out.
    func check(_ prefix: String) throws

    /// Files whose URLs begin with `prefix`, in ascending order of the bytes of their URLs.
    ///
    /// - Parameter after: only those above this URL.
    func objects(prefix: String, after: String?) async throws -> any ObjectListing

    /// Reads a file from a byte on.
    ///
    /// - Parameter take: gets the pieces in order; returns when there is space for the next one.
    /// - Throws: ``InputFailure`` also when the file's version is another one now.
    func read(_ object: StoredObject, from offset: Int64, _ take: ([UInt8]) async throws -> Void) async throws
}

/// A list that is being read. Used by one task at a time.
package protocol ObjectListing: Sendable {
    /// The next file; `nil` at the end.
    mutating func next() async throws -> StoredObject?
}

/// Why the input of a job cannot be read (contract B4).
package struct InputFailure: Error, Sendable, Hashable {
    package var url: String
    /// The byte in the file; `nil` where it is about the whole file.
    package var offset: Int64?
    /// In lower case, without a full stop.
    package var reason: String

    package init(url: String, offset: Int64? = nil, reason: String) {
        self.url = url
        self.offset = offset
        self.reason = reason
    }

    package var text: String {
        guard let offset else { return "\(url): \(reason)" }
        return "\(url), byte \(offset): \(reason)"
    }
}
