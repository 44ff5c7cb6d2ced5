import Core

/// Fields that several kinds of API have.
enum CommonSchema {
    /// The original stored counts in 32 bits.
    static let count = Int64(Int32.max)
    static let year: Duration = .seconds(365 * 86_400)

    static let name = SchemaField(
        "name", .string(.apiName), .required,
        "Name of the API, unique in the file, not beginning with b-; also the default of its endpoint.")

    static func kind(_ kind: APIKind, _ summary: String) -> SchemaField {
        SchemaField("kind", .choice([kind.rawValue]), .required, summary)
    }

    static let endpoint = SchemaField(
        "endpoint", .string(.endpoint), .derived("a slash and the API's name"),
        "Path under which the API is served; unique among all APIs.")

    /// `networking` of the kinds that have only an endpoint.
    static let networking = SchemaField(
        "networking", .object(SchemaObject([endpoint])), .defaultObject, "Address of the API.")

    /// `networking` of the kinds whose answers a browser may read.
    ///
    /// - Parameter origins: the default of `cors.allow_origins`.
    static func networking(origins: [String], _ summary: String) -> SchemaField {
        let cors = SchemaObject([
            SchemaField(
                "allow_origins", .list(of: .string(.origin), unique: true), .defaultList(origins), summary)
        ])
        return SchemaField(
            "networking",
            .object(
                SchemaObject([
                    endpoint,
                    SchemaField("cors", .object(cors), .defaultObject, "Rules for browsers on other origins."),
                ])), .defaultObject, "Address of the API.")
    }

    /// - Parameters:
    ///   - reasons: the failures that can be retried.
    ///   - backoff: its default.
    static func retries(on reasons: [RetryPolicy.Reason], backoff: String) -> SchemaField {
        SchemaField(
            "retries",
            .object(
                SchemaObject([
                    SchemaField(
                        "max_attempts", .integer(1...100), .default("3"),
                        "Deliveries in total, including the first."),
                    SchemaField(
                        "on", .list(of: .choice(reasons.map(\.rawValue)), unique: true),
                        .defaultList([RetryPolicy.Reason.unreachable.rawValue]), "The failures that are retried."),
                    SchemaField(
                        "backoff", .duration(.zero...Limits.retryBackoff), .default(backoff),
                        "Delay before the second attempt; doubles with each further one, up to five minutes."),
                ])), .defaultObject, "Which failed attempts are retried.")
    }

    static func sticky(_ summary: String) -> SchemaField {
        let object = SchemaObject(
            [
                SchemaField(
                    "cookie", .string(.cookieName), .optional, null: .asAbsent,
                    "Name of a cookie, which the platform sets where a request has none."),
                SchemaField(
                    "header", .string(.headerName), .optional, null: .asAbsent,
                    "Name of a header; a request without it is not sticky."),
            ], rules: [ProbeSchema.exactlyOne(of: ["cookie", "header"])])
        return SchemaField("sticky", .object(object), .optional, null: .asAbsent, summary)
    }

    static let nodeGroups = SchemaField(
        "node_groups",
        .unsupported(.notSupported, "there are no node groups here: every replica runs on this machine; remove it"),
        .optional, null: .asAbsent, "Node groups of the original on AWS; only null is accepted.")

