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
    static func unknownKind(served: [APIKind]) -> SchemaObject {
        let kind = SchemaField("kind", .choice(served.map(\.rawValue)), .required, "Kind of the API.")
        return SchemaObject([CommonSchema.name, kind])
    }
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
        CommonSchema.networking(origins: ["*"], "Origins a browser may call from; * is any, an empty list is none."),
        CommonSchema.autoscaling,
        CommonSchema.updateStrategy,
        CommonSchema.nodeGroups,
        CommonSchema.retries(on: RetryPolicy.Reason.ofAnyDelivery, backoff: "1s"),
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
}
