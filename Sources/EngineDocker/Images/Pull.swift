import Core

/// Turns an engine's progress of a pull into a line for people, once a second at most.
struct PullProgress: Sendable {
    private struct Layer {
        var current: Int64 = 0
        var total: Int64 = 0
        var isDone = false
    }

    private let image: String
    private var layers: [String: Layer] = [:]
    private var lastLine: Timestamp

    init(image: String, now: Timestamp) {
        self.image = image
        self.lastLine = now
    }

    /// Takes an event in; the line to show, if it is time for one.
    mutating func note(_ event: PullEvent, now: Timestamp) -> String? {
        if let id = event.id, let status = event.status?.lowercased(), layers[id] != nil || layers.count < 1000 {
            var layer = layers[id] ?? Layer()
            if status.hasPrefix("download complete") || status.hasPrefix("pull complete") || status.contains("exists") {
                layer.isDone = true
            } else if status.hasPrefix("downloading"), let progress = event.progressDetail {
                layer.current = progress.current ?? layer.current
                layer.total = progress.total ?? layer.total
            }
            // Docker's first line names the tag, and the last the image, in place of a layer.
            let isLayer =
                status.hasPrefix("pull") && !status.hasPrefix("pulling from") || status.contains("load")
                || status.contains("exists") || status.hasPrefix("waiting") || status.hasPrefix("verifying")
            if isLayer { layers[id] = layer }
        }
        guard now - lastLine >= .seconds(1), !layers.isEmpty else { return nil }
        lastLine = now
        let done = layers.values.count { $0.isDone }
        let total = layers.values.reduce(0) { $0 + $1.total }
        let current = layers.values.reduce(0) { $0 + ($1.isDone ? $1.total : $1.current) }
        let amount = total > 0 ? ", \(Self.megabytes(current)) of \(Self.megabytes(total)) MB" : ""
        return "Pulling \(image): \(done) of \(layers.count) layers\(amount)"
    }

    private static func megabytes(_ bytes: Int64) -> String {
        let tenths = bytes / 100_000
        return "\(tenths / 10).\(tenths % 10)"
    }
}

extension ImageReference {
    /// Parameters of `/images/create`: always the full name, so that no engine looks for a short one elsewhere. Without
    /// a tag or digest an engine would pull every tag.
    var pullQuery: [(String, String)] {
        if let digest { return [("fromImage", "\(repository)@\(digest)")] }
        return [("fromImage", repository), ("tag", tag ?? "latest")]
    }
}
