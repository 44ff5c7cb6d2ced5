import Core

/// The parts of the reference page that are not tables: the supported YAML, and the report of problems.
enum ConfigurationGuide {
    static let yaml = """
        ## Values

        | type | how it is written |
        |---|---|
        | text | unchanged; in quotes where YAML would read another type (below); must not begin with `@` |
        | integer | only digits: `8080`, not `"8080"`, `8080.0` or `08080` |
        | duration | numbers with units: `300ms`, `30s`, `1h30m`, `1.5h`, `7d` (`ns`, `us`, `ms`, `s`, `m`, `h`, `d`) |
        | quantity | a number with `k`, `M`, `G`, `T` (by 1000) or `Ki`, `Mi`, `Gi`, `Ti` (by 1024), or a bare number of bytes; for `cpu` cores: `2`, `0.5`, `500m` |
        | count or percentage | `1` or `25%` |

        ## YAML

        One document per file, UTF-8, at most \(Limits.configuration >> 20) MiB; JSON is YAML too. Anchors (`&name`), aliases (`*name`) and merge keys (`<<`) work, within one file.
        Tags other than YAML's own (`!!str`, …) and a second document after `---` are refused. So are unknown keys and repeated keys of a map.

        For YAML's common traps the message explains what happened:

        - `yes`, `no`, `on`, `off`, `true`, `false` without quotes are booleans: write `"yes"` for the text.
        - `3.10` without quotes is the number 3.1: in `env`, write `"3.10"`.
        - A leading zero (`0755`) is octal for some readers and decimal for others: it is refused; write `"0755"` for text, `0o755` for the octal number.
        - Tabs never indent: use spaces.
        - `key:` without a value is null, not an empty text (`""`) and not an empty map (`{}`).
        - Text that begins with `*`, `&`, `!`, `@`, `%`, `{` or `[`, or has `: ` or ` #` in it, needs quotes.
        """

    private static let sample = """
        - name: iris
          kind: AsyncAPI
          pod:
            max_concurency: 4
            containers:
              - name: api
                image: registry.example.com/iris:1.0
                env: {PYTHON_VERSION: 3.10}
                compute: {mem: 2GB}
          timeout: 60
        """

    /// The reader's problems of a sample, so that the page shows real messages.
    static func problems() -> String {
        let bytes = Array(sample.utf8)
        let result = ConfigurationFile.parse(bytes, fileName: "cortex.yaml", baseDirectory: nil)
        let renderer = ProblemRenderer(file: nil, source: SourceText(bytes), columns: 100, hasColor: false)
        return """
            ## Problems

            Each problem comes with its place (line and column, both counted from 1), the API's name, the path of the field, what was found and what is allowed.
            On a terminal the line of the file is shown too. For the file

            ```yaml mistakes.yaml
            \(sample)
            ```

            `cortex deploy` prints

            ```
            \(renderer.render(result.problems.map { ReportedProblem($0) }))
            ```

            In a pipe or a file each problem is one line in the format of compilers, so that editors can jump to its place. Over HTTP (`POST /deploy`) they are
            `error.problems`, each with `file`, `line`, `column`, `length`, `api`, `path`, `kind`, `message`, `hint`, `suggestion`, and all of it as `text`.
            """
    }
}
