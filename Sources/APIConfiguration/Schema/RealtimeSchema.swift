import Core

/// The schema of `kind: RealtimeAPI` (contract R, "Fields").
enum RealtimeAPISchema {
    static let root = SchemaObject(
        [
            CommonSchema.name,
            CommonSchema.kind(.realtime, "RealtimeAPI: callers wait for the answer."),
            SchemaField(
                "pod", .object(PodSchema.realtime), .defaultObject, "The containers that run together as one replica."),
            CommonSchema.networking(
                origins: [],
                "Origins a browser may call from; * is any. With an empty list the containers answer browsers themselves."
            ),
            CommonSchema.autoscaling, CommonSchema.updateStrategy, CommonSchema.nodeGroups,
            CommonSchema.retries(on: [.unreachable, .status5xx, .timeout], backoff: "0s"),
            SchemaField(
                "timeout", .duration(.milliseconds(1)...CommonSchema.year), .default("12h"),
                "Time from the assignment to a replica until the head of its response."),
            SchemaField(
                "idle_timeout", .duration(.seconds(1)...CommonSchema.year), .optional, null: .asAbsent,
                "Longest time without a byte in either direction, also on an upgraded connection."),
            SchemaField(
                "max_queue_time", .duration(.zero...(.seconds(3600))), .default("5m"),
                "Longest time that a request waits for a replica; with 0s it never waits."),
            SchemaField(
                "max_payload", .size(0...Int64.max), .optional, null: .asAbsent, "Largest request body, in bytes."),
            CommonSchema.sticky("Requests that go to the same replica: those with an equal cookie or header."),
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
