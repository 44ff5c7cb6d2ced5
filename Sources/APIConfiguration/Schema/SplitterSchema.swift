import Core

/// The schema of `kind: TrafficSplitter` (contract X, "Fields").
enum TrafficSplitterSchema {
    static let root = SchemaObject(
        [
            CommonSchema.name,
            CommonSchema.kind(.trafficSplitter, "TrafficSplitter: distributes requests among RealtimeAPIs."),
            CommonSchema.networking,
            SchemaField("apis", .list(of: .object(share), minimum: 1), .required, "The APIs that share the requests."),
            CommonSchema.sticky("Requests that go to the same API: those with an equal cookie or header."),
            SchemaField(
                "match", .list(of: .object(match)), .optional, null: .asAbsent,
                "Rules that choose an API by a header, before weights and sticky; the first that matches decides."),
            SchemaField(
                "allow_override", .boolean, .default("false"),
                "Whether a caller may choose the API with the header X-Cortex-Target."),
            SchemaField(
                "fallback", .boolean, .default("true"),
                "Whether another API takes a request that the chosen one cannot accept."),
            SchemaField(
                "guard", .object(guarding), .optional, null: .asAbsent,
                "The condition under which an API is rolled back: its weight becomes 0."),
        ], rules: [hundred, uniqueNames, oneShadow, fewMatches, knownTargets])

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

    // MARK: Match and guard

    private static let match = SchemaObject(
        [
            SchemaField("header", .string(.headerName), .required, "Name of the header."),
            SchemaField(
                "value", .string(.headerValue), .optional, null: .asAbsent, "The whole value, byte for byte."),
            SchemaField(
                "prefix", .string(.headerPrefix), .optional, null: .asAbsent, "The beginning of the value."),
            SchemaField("api", .string(.apiName), .required, "The API that gets the request; its weight may be 0."),
        ], rules: [ProbeSchema.exactlyOne(of: ["value", "prefix"])])

    private static let guarding = SchemaObject([
        SchemaField("api", .string(.apiName), .required, "The API that is guarded."),
        SchemaField(
            "window", .duration(.seconds(1)...(.seconds(3600))), .default("60s"), "The time that is judged."),
        SchemaField(
            "min_requests", .integer(1...CommonSchema.count), .default("20"),
            "With fewer requests in the window nothing is decided."),
        SchemaField(
            "max_error_rate", .number(.from(0, to: 1)), .default("0.05"),
            "Share of 5xx responses and platform failures that is tolerated."),
        SchemaField(
            "max_p99", .duration(.milliseconds(1)...(.seconds(3600))), .optional, null: .asAbsent,
            "The 99th percentile of the response time that is tolerated."),
        SchemaField(
            "baseline_factor", .number(.atLeast(0)), .default("2"),
            "The error rate must also exceed this many times that of the other APIs together."),
    ])

    private static let fewMatches = SchemaRule(
        "match has at most \(Limits.splitterMatches) rules.",
        schema: .object([
            "properties": .object([
                "match": .object(["maxItems": .integer(Int64(Limits.splitterMatches))])
            ])
        ])
    ) { splitter in
        guard let rules = splitter["match"], let count = rules.list?.count, count > Limits.splitterMatches else {
            return []
        }
        return [
            .init(
                path: "match", mark: rules.mark, kind: .outOfRange,
                message: "must have at most \(Limits.splitterMatches) rules, found \(count)")
        ]
    }

    private static let knownTargets = SchemaRule(
        "The API of each match and of the guard is one of apis and no shadow; a guarded API is not the only one."
    ) { splitter in
        // A wrong element of the list would make a good name look unknown.
        guard let elements = splitter["apis"]?.list else { return [] }
        let shares = elements.compactMap(\.object)
        let served = shares.filter { $0["shadow"]?.boolean == false }.compactMap { $0["name"]?.string }
        let shadows = shares.filter { $0["shadow"]?.boolean == true }.compactMap { $0["name"]?.string }
        guard served.count + shadows.count == elements.count else { return [] }
        func violation(_ name: ConfigurationValue?, _ path: String) -> SchemaRule.Violation? {
            guard let name, let text = name.string, !served.contains(text) else { return nil }
            let allowed = served.isEmpty ? "" : " (\(served.joined(separator: ", ")))"
            return .init(
                path: path, mark: name.mark, kind: .apiNotInTrafficSplitter,
                message: shadows.contains(text)
                    ? "must not be the shadow, which gets only copies, found \(text.quoted)"
                    : "must be the name of one of apis\(allowed), found \(text.quoted)")
        }
        var violations = (splitter["match"]?.list ?? []).enumerated().compactMap { index, rule in
            violation(rule.object?["api"], "match[\(index)].api")
        }
        if let guarded = splitter["guard"]?.object?["api"] {
            if let violation = violation(guarded, "guard.api") {
                violations.append(violation)
            } else if served.count == 1 {
                violations.append(
                    .init(
                        path: "guard.api", mark: guarded.mark, kind: .apiNotInTrafficSplitter,
                        message: "must not be the only API: no other could take its share after a roll-back"))
            }
        }
        return violations
    }
}
