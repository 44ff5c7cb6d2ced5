/// A trace as an SVG picture: the load as an area, the replicas as a stepped line. The same trace gives the same bytes.
enum TraceDrawing {
    private static let width = 760
    private static let height = 240
    private static let left = 40
    private static let top = 36
    private static let bottom = 30
    private static let right = 16

    static func svg(_ trace: ScalingTrace) -> String {
        let points = trace.replay()
        let most = max(4, points.reduce(0) { max($0, $1.load, $1.replicas) })
        let step = most <= 8 ? 2 : most <= 20 ? 5 : 10
        let ceiling = (most + step - 1) / step * step
        let seconds = trace.minutes * 60
        func x(_ second: Int) -> Int { left + second * (width - left - right) / seconds }
        func y(_ count: Int) -> Int { height - bottom - count * (height - top - bottom) / ceiling }
        func text(_ x: Int, _ y: Int, _ anchor: String, _ words: String) -> String {
            "<text x=\"\(x)\" y=\"\(y)\" text-anchor=\"\(anchor)\">\(words)</text>"
        }

        var lines = [
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"\(width)\" height=\"\(height)\" viewBox=\"0 0 \(width) \(height)\" font-family=\"sans-serif\" font-size=\"11\" fill=\"#57606a\">",
            "<title>\(trace.title)</title>",
            "<rect width=\"\(width)\" height=\"\(height)\" fill=\"#ffffff\"/>",
            "<text x=\"\(left)\" y=\"16\" font-size=\"13\" fill=\"#24292f\">\(trace.title)</text>",
        ]
        for count in stride(from: 0, through: ceiling, by: step) {
            lines.append(
                "<path d=\"M\(left) \(y(count))H\(width - right)\" stroke=\"#d8dee4\" stroke-width=\"1\"/>")
            lines.append(text(left - 6, y(count) + 4, "end", "\(count)"))
        }
        for minute in stride(from: 0, through: trace.minutes, by: 10) {
            lines.append(text(x(minute * 60), height - 10, "middle", minute == 0 ? "0 min" : "\(minute)"))
        }
        lines.append(
            "<path d=\"M\(left) \(y(0))\(stepped(points.map { (x($0.second), y($0.load)) }))V\(y(0))Z\" fill=\"#afb8c1\" fill-opacity=\"0.5\"/>"
        )
        if let first = points.first {
            lines.append(
                "<path d=\"M\(x(first.second)) \(y(first.replicas))\(stepped(points.map { (x($0.second), y($0.replicas)) }))\" fill=\"none\" stroke=\"#0969da\" stroke-width=\"2\"/>"
            )
        }
        lines += [
            "<rect x=\"\(width - 230)\" y=\"24\" width=\"10\" height=\"8\" fill=\"#afb8c1\"/>",
            text(width - 216, 32, "start", "requests in flight"),
            "<path d=\"M\(width - 96) 28h14\" stroke=\"#0969da\" stroke-width=\"2\"/>",
            text(width - 78, 32, "start", "replicas"), "</svg>",
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    /// Horizontal until the next change, then vertical; unchanged values are omitted.
    private static func stepped(_ points: [(x: Int, y: Int)]) -> String {
        var path = ""
        var last: Int?
        for point in points where point.y != last {
            path += "H\(point.x)V\(point.y)"
            last = point.y
        }
        if let end = points.last { path += "H\(end.x)" }
        return path
    }
}
