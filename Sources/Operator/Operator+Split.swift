import Access
import Core
import HTTPServing
import Logging
import NIOCore
import NIOHTTP1
import Support
import Synchronization
import Wire

extension Operator {
    /// Weights of TrafficSplitters without a file (contract X10).
    static let splitRoutes: [OperatorRoute] = [
        OperatorRoute(
            .POST, "/split/{api}", .split,
            OpenAPIOperation(
                id: "split", summary: "Changes the weights of a TrafficSplitter, or ends its roll-back.",
                description:
                    "New weights are a new version, which `/rollback` undoes. They hold for the next request.",
                body: [
                    "application/json": [
                        "schema": [
                            "oneOf": [
                                OpenAPISchemas.object([
                                    "weights": [
                                        "type": "object",
                                        "description": "The weight of every API but the shadow, 100 in all.",
                                        "additionalProperties": ["type": "integer", "minimum": 0, "maximum": 100],
                                    ]
                                ]),
                                OpenAPISchemas.object(["resume": ["type": "boolean", "const": true]]),
                            ]
                        ]
                    ]
                ], answer: OpenAPIOperation.json("Message"),
                errors: [
                    400: "The API is no TrafficSplitter; or the weights are incomplete or do not sum to 100.",
                    409: "The splitter was changed at the same time, or is rolled back and has these weights already.",
                ])
        ) { this, call, body in try await this.split(call, &body) }
    ]

    private static let splitBody = 64 * 1024

    /// `POST /split/{api}`
    private func split(_ call: OperatorCall, _ body: inout IncomingBody) async throws -> OutgoingResponse {
        // Read before the body and before waiting for other changes: a change after this moment is a conflict.
        let present = try await deployedAPI(call.api)
        let change = try SplitChange(Array(buffer: try await body.collect(upTo: Self.splitBody)))
        guard case .trafficSplitter(let declared) = present.specification.kind else {
            throw PlatformError(
                .badRequest,
                "\(present.name) is of kind \(present.specification.kind.name.rawValue): only a TrafficSplitter has weights"
            )
        }
        switch change {
        case .resume:
            try await configuration.resumeSplit(present.name)
            return try Self.json(MessageDocument(message: "\(present.name) now: \(declared.shares)"))
        case .weights(let weights):
            let next = try declared.with(weights, of: present.name)
            if next == declared, configuration.traffic?.split(of: present.name)?.state == .rolledBack {
                throw PlatformError(
                    .conflict,
                    "\(present.name) is rolled back and has these weights already: use cortex split \(present.name) --resume"
                )
            }
            try await deployments.split(present, into: next)
            return try Self.json(MessageDocument(message: "\(present.name) now: \(next.shares)"))
        }
    }
}

/// The body of `POST /split/{api}`.
private enum SplitChange {
    case weights([String: Int])
    case resume

    /// - Throws: `bad_request`.
    init(_ body: [UInt8]) throws {
        guard let members = try? DocumentCoding.decode([String: JSONValue].self, from: body), members.count == 1 else {
            throw Self.malformed
        }
        switch (members["weights"], members["resume"]) {
        case (.object(let weights)?, nil):
            self = .weights(
                try weights.mapValues { weight in
                    guard case .integer(let percent) = weight, (0...100).contains(percent) else {
                        throw PlatformError(.badRequest, "each weight must be a whole number from 0 to 100")
                    }
                    return Int(percent)
                })
        case (nil, .bool(true)?): self = .resume
        default: throw Self.malformed
        }
    }

    private static let malformed = PlatformError(
        .badRequest, #"the body must be {"weights": {"API": PERCENT, …}} or {"resume": true}"#)
}

extension SplitterSpecification {
    /// `a 90, b 10`: what each API but the shadow gets.
    fileprivate var shares: String {
        targets.filter { !$0.isShadow }.map { "\($0.api) \($0.weight)" }.joined(separator: ", ")
    }

    /// The same splitter with other weights.
    ///
    /// - Throws: `bad_request` unless each API but the shadow has a weight and the sum is 100.
    fileprivate func with(_ weights: [String: Int], of name: String) throws -> SplitterSpecification {
        let served = targets.filter { !$0.isShadow }.map(\.api)
        for api in weights.keys.sorted() where !served.contains(api) {
            throw PlatformError(
                .badRequest,
                targets.contains { $0.api == api }
                    ? "\(api) is the shadow of \(name), outside the sum of 100: change its weight in the file"
                    : "\(api.shown) is none of the APIs of \(name): \(served.joined(separator: ", "))")
        }
        let missing = served.filter { weights[$0] == nil }
        guard missing.isEmpty else {
            throw PlatformError(
                .badRequest, "every API of \(name) needs a weight: \(missing.joined(separator: ", ")) has none")
        }
        let sum = served.compactMap { weights[$0] }
        guard sum.reduce(0, +) == 100 else {
            let found = sum.map(String.init).joined(separator: " + ")
            throw PlatformError(
                .badRequest,
                "the weights must sum to 100, found \(found)\(sum.count > 1 ? " = \(sum.reduce(0, +))" : "")")
        }
        var next = self
        for index in next.targets.indices {
            if let weight = weights[next.targets[index].api] { next.targets[index].weight = weight }
        }
        return next
    }
}

extension DeployService {
    /// Makes a new version of a TrafficSplitter with other weights.
    ///
    /// - Parameter present: the version that the caller saw.
    /// - Throws: `conflict` when another version is present by now; `store_unavailable`.
    fileprivate func split(_ present: DeployedAPI, into splitter: SplitterSpecification) async throws {
        try await gate.run([present.name]) {
            var specification = present.specification
            specification.kind = .trafficSplitter(splitter)
            let step = try random.withLock {
                try DeployPlan.step(
                    for: specification, submitted: Self.submitted(present.submitted, weights: splitter.targets),
                    fileName: present.fileName, previous: present, status: nil, force: true, now: clock.now(),
                    random: &$0)
            }
            let isDone: Bool
            switch step {
            case .create(let api), .update(let api):
                isDone = try await roll(api, replacing: present)
                if isDone { logger.info("weights changed", metadata: ["api": "\(api.name)", "api.id": "\(api.id)"]) }
            case .unchanged: isDone = try await store.deployedAPIs().contains { $0.id == present.id }
            case .refuse(let error): throw error
            }
            guard isDone else {
                throw PlatformError(
                    .conflict,
                    "\(present.name) was changed at the same time: see cortex get \(present.name), then try again")
            }
        }
    }

    /// The user's declaration with the present weights, so that an export has them. What cannot be read is unchanged.
    private static func submitted(_ text: String, weights: [SplitterSpecification.Target]) -> String {
        guard let value = try? DocumentCoding.decode(JSONValue.self, from: Array(text.utf8)),
            case .object(var api) = value, case .array(let shares)? = api["apis"]
        else { return text }
        api["apis"] = .array(
            shares.map { share in
                guard case .object(var members) = share, case .string(let name)? = members["name"],
                    let target = weights.first(where: { $0.api == name })
                else { return share }
                members["weight"] = .integer(Int64(target.weight))
                return .object(members)
            })
        guard let bytes = try? DocumentCoding.encode(JSONValue.object(api)) else { return text }
        return String(decoding: bytes, as: UTF8.self)
    }
}
