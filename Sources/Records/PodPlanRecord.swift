package import Core

/// A pod's plan as an engine keeps it beside the pod, so that another run of the platform, perhaps of another release,
/// can adopt the pod (architecture decision 13). The rules are those of ``DeployedAPIRecord``; the format is stated by
/// the record that holds this one.
///
/// The texts of ``PodPlan/files`` and ``PodPlan/hasArtifacts`` are not part of it: they are the pod's folder itself.
package struct PodPlanRecord: Codable, Sendable {
    package var plan: PodPlan

    package init(_ plan: PodPlan) {
        self.plan = plan
    }

    private enum Key: String, CodingKey {
        case id, api, apiID, podID, deploymentID, createdAt, containers, clientConfiguration, restart, worker
    }

    /// The part of a worker's owner that a replica's does not have.
    private struct WorkerRecord: Codable {
        var set: String
        var job: String
        var index: Int
        var attempt: Int
    }

    package init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        let version = PodOwner.Version(
            name: try record.decode(String.self, forKey: .api),
            apiID: try record.decode(String.self, forKey: .apiID),
            podID: try record.decode(String.self, forKey: .podID),
            deploymentID: try record.decode(String.self, forKey: .deploymentID))
        let worker = try record.decodeIfPresent(WorkerRecord.self, forKey: .worker)
        plan = PodPlan(
            id: try record.decode(String.self, forKey: .id),
            owner: worker.map {
                .worker(.init(set: $0.set, jobID: $0.job, version: version, index: $0.index, attempt: $0.attempt))
            } ?? .api(version),
            createdAt: try record.decode(Timestamp.self, forKey: .createdAt),
            containers: try record.decode([ContainerPlanRecord].self, forKey: .containers).map(\.plan),
            clientConfiguration: try record.value(.clientConfiguration, or: ""),
            restart: try record.value(.restart, or: .always))
    }

    package func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(plan.id, forKey: .id)
        let version = plan.owner.version
        try record.encode(version.name, forKey: .api)
        try record.encode(version.apiID, forKey: .apiID)
        try record.encode(version.podID, forKey: .podID)
        try record.encode(version.deploymentID, forKey: .deploymentID)
        try record.encode(plan.createdAt, forKey: .createdAt)
        try record.encode(plan.containers.map(ContainerPlanRecord.init(plan:)), forKey: .containers)
        try record.encode(plan.clientConfiguration, forKey: .clientConfiguration)
        // Newer than the format: written only where it is not the default.
        if plan.restart != .always { try record.encode(plan.restart, forKey: .restart) }
        if let worker = plan.owner.worker {
            try record.encode(
                WorkerRecord(set: worker.set, job: worker.jobID, index: worker.index, attempt: worker.attempt),
                forKey: .worker)
        }
    }
}

private struct ContainerPlanRecord: Codable {
    var plan: ContainerPlan

    private enum Key: String, CodingKey {
        case name, image, command, args, environment, compute, volumes
    }

    private struct VariableRecord: Codable {
        var name: String
        var value: String
    }

    init(plan: ContainerPlan) { self.plan = plan }

    init(from decoder: any Decoder) throws {
        let record = try decoder.container(keyedBy: Key.self)
        plan = ContainerPlan(
            name: try record.decode(String.self, forKey: .name),
            image: try record.decodeIfPresent(String.self, forKey: .image),
            command: try record.decodeIfPresent([String].self, forKey: .command),
            args: try record.decodeIfPresent([String].self, forKey: .args),
            environment: try record.value(.environment, or: [VariableRecord]()).map {
                EnvironmentVariable($0.name, $0.value)
            },
            compute: try record.value(.compute, or: ComputeRecord(value: .init())).value,
            volumes: try record.value(.volumes, or: [VolumeRecord]()).map(\.value))
    }

    func encode(to encoder: any Encoder) throws {
        var record = encoder.container(keyedBy: Key.self)
        try record.encode(plan.name, forKey: .name)
        try record.encodeIfPresent(plan.image, forKey: .image)
        try record.encodeIfPresent(plan.command, forKey: .command)
        try record.encodeIfPresent(plan.args, forKey: .args)
        try record.encode(
            plan.environment.map { VariableRecord(name: $0.name, value: $0.value) }, forKey: .environment)
        try record.encode(ComputeRecord(value: plan.compute), forKey: .compute)
        try record.encode(plan.volumes.map(VolumeRecord.init(value:)), forKey: .volumes)
    }
}
