/// The body of every answer that is not a success: `{"error":{"kind","message"}}` (contract A4).
package struct ErrorDocument: Sendable, Hashable, Codable {
    package var error: Detail

    package init(_ error: Detail) {
        self.error = error
    }

    package init(_ error: PlatformError, problems: [Problem]? = nil) {
        self.error = Detail(kind: error.code.kind, message: error.message, problems: problems)
    }

    package struct Detail: Sendable, Hashable, Codable {
        /// A word of ``PlatformError/Code``.
        package var kind: String
        package var message: String
        /// Only for `configuration_invalid`: what `message` says, one by one.
        package var problems: [Problem]?

        package init(kind: String, message: String, problems: [Problem]? = nil) {
            self.kind = kind
            self.message = message
            self.problems = problems
        }
    }

    /// One problem of a deployed file.
    package struct Problem: Sendable, Hashable, Codable {
        package var file: String?
        /// Counted from 1.
        package var line: Int?
        /// Counted from 1.
        package var column: Int?
        /// How much of the line it is about, in Unicode scalars; 1 where it is not said.
        package var length: Int?
        /// Name of the API it is in.
        package var api: String?
        /// Path of the field, such as `pod.containers[0].image`.
        package var path: String?
        /// What is wrong, as a word for programs.
        package var kind: String?
        /// What was found, and what is allowed.
        package var message: String
        /// What to do about it.
        package var hint: String?
        /// The known word that a misspelt one is near to.
        package var suggestion: String?
        /// The whole problem in one line: place, API, path, message and what to do.
        package var text: String

        package init(
            file: String? = nil, line: Int? = nil, column: Int? = nil, length: Int? = nil, api: String? = nil,
            path: String? = nil, kind: String? = nil, message: String, hint: String? = nil, suggestion: String? = nil,
            text: String
        ) {
            self.file = file
            self.line = line
            self.column = column
            self.length = length
            self.api = api
            self.path = path
            self.kind = kind
            self.message = message
            self.hint = hint
            self.suggestion = suggestion
            self.text = text
        }
    }
}

/// `{"message"}`: the answer of `refresh` and `delete`.
package struct MessageDocument: Sendable, Hashable, Codable {
    package var message: String

    package init(message: String) {
        self.message = message
    }
}
