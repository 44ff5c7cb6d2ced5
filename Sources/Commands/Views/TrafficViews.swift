import Client
import Core
import Foundation
import Support
import Wire

/// Figures of requests as the views show them; `-` where there are none.
enum TrafficFigure {
    /// A share from 0 to 1, such as `0.4%`. Only 0 and 1 themselves are shown as `0%` and `100%`.
    static func percent(_ share: Double?) -> String {
        guard let share else { return "-" }
        switch share {
        case ...0: return "0%"
        case ..<0.001: return "<0.1%"
        case 1...: return "100%"
        case 0.9995...: return ">99.9%"
        default: return String(format: "%.1f%%", share * 100)
        }
    }

    /// Milliseconds, such as `4.2 ms`, `120 ms` or `12.3 s`.
    static func milliseconds(_ value: Double?) -> String {
        guard let value else { return "-" }
        switch value {
        case ..<9.95: return String(format: "%.1f ms", value)
        case ..<9_999.5: return String(format: "%.0f ms", value)
        default: return String(format: "%.1f s", value / 1000)
        }
    }

    static func rate(_ perSecond: Double) -> String {
        switch perSecond {
        case ..<0.05: "<0.1"
        case ..<9.95: String(format: "%.1f", perSecond)
        default: String(format: "%.0f", perSecond)
        }
    }
}

/// The requests of a RealtimeAPI, now and during the last minute (contract R24).
enum TrafficView {
    static func facts(_ traffic: TrafficDocument, _ style: TextStyle) -> [String] {
        var now = "\(traffic.waiting) waiting, \(traffic.inside) inside"
        if traffic.upgraded > 0 { now += " (\(traffic.upgraded) upgraded)" }
        guard let perSecond = traffic.perSecond else {
            return [style.fact("requests", now), style.fact("last minute", "no requests")]
        }
        let counts =
            "\(TrafficFigure.rate(perSecond)) per second; \(traffic.success2xx) 2xx, \(traffic.client4xx) 4xx,"
            + " \(traffic.server5xx) 5xx, \(traffic.platformErrors) platform errors"
        let latency = [("p50", traffic.p50), ("p90", traffic.p90), ("p99", traffic.p99)].map { name, value in
            "\(name) \(TrafficFigure.milliseconds(value))"
        }
        return [
            style.fact("requests", now), style.fact("last minute", counts),
            style.fact("latency", latency.joined(separator: ", ")),
        ]
    }
}

/// A TrafficSplitter: its targets, their requests of the last minute, and what its guard did (contract X11).
enum SplitterView {
    /// The targets with their weights in force.
    private static func targets(of api: APIDocument) -> [(name: String, weight: Int, isShadow: Bool)] {
        if let targets = api.status?.targets { return targets.map { ($0.name, $0.weight, $0.shadow) } }
        return api.spec?.splitter?.apis.map { ($0.name, $0.weight, $0.shadow) } ?? []
    }

    /// The targets whose weights `cortex split` changes: all but the shadow.
    static func weights(of api: APIDocument) -> [(name: String, weight: Int)] {
        targets(of: api).filter { !$0.isShadow }.map { ($0.name, $0.weight) }
    }

    private static func title(_ name: String, isShadow: Bool) -> String { isShadow ? "\(name) (shadow)" : name }

    /// The detail of the original: a row for each target, with the state of its RealtimeAPI (reference: cortex.md
    /// §9.3).
    ///
    /// - Parameter deployed: the APIs of the platform.
    static func table(
        _ api: APIDocument, deployed: [APIDocument], environment: String, showsEnvironment: Bool, now: Timestamp,
        style: TextStyle
    ) -> String {
        var table = Table(["env", "apis", "weights", "live", "up-to-date", "last update"])
        for target in targets(of: api) {
            let found = deployed.first { APITable.name(of: $0) == target.name }
            table.append(
                [environment, title(target.name, isShadow: target.isShadow), "\(target.weight)"]
                    + APITable.state(of: found, now: now))
        }
        if !showsEnvironment { table.remove(column: "env") }
        return table.render(style)
    }

    /// The targets and their requests of the last minute, and below them what there is to know about the guard and the
    /// shadow.
    static func traffic(of api: APIDocument, showsWeights: Bool = true, now: Timestamp, style: TextStyle) -> String {
        var table = Table(["target", "weight", "served", "error rate", "p99"])
        let measured = api.status?.targets ?? []
        for target in targets(of: api) {
            let figures = measured.first { $0.name == target.name && $0.shadow == target.isShadow }
            table.append([
                title(target.name, isShadow: target.isShadow), "\(target.weight)",
                TrafficFigure.percent(figures?.served), TrafficFigure.percent(figures?.errorRate),
                TrafficFigure.milliseconds(figures?.p99),
            ])
        }
        if !showsWeights {
            table.remove(column: "weight")
            table.columns[0].title = "last minute"
        }
        return ([table.render(style)] + measured.compactMap { shadow($0, style) } + state(of: api, now: now, style))
            .joined(separator: "\n")
    }

    private static func shadow(_ target: SplitTargetDocument, _ style: TextStyle) -> String? {
        guard target.shadow, let copies = target.copies else { return nil }
        var text = "\(copies) \(copies == 1 ? "copy" : "copies"), \(target.givenUp ?? 0) given up"
        if target.agreedStatus != nil || target.agreedBody != nil {
            text += "; the same status in \(TrafficFigure.percent(target.agreedStatus)),"
            text += " the same body in \(TrafficFigure.percent(target.agreedBody))"
        }
        return style.fact("shadow", text)
    }

    private static func state(of api: APIDocument, now: Timestamp, _ style: TextStyle) -> [String] {
        guard let split = api.status?.split else { return [] }
        switch split.state {
        case .fixed: return [style.fact("state", "fixed")]
        case .guarded:
            let guarded = api.spec?.splitter?.guard.map { " (\($0.api))" } ?? ""
            return [style.fact("state", "guarded\(guarded)")]
        case .rolledBack:
            var text = split.api ?? "a target"
            if let weight = split.weight { text += " from weight \(weight)" }
            text += ", \(Age.since(rfc3339: split.since, now: now)) ago"
            if let reason = split.reason { text += ": \(reason)" }
            return [
                style.fact("rolled back", text),
                style.fact("to resume", "cortex split \(APITable.name(of: api)) --resume"),
            ]
        }
    }
}

extension OperatorClient {
    /// The APIs that a view of this one needs: all of them for a TrafficSplitter, none for other kinds.
    func apis(for api: APIDocument) async throws -> [APIDocument] {
        APITable.kind(of: api) == .trafficSplitter ? try await apis() : []
    }
}
