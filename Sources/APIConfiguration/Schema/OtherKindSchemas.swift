import Core

// The kinds of the original that this version does not serve: they are checked against the original's own schema, and refused when deployed.

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
        CommonSchema.kind(.batch, "BatchAPI: a job works through many items, then ends."),
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
            CommonSchema.kind(.trafficSplitter, "TrafficSplitter: shares requests out among RealtimeAPIs."),
            CommonSchema.networking,
            SchemaField("apis", .list(of: .object(share), minimum: 1), .required, "The APIs that share the requests."),
        ], rules: [hundred, uniqueNames, oneShadow])

    private static let share = SchemaObject([
        SchemaField("name", .string(.apiName), .required, "Name of a RealtimeAPI, deployed or in the same file."),
        SchemaField("weight", .integer(0...100), .required, "Its share of the requests, in percent."),
        SchemaField(
            "shadow", .boolean, .default("false"), "Whether it gets copies of the requests, its answers unused."),
    ])

    private static let hundred = SchemaRule("The weights of all but shadow APIs sum to 100.") { splitter in
        guard let apis = splitter["apis"], let elements = apis.list else { return [] }
        let shares = elements.compactMap(\.object)
        let counted = shares.filter { $0["shadow"]?.boolean == false }
        let weights = counted.compactMap { $0["weight"]?.integer }
        // A share that is wrong itself would make the sum wrong too.
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

    private static let uniqueNames = SchemaRule("Each API stands in the list once.") { splitter in
        var seen: Set<String> = []
        return (splitter["apis"]?.list ?? []).enumerated().compactMap { index, share in
            guard let name = share.object?["name"], let text = name.string, !seen.insert(text).inserted else {
                return nil
            }
            return .init(
                path: "apis[\(index)].name", mark: name.mark, kind: .trafficSplitterAPIsNotUnique,
                message: "\(text.quoted) stands in the list twice")
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
