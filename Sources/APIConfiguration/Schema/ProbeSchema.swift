import Core

/// The schemas of `readiness_probe`, `liveness_probe` and `pre_stop`.
enum ProbeSchema {
    static let readiness = probe([httpGetField, tcpSocketField, execField])

    /// For the kinds whose probes run outside of the container.
    static let readinessWithoutExec = probe([
        httpGetField, tcpSocketField,
        SchemaField(
            "exec",
            .unsupported(.notAllowed, "a readiness probe takes http_get or tcp_socket here, not exec"),
            .optional, null: .asAbsent, "Not for readiness: only http_get and tcp_socket."),
    ])

    static let liveness = probe([httpGetField, tcpSocketField, execField])

    static let preStop = SchemaObject([httpGetField, execField], rules: [exactlyOne(of: ["http_get", "exec"])])

    private static let httpGetField = SchemaField(
        "http_get",
        .object(
            SchemaObject(
                [
                    SchemaField("port", .integer(1...65535), .required, "Port of the container."),
                    SchemaField(
                        "path", .string(.probePath), .default("/"), "Path; a status from 200 to 399 is success."),
                ], rules: [PodSchema.reservedPort])),
        .optional, null: .asAbsent, "An HTTP GET request.")

    private static let tcpSocketField = SchemaField(
        "tcp_socket",
        .object(
            SchemaObject(
                [SchemaField("port", .integer(1...65535), .required, "Port of the container.")],
                rules: [PodSchema.reservedPort])),
        .optional, null: .asAbsent, "A TCP connection.")

    private static let execField = SchemaField(
        "exec",
        .object(
            SchemaObject(
                [
                    SchemaField(
                        "command", .list(of: .string(.any), minimum: 1), .required,
                        "Program and arguments; status 0 is success."
                    )
                ], rules: [PodSchema.programAlone])),
        .optional, null: .asAbsent, "A command inside the container.")

    private static func probe(_ handlers: [SchemaField]) -> SchemaObject {
        let count = Int64(Int32.max)
        let allowed = handlers.filter { if case .unsupported = $0.type { false } else { true } }.map(\.key)
        return SchemaObject(
            handlers + [
                SchemaField(
                    "initial_delay_seconds", .integer(0...count), .default("0"), "Seconds before the first check."),
                SchemaField(
                    "timeout_seconds", .integer(0...count), .default("1"),
                    "Seconds one check may take; 0 is read as 1."),
                SchemaField("period_seconds", .integer(1...count), .default("10"), "Seconds between checks."),
                SchemaField(
                    "success_threshold", .integer(1...count), .default("1"),
                    "Successes in a row that make it pass again."),
                SchemaField(
                    "failure_threshold", .integer(0...count), .default("3"),
                    "Failures in a row that make it fail; 0 is read as 3."),
            ],
            rules: [exactlyOne(of: handlers.map(\.key), named: allowed)])
    }

    /// - Parameter allowed: the keys that messages name; `nil` for all of them.
    static func exactlyOne(of keys: [String], named allowed: [String]? = nil) -> SchemaRule {
        let names = (allowed ?? keys).joined(separator: ", ")
        return SchemaRule(
            "Exactly one of \(names) is given.",
            schema: .object([
                "oneOf": .array(
                    keys.map { key in
                        .object([
                            "required": .array([.string(key)]),
                            "properties": .object([key: .object(["not": .object(["type": .string("null")])])]),
                        ])
                    })
            ])
        ) { object in
            let given = keys.filter { object.given.contains($0) }
            guard given.count != 1 else { return [] }
            let found = given.isEmpty ? "none" : given.joined(separator: " and ")
            return [
                .init(
                    path: "", mark: object.mark, kind: .specifyExactlyOne,
                    message: "must have exactly one of \(names), found \(found)")
            ]
        }
    }
}
