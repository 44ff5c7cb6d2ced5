package import Core

/// The schema table of `cortex.yaml` for each kind of API. Validation, defaults, the JSON Schema and the reference page
/// are derived from it (reference: cortex.md §1; contract Y1, Y2).
package enum APISchema {
    /// The schema of one element of the file.
    package static func root(of kind: APIKind) -> SchemaObject {
        switch kind {
        case .async: AsyncAPISchema.root
        case .realtime: RealtimeAPISchema.root
        case .batch: BatchAPISchema.root
        case .task: TaskAPISchema.root
        case .trafficSplitter: TrafficSplitterSchema.root
        }
    }

    /// The schema of an element whose kind is not known.
    static let unknownKind = SchemaObject([CommonSchema.name, kind])

    private static let kind = SchemaField(
        "kind", .choice(APIKind.allCases.filter(\.isServed).map(\.rawValue)), .required,
        "Kind of the API.")
}

/// The schema of `kind: AsyncAPI`.
enum AsyncAPISchema {
    private static let year = CommonSchema.year
    private static let bytes: ClosedRange<Int64> = 1...(1 << 40)

    static let root = SchemaObject([
        CommonSchema.name,
        CommonSchema.kind(.async, "AsyncAPI: requests wait in a durable queue, results are read later."),
        SchemaField(
            "pod", .object(PodSchema.async), .defaultObject, "The containers that run together as one replica."),
        SchemaField("networking", .object(networking), .defaultObject, "Address of the API."),
        CommonSchema.autoscaling,
        CommonSchema.updateStrategy,
        CommonSchema.nodeGroups,
        SchemaField("retries", .object(retries), .defaultObject, "Which failed attempts are retried."),
        SchemaField(
            "timeout", .duration(.milliseconds(1)...year), .default("12h"),
            "How long the container may work on one attempt."),
        SchemaField(
            "retention", .duration(.seconds(1)...year), .default("7d"), "How long an ended request stays readable."),
        SchemaField("max_payload", .size(bytes), .default("1Gi"), "Largest payload that is accepted, in bytes."),
        SchemaField("max_result", .size(bytes), .default("64Mi"), "Largest result that is stored, in bytes."),
        SchemaField(
            "max_queue_length", .integer(1...CommonSchema.count), .optional, null: .asAbsent,
            "Most requests that wait at a time; further ones are refused with status 429."),
        SchemaField(
            "max_queue_time", .duration(.milliseconds(1)...year), .optional, null: .asAbsent,
            "How long a request may wait for a replica before it fails as expired."),
        SchemaField(
            "keep_failed", .duration(.zero...year), .default("24h"),
            "How long a failed request's payload is kept for cortex retry; 0s keeps nothing."),
    ])

    private static let networking = SchemaObject([
        CommonSchema.endpoint,
        SchemaField("cors", .object(cors), .defaultObject, "Rules for browsers on other origins."),
    ])

    private static let cors = SchemaObject([
        SchemaField(
            "allow_origins", .list(of: .string(.origin), unique: true), .defaultList(["*"]),
            "Origins a browser may call from; * is any, an empty list is none.")
    ])

    private static let retries = SchemaObject([
        SchemaField(
            "max_attempts", .integer(1...100), .default("3"), "Deliveries of a request in total, including the first."),
        SchemaField(
            "on", .list(of: .choice(RetryPolicy.Reason.allCases.map(\.rawValue)), unique: true),
            .defaultList([RetryPolicy.Reason.unreachable.rawValue]), "The failures that are retried."),
        SchemaField(
            "backoff", .duration(.zero...Limits.retryBackoff), .default("1s"),
            "Delay before the second attempt; doubles with each further one, up to five minutes."),
    ])
}

// The kinds of the original that this version does not serve: they are checked against the original's schema, and
// refused when deployed.

/// The schema of `kind: RealtimeAPI`.
enum RealtimeAPISchema {
    static let root = SchemaObject(
        [
            CommonSchema.name,
            CommonSchema.kind(.realtime, "RealtimeAPI: callers wait for the answer."),
            SchemaField(
                "pod", .object(PodSchema.realtime), .defaultObject, "The containers that run together as one replica."),
            CommonSchema.networking, CommonSchema.autoscaling, CommonSchema.updateStrategy, CommonSchema.nodeGroups,
        ], rules: [targetWithinPod])

