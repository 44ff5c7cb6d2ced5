import Core

/// The schema of `kind: AsyncAPI`.
enum AsyncAPISchema {
    private static let year = CommonSchema.year
    private static let bytes: ClosedRange<Int64> = 1...(1 << 40)

    static let root = SchemaObject([
        CommonSchema.name,
        CommonSchema.kind(.async, "AsyncAPI: requests wait in a durable queue, results are fetched later."),
        SchemaField(
            "pod", .object(PodSchema.async), .defaultObject, "The containers that run together as one replica."),
        SchemaField("networking", .object(networking), .defaultObject, "Where the API is reached."),
        CommonSchema.autoscaling,
        CommonSchema.updateStrategy,
        CommonSchema.nodeGroups,
        SchemaField("retries", .object(retries), .defaultObject, "Which failed attempts are made again."),
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
        SchemaField("cors", .object(cors), .defaultObject, "What browsers on other origins may do."),
    ])

    private static let cors = SchemaObject([
        SchemaField(
            "allow_origins", .list(of: .string(.origin), unique: true), .defaultList(["*"]),
            "Origins a browser may call from; * is any, an empty list is none.")
    ])

    private static let retries = SchemaObject([
        SchemaField(
            "max_attempts", .integer(1...100), .default("3"), "Deliveries of a request in all, the first included."),
        SchemaField(
            "on", .list(of: .choice(RetryPolicy.Reason.allCases.map(\.rawValue)), unique: true),
            .defaultList([RetryPolicy.Reason.unreachable.rawValue]), "What is tried again."),
        SchemaField(
            "backoff", .duration(.zero...Limits.retryBackoff), .default("1s"),
            "Wait before the second attempt; doubles with each further one, up to five minutes."),
    ])
}
