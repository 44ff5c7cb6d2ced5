package import Core

extension DockerEngine {
    package func problems(with specification: APISpecification) async -> [String] {
        var problems: [String] = []
        let information = try? await client.information()
        var milli: Int64 = 0
        var memory: Int64 = 0
        for (index, container) in specification.pod.containers.enumerated() {
            let field = "pod.containers[\(index)]"
            problems += imageProblems(container, field)
            for (number, volume) in container.volumes.enumerated()
            where (try? await PodFolder.exists(volume.source)) != true {
                problems.append("\(field).volumes[\(number)]: \(volume.source) does not exist on this machine")
            }
            if container.compute.gpu > 0 {
                let has = information?.runtimes.contains("nvidia") ?? false
                problems.append(
                    "\(field).compute.gpu: "
                        + (has ? "GPUs are not handed out to containers yet" : "this \(name) has no GPU runtime"))
            }
            if container.compute.disk != nil {
                problems.append(
                    "\(field).compute.disk: the \(name) engine cannot limit it; leave it out, or use the sandbox engine"
                )
            }
            // The least that Docker takes; less would not hold a process either.
            if let mem = container.compute.mem, mem.whole < 6 << 20 {
                problems.append("\(field).compute.mem: \(mem) is too little, at least 6Mi are needed")
            }
            milli += container.compute.cpu?.milli ?? 0
            memory += container.compute.mem?.whole ?? 0
        }
        if let information {
            if information.cores > 0, milli > Int64(information.cores) * 1000 {
                problems.append(
                    "pod.containers: together they need \(milli)m of cpu, this machine has \(information.cores * 1000)m"
                )
            }
            if information.memory > 0, memory > information.memory {
                problems.append(
                    "pod.containers: together they need \(memory >> 20)Mi of mem, this machine has \(information.memory >> 20)Mi"
                )
            }
        }
        return problems
    }

    private func imageProblems(_ container: ContainerSpecification, _ field: String) -> [String] {
        guard let image = container.image, !image.isEmpty else {
            return ["\(field).image: is required by the \(name) engine"]
        }
        guard ImageReference(image) != nil else {
            return ["\(field).image: \"\(image)\" is no image reference (registry/name:tag, in lower case)"]
        }
        return []
    }
}