    private static let targetWithinPod = SchemaRule(
        "autoscaling.target_in_flight is at most pod.max_concurrency plus pod.max_queue_length."
    ) { api in
        guard let target = api["autoscaling"]?.object?["target_in_flight"], let value = target.number,
            let pod = api["pod"]?.object, let concurrency = pod["max_concurrency"]?.integer,
            let queue = pod["max_queue_length"]?.integer, value > Double(concurrency + queue)
        else { return [] }
        return [
            .init(
                path: "autoscaling.target_in_flight", mark: target.mark, kind: .targetInFlightLimitReached,
                message:
                    "must be at most max_concurrency plus max_queue_length of the pod (\(concurrency) + \(queue)), found \(NumberRange.text(value))"
            )
        ]
    }
}

/// The schema of `kind: BatchAPI`.
enum BatchAPISchema {
    static let root = SchemaObject([
        CommonSchema.name,
        CommonSchema.kind(.batch, "BatchAPI: a job processes many items, then ends."),
        SchemaField(
            "pod", .object(PodSchema.batch), .defaultObject, "The containers that run together as one worker."),
        CommonSchema.networking, CommonSchema.nodeGroups,
    ])
}

/// The schema of `kind: TaskAPI`.
enum TaskAPISchema {
    static let root = SchemaObject([
        CommonSchema.name,
        CommonSchema.kind(.task, "TaskAPI: a job runs a program once, then ends."),
        SchemaField("pod", .object(PodSchema.task), .defaultObject, "The containers that run together as one worker."),
        CommonSchema.networking, CommonSchema.nodeGroups,
    ])
}

/// The schema of `kind: TrafficSplitter`.
enum TrafficSplitterSchema {
    static let root = SchemaObject(
        [
            CommonSchema.name,
            CommonSchema.kind(.trafficSplitter, "TrafficSplitter: distributes requests among RealtimeAPIs."),
            CommonSchema.networking,
            SchemaField("apis", .list(of: .object(share), minimum: 1), .required, "The APIs that share the requests."),
        ], rules: [hundred, uniqueNames, oneShadow])

    private static let share = SchemaObject([
        SchemaField("name", .string(.apiName), .required, "Name of a RealtimeAPI, deployed or in the same file."),
        SchemaField("weight", .integer(0...100), .required, "Its share of the requests, in percent."),
        SchemaField(
            "shadow", .boolean, .default("false"), "Whether it gets copies of the requests; its answers are discarded."),
    ])

    private static let hundred = SchemaRule("The weights of all but shadow APIs sum to 100.") { splitter in
        guard let apis = splitter["apis"], let elements = apis.list else { return [] }
        let shares = elements.compactMap(\.object)
        let counted = shares.filter { $0["shadow"]?.boolean == false }
        let weights = counted.compactMap { $0["weight"]?.integer }
        // A wrong weight would make the sum wrong too.
        guard shares.allSatisfy({ $0["shadow"] != nil }), weights.count == counted.count,
            weights.reduce(0, +) != 100
        else { return [] }
        let sum = weights.isEmpty ? "none" : weights.map(String.init).joined(separator: " + ")
        let total = weights.count > 1 ? " = \(weights.reduce(0, +))" : ""
        return [
            .init(
                path: "apis", mark: apis.mark, kind: .incorrectTrafficSplitterWeight,
                message: "the weights of all APIs that are no shadow must sum to 100, found \(sum)\(total)")
        ]
    }

    private static let uniqueNames = SchemaRule("Each API is in the list once.") { splitter in
        var seen: Set<String> = []
        return (splitter["apis"]?.list ?? []).enumerated().compactMap { index, share in
            guard let name = share.object?["name"], let text = name.string, !seen.insert(text).inserted else {
                return nil
            }
            return .init(
                path: "apis[\(index)].name", mark: name.mark, kind: .trafficSplitterAPIsNotUnique,
                message: "\(text.quoted) is in the list twice")
        }
    }

    private static let oneShadow = SchemaRule(
        "At most one API is a shadow.",
        schema: .object([
            "properties": .object([
                "apis": .object([
                    "contains": .object([
                        "required": .array([.string("shadow")]),
                        "properties": .object(["shadow": .object(["const": .bool(true)])]),
                    ]), "minContains": .integer(0), "maxContains": .integer(1),
                ])
            ])
        ])
    ) { splitter in
        let shadows = (splitter["apis"]?.list ?? []).enumerated().filter {
            $0.element.object?["shadow"]?.boolean == true
        }
        return shadows.dropFirst().compactMap { index, share in
            guard let mark = share.object?["shadow"]?.mark else { return nil }
            return .init(
                path: "apis[\(index)].shadow", mark: mark, kind: .oneShadowPerTrafficSplitter,
                message: "only one API can be a shadow, and apis[\(shadows[0].offset)] is one already")
        }
    }
}
