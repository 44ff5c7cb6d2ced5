import APIConfiguration
import Core

/// A `cortex.yaml` for a table test: its content, and the expected problems.
struct Document: Sendable, CustomStringConvertible {
    var description: String
    var text: String
    /// `line:column path kind`, in the order of the report.
    var problems: [String]

    init(_ description: String, _ text: String, _ problems: String...) {
        self.description = description
        self.text = text
        self.problems = problems
    }

    /// All kinds, whether or not this release serves them.
    static let kinds = Set(APIKind.allCases)
    /// The kinds that a release without jobs serves.
    static let kindsWithoutJobs: Set<APIKind> = [.async, .realtime, .trafficSplitter]

    func parsed(
        baseDirectory: String? = "/home/ada/iris", served: Set<APIKind> = kinds,
        submissions: @escaping SubmissionCheck = { _, _ in [] }
    ) -> ConfigurationResult {
        ConfigurationFile.parse(
            Array(text.utf8), fileName: "cortex.yaml", baseDirectory: baseDirectory, served: served,
            submissions: submissions)
    }

    /// An API with these lines at its top level; they begin in line 7, column 3.
    static func top(_ lines: String) -> String {
        """
        - name: iris
          kind: AsyncAPI
          pod:
            containers:
            - name: main
              image: quay.io/ada/iris:1
        \(indented(lines, by: 2))

        """
    }

    /// An API with these lines in `pod`; they begin in line 5, column 5.
    static func pod(_ lines: String) -> String {
        """
        - name: iris
          kind: AsyncAPI
          pod:
            containers: [{name: main, image: quay.io/ada/iris:1}]
        \(indented(lines, by: 4))

        """
    }

    /// An API with these lines in its only container; they begin in line 6, column 7.
    static func container(_ lines: String) -> String {
        """
        - name: iris
          kind: AsyncAPI
          pod:
            containers:
            - name: main
        \(indented(lines, by: 6))

        """
    }

    private static func indented(_ lines: String, by count: Int) -> String {
        lines.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.isEmpty ? "" : String(repeating: " ", count: count) + $0 }.joined(separator: "\n")
    }
}

extension ConfigurationProblem {
    /// `line:column path kind`.
    var place: String { "\(line):\(column) \(path) \(kind.rawValue)" }
}
