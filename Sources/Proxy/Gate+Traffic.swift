import Core

extension Gate {
    /// Counts a response, once its head has been sent on: the container's, or one that the platform wrote.
    ///
    /// - Parameters:
    ///   - slot: the slot of the last delivery; `nil` when there was none.
    ///   - arrival: when the request arrived.
    func record(status: Int, isByPlatform: Bool, slot: ReplicaSlot?, arrival: Instant, now: Instant) {
        traffic.record(status: status, isByPlatform: isByPlatform, since: arrival, now: now)
        if let slot {
            slot.replica.traffic.record(status: status, isByPlatform: isByPlatform, since: slot.startedAt, now: now)
        }
    }

    /// The traffic of the last minute, and the requests now (contract R24). Costs some ten microseconds per replica.
    func report(now: Instant) -> TrafficReport {
        let figures = traffic.figures(now: now)
        let (load, replicas) = loadAndReplicas
        var report = TrafficReport(
            counts: figures.counts, p50: figures.times.quantile(0.5), p90: figures.times.quantile(0.9),
            p99: figures.times.quantile(0.99), waiting: load.waiting, inside: load.inside, upgraded: load.upgraded)
        if figures.counts.total > 0 {
            report.perSecond = Double(figures.counts.total) / Limits.trafficWindow.inSeconds
        }
        for (replica, inside) in replicas {
            let figures = replica.traffic.figures(now: now)
            report.replicas[replica.id] = TrafficReport.Replica(
                inside: inside, success2xx: figures.counts.success2xx, server5xx: figures.counts.server5xx,
                p99: figures.times.quantile(0.99))
        }
        return report
    }
}