    static let autoscaling = SchemaField(
        "autoscaling",
        .object(
            SchemaObject(
                [
                    SchemaField("min_replicas", .integer(0...count), .default("1"), "Fewest replicas."),
                    SchemaField("max_replicas", .integer(1...count), .default("100"), "Most replicas."),
                    SchemaField(
                        "init_replicas", .integer(0...count), .derived("min_replicas"),
                        "Replicas when the API is deployed first."),
                    SchemaField(
                        "target_in_flight", .number(.above(0)), .derived("max_concurrency of the pod"),
                        "Requests, queued and in progress, that one replica should have."),
                    SchemaField(
                        "window", .duration(.seconds(10)...year, multipleOf: .seconds(10)), .default("60s"),
                        "Time over which the number of requests is averaged."),
                    SchemaField(
                        "downscale_stabilization_period", .duration(.zero...year), .default("5m"),
                        "Replicas are removed only down to the highest recommendation of this time."),
                    SchemaField(
                        "upscale_stabilization_period", .duration(.zero...year), .default("1m"),
                        "Replicas are added only up to the lowest recommendation of this time."),
                    SchemaField(
                        "max_downscale_factor", .number(.atLeast(0, below: 1)), .default("0.75"),
                        "Smallest share of the replicas that one step down leaves."),
                    SchemaField(
                        "max_upscale_factor", .number(.above(1)), .default("1.5"),
                        "Largest factor by which one step increases the replicas."),
                    SchemaField(
                        "downscale_tolerance", .number(.atLeast(0, below: 1)), .default("0.05"),
                        "Shortfall of load, as a share, that changes nothing."),
                    SchemaField(
                        "upscale_tolerance", .number(.atLeast(0)), .default("0.05"),
                        "Excess of load, as a share, that changes nothing."),
                ],
                rules: [
                    atMost("min_replicas", "max_replicas", .minReplicasGreaterThanMax),
                    atMost("init_replicas", "max_replicas", .initReplicasGreaterThanMax), initAtLeastMin,
                ])),
        .defaultObject, "The number of replicas.")

    static let updateStrategy = SchemaField(
        "update_strategy",
        .object(
            SchemaObject(
                [
                    SchemaField(
                        "max_surge", .amount, .default("25%"),
                        "Replicas above the wanted number during an update: a count, or a percentage rounded up."),
                    SchemaField(
                        "max_unavailable", .amount, .default("25%"),
                        "Replicas below the wanted number during an update: a count, or a percentage rounded down."),
                ], rules: [notBothZero])),
        .defaultObject, "How a new version replaces the old one.")

    // MARK: Rules

    private static let initAtLeastMin = SchemaRule("init_replicas is at least min_replicas.") { object in
        guard let initial = object["init_replicas"], let least = object["min_replicas"]?.integer,
            let value = initial.integer, value < least
        else { return [] }
        return [
            .init(
                path: "init_replicas", mark: initial.mark, kind: .initReplicasLessThanMin,
                message: "must be at least min_replicas (\(least)), found \(value)")
        ]
    }

    private static func atMost(_ lower: String, _ upper: String, _ kind: ConfigurationProblem.Kind) -> SchemaRule {
        SchemaRule("\(lower) is at most \(upper).") { object in
            guard let value = object[lower], let limit = object[upper]?.integer, let found = value.integer,
                found > limit
            else { return [] }
            let isLimitDefault = object[upper]?.isDefault == true
            let bound = "\(upper) (\(limit)\(isLimitDefault ? " by default" : ""))"
            // The place of the value in the file: a default has no line.
            let mark = value.isDefault ? object[upper]?.mark ?? value.mark : value.mark
            let number = "\(found)\(value.isDefault ? " by default" : "")"
            return [.init(path: lower, mark: mark, kind: kind, message: "must be at most \(bound), found \(number)")]
        }
    }

    private static let notBothZero = SchemaRule(
        "max_surge and max_unavailable are not both zero.",
        schema: .object([
            "not": .object([
                "required": .array([.string("max_surge"), .string("max_unavailable")]),
                "properties": .object(["max_surge": zero, "max_unavailable": zero]),
            ])
        ])
    ) { object in
        guard let surge = object["max_surge"], let unavailable = object["max_unavailable"],
            surge.amount?.isZero == true, unavailable.amount?.isZero == true
        else { return [] }
        return [
            .init(
                path: "max_surge", mark: surge.mark, kind: .surgeAndUnavailableBothZero,
                message: "max_surge and max_unavailable must not both be zero: no replica could be replaced")
        ]
    }

    private static let zero = JSONValue.object([
        "anyOf": .array([
            .object(["const": .integer(0)]),
            .object(["type": .string("string"), "pattern": .string("^0+%?$")]),
        ])
    ])
}

extension UpdateStrategy.Amount {
    var isZero: Bool {
        switch self {
        case .count(let value), .percent(let value): value == 0
        }
    }
}
