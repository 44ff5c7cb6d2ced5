package import Core

/// The one table behind `cortex.yaml`: what each kind of API may say. Validation, defaults, the JSON Schema and the reference page come from it
/// (reference: cortex.md §1; contract Y1, Y2).
package enum APISchema {
    /// The schema of one element of the file.
    package static func root(of kind: APISpecification.Kind) -> SchemaObject {
        switch kind {
        case .async: AsyncAPISchema.root
        case .realtime: RealtimeAPISchema.root
        case .batch: BatchAPISchema.root
        case .task: TaskAPISchema.root
        case .trafficSplitter: TrafficSplitterSchema.root
        }
    }

    /// What can be said of an element whose kind is not known.
    static let unknownKind = SchemaObject([CommonSchema.name, kind])

    private static let kind = SchemaField(
        "kind", .choice(APISpecification.Kind.allCases.map(\.rawValue)), .required, "Kind of the API.")
}

extension APISpecification.Kind {
    /// Whether this version runs APIs of this kind. Others are checked all the same, and refused when they are deployed.
    package var isServed: Bool { self == .async }
}
