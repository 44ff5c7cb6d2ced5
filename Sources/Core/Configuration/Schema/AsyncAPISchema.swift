/// The schema of one element of `cortex.yaml` with `kind: AsyncAPI` (reference: contract Y1, Y2).
package enum AsyncAPISchema {
    /// The original stored replica counts in 32 bits.
    private static let count = Int64(Int32.max)
    private static let year: Duration = .seconds(365 * 86_400)
    private static let bytes: ClosedRange<Int64> = 1...(1 << 40)

    package static let root = SchemaObject([
        SchemaField("name", .string(.apiName), .required, "Name of the API; also the default of its endpoint."),
        SchemaField(
            "kind", .choice(APISpecification.Kind.allCases.map(\.rawValue)), .required,
            "Kind of the API; this platform serves AsyncAPI."),
        SchemaField("pod", .object(PodSchema.root), .defaultObject, "The containers that run together as one replica."),
        SchemaField("networking", .object(networking), .defaultObject, "Where the API is reached."),
        SchemaField("autoscaling", .object(autoscaling), .defaultObject, "How many replicas there are."),
        SchemaField(
            "update_strategy", .object(updateStrategy), .defaultObject, "How a new version replaces the old one."),
        SchemaField(
            "node_groups",
            .unsupported(.notSupported, "there are no node groups here: every replica runs on this machine; remove it"),
            .optional, null: .asAbsent, "Node groups of the original on AWS; only null is accepted."),
        SchemaField("retries", .object(retries), .defaultObject, "Which failed attempts are made again."),
        SchemaField(
            "timeout", .duration(.milliseconds(1)...year), .default("12h"),
            "How long the container may work on one attempt."),
        SchemaField(
            "retention", .duration(.seconds(1)...year), .default("7d"), "How long an ended request stays readable."),
        SchemaField("max_payload", .size(bytes), .default("1Gi"), "Largest payload that is accepted, in bytes."),
        SchemaField("max_result", .size(bytes), .default("64Mi"), "Largest result that is stored, in bytes."),
        SchemaField(
            "max_queue_length", .integer(1...count), .optional, null: .asAbsent,
            "Most requests that wait at a time; further ones are refused with status 429."),
        SchemaField(
            "max_queue_time", .duration(.milliseconds(1)...year), .optional, null: .asAbsent,
            "How long a request may wait for a replica before it fails as expired."),
        SchemaField(
            "keep_failed", .duration(.zero...year), .default("24h"),
            "How long a failed request's payload is kept for cortex retry; 0s keeps nothing."),
    ])

    static let networking = SchemaObject([
        SchemaField(
            "endpoint", .string(.endpoint), .derived("a slash and the API's name"),
            "Path under which the API is served."
        ),
        SchemaField("cors", .object(cors), .defaultObject, "What browsers on other origins may do."),
    ])

    static let cors = SchemaObject([
        SchemaField(
            "allow_origins", .list(of: .string(.origin), unique: true), .defaultList(["*"]),
            "Origins a browser may call from; * is any, an empty list is none.")
    ])

    static let autoscaling = SchemaObject(
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
                "Share of the replicas that one step down leaves at least."),
            SchemaField(
                "max_upscale_factor", .number(.above(1)), .default("1.5"),
                "Multiple of the replicas that one step up reaches at most."),
            SchemaField(
                "downscale_tolerance", .number(.atLeast(0, below: 1)), .default("0.05"),
                "Shortfall of load, as a share, that changes nothing."),
            SchemaField(
                "upscale_tolerance", .number(.atLeast(0)), .default("0.05"),
                "Excess of load, as a share, that changes nothing."),
        ],
        rules: [
            atMost("min_replicas", "max_replicas", .minReplicasGreaterThanMax),
            atMost("init_replicas", "max_replicas", .initReplicasGreaterThanMax),
            SchemaRule("init_replicas is at least min_replicas.") { object in
                guard let initial = object["init_replicas"], let least = object["min_replicas"]?.integer,
                    let value = initial.integer, value < least
                else { return [] }
                return [
                    .init(
                        path: "init_replicas", mark: initial.mark, kind: .initReplicasLessThanMin,
                        message: "must be at least min_replicas (\(least)), found \(value)")
                ]
            },
        ])

    static let updateStrategy = SchemaObject(
        [
            SchemaField(
                "max_surge", .amount, .default("25%"),
                "Replicas above the wanted number during an update: a count, or a percentage rounded up."),
            SchemaField(
                "max_unavailable", .amount, .default("25%"),
                "Replicas below the wanted number during an update: a count, or a percentage rounded down."),
        ],
        rules: [
            SchemaRule("max_surge and max_unavailable are not both zero.") { object in
                guard let surge = object["max_surge"], let unavailable = object["max_unavailable"],
                    surge.amount?.isZero == true, unavailable.amount?.isZero == true
                else { return [] }
                return [
                    .init(
                        path: "max_surge", mark: surge.mark, kind: .surgeAndUnavailableBothZero,
                        message: "max_surge and max_unavailable must not both be zero: no replica could be replaced")
                ]
            }
        ])

    static let retries = SchemaObject([
        SchemaField(
            "max_attempts", .integer(1...100), .default("3"), "Deliveries of a request in all, the first included."),
        SchemaField(
            "on", .list(of: .choice(RetryPolicy.Reason.allCases.map(\.rawValue)), unique: true),
            .defaultList([RetryPolicy.Reason.unreachable.rawValue]), "What is tried again."),
        SchemaField(
            "backoff", .duration(.zero...(.seconds(300))), .default("1s"),
            "Wait before the second attempt; doubles with each further one, up to five minutes."),
    ])

    private static func atMost(_ lower: String, _ upper: String, _ kind: ConfigurationProblem.Kind) -> SchemaRule {
        SchemaRule("\(lower) is at most \(upper).") { object in
            guard let value = object[lower], let limit = object[upper]?.integer, let found = value.integer,
                found > limit
            else { return [] }
            // The place of the one that the file gives: a default has no line of its own.
            let mark = value.isDefault ? object[upper]?.mark ?? value.mark : value.mark
            return [
                .init(
                    path: lower, mark: mark, kind: kind, message: "must be at most \(upper) (\(limit)), found \(found)")
            ]
        }
    }
}

extension UpdateStrategy.Amount {
    var isZero: Bool {
        switch self {
        case .count(let value), .percent(let value): value == 0
        }
    }
}
