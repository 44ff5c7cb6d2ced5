/// The schema of `pod` for AsyncAPI.
enum PodSchema {
    static let root = SchemaObject(
        [
            SchemaField(
                "port", .integer(1...65535), .default("8080"), null: .asAbsent,
                "Port on which one of the containers listens for HTTP."),
            SchemaField(
                "max_concurrency", .integer(1...100), .default("1"), "Most requests inside one replica at a time."),
            SchemaField(
                "termination_grace_period", .duration(.zero...(.seconds(3600))), .default("60s"),
                "How long requests may finish and containers may stop before they are killed."),
            SchemaField(
                "containers", .list(of: .object(container), minimum: 1), .required, "The containers of one replica."),
        ],
        rules: [reservedPort, uniqueContainerNames, oneKindOfAccelerator])

    static let container = SchemaObject(
        [
            SchemaField("name", .string(.containerName), .required, "Name of the container, unique in the pod."),
            SchemaField(
                "image", .string(.image), .optional,
                "Docker image; may be left out only on the sandbox engine, which then runs the host's own system."),
            SchemaField(
                "env", .map(key: .environmentName, value: .any), .optional,
                "Environment variables; set after the platform's own, sorted by name."),
            SchemaField(
                "command", .list(of: .string(.any)), .derived("the image's ENTRYPOINT"), null: .asAbsent,
                "Program and arguments; $(NAME) is replaced by the variable's value."),
            SchemaField(
                "args", .list(of: .string(.any)), .derived("the image's CMD"), null: .asAbsent,
                "Arguments; $(NAME) is replaced by the variable's value."),
            SchemaField(
                "readiness_probe", .object(ProbeSchema.readiness), .optional, null: .asAbsent,
                "The replica gets requests only while this succeeds."),
            SchemaField(
                "liveness_probe", .object(ProbeSchema.liveness), .optional, null: .asAbsent,
                "The container is restarted when this fails."),
            SchemaField(
                "pre_stop", .object(ProbeSchema.preStop), .optional, null: .asAbsent,
                "What is done before the container is asked to stop."),
            SchemaField("compute", .object(compute), .defaultObject, "What the container needs."),
            SchemaField(
                "volumes", .list(of: .string(.volume)), .optional, null: .asAbsent,
                "Folders or files of this machine, as source:target or source:target:ro, relative to the file."),
        ],
        rules: [uniqueVolumeTargets])

    static let compute = SchemaObject(
        [
            SchemaField(
                "cpu", .quantity(minimum: Quantity("20m"), fractions: true), .default("200m"), null: .asNone,
                "Share of the processors that is guaranteed under contention; never a ceiling."),
            SchemaField(
                "mem", .quantity(minimum: Quantity("20Mi"), fractions: false), .optional, null: .asNone,
                "Memory that must be free to start; also the limit."),
            SchemaField(
                "shm", .quantity(minimum: nil, fractions: false), .optional, null: .asNone, "Size of /dev/shm."),
            SchemaField("gpu", .integer(0...Int64.max), .default("0"), "GPU devices for this container alone."),
            SchemaField("inf", .integer(0...Int64.max), .default("0"), "AWS Inferentia chips; only 0 is accepted."),
        ],
        rules: [sharedMemoryWithinMemory, noInferentia])

    // MARK: Rules

    /// The platform's own ports inside a pod; the same for `pod.port` and for probes.
    static let reservedPort = SchemaRule("port is not 8888 or 15000, which are the platform's.") { object in
        guard let port = object["port"], let number = port.integer,
            ClusterNames.reservedPorts.contains(Int(number))
        else { return [] }
        return [
            .init(
                path: "port", mark: port.mark, kind: .notAllowed,
                message: "\(number) is reserved for the platform (so are 8888 and 15000); choose another port")
        ]
    }

    private static let uniqueContainerNames = SchemaRule("Container names are unique in a pod.") { pod in
        var seen: [String: Int] = [:]
        return elements(of: pod).compactMap { index, container in
            guard let name = container["name"], let text = name.string else { return nil }
            guard let first = seen[text] else {
                seen[text] = index
                return nil
            }
            return .init(
                path: "containers[\(index)].name", mark: name.mark, kind: .duplicateContainerName,
                message: "\(text.quoted) is already the name of containers[\(first)]; choose another")
        }
    }

    private static let oneKindOfAccelerator = SchemaRule("A pod has no GPU together with an Inferentia chip.") { pod in
        func total(_ key: String) -> Bool {
            elements(of: pod).contains { ($0.element["compute"]?.object?[key]?.integer ?? 0) > 0 }
        }
        guard total("gpu"), total("inf"),
            let mark = elements(of: pod).compactMap({ $0.element["compute"]?.object?["inf"] })
                .first(where: { ($0.integer ?? 0) > 0 })?.mark
        else { return [] }
        return [
            .init(
                path: "containers", mark: mark, kind: .computeResourceConflict,
                message: "the containers of a pod must not ask for both gpu and inf")
        ]
    }

    private static let uniqueVolumeTargets = SchemaRule("No two volumes of a container have the same target.") {
        container in
        var seen: Set<String> = []
        return (container["volumes"]?.list ?? []).enumerated().compactMap { index, volume in
            guard let text = volume.string, let target = VolumeSyntax.parse(text, baseDirectory: "/")?.target,
                !seen.insert(target).inserted
            else { return nil }
            return .init(
                path: "volumes[\(index)]", mark: volume.mark, kind: .duplicateValue,
                message: "another volume has the target \(target.quoted) already")
        }
    }

    private static let sharedMemoryWithinMemory = SchemaRule("shm is at most mem.") { compute in
        guard let shm = compute["shm"], let size = shm.quantity, let mem = compute["mem"]?.quantity,
            size.milli > mem.milli
        else { return [] }
        return [
            .init(
                path: "shm", mark: shm.mark, kind: .shmCannotExceedMem,
                message: "must be at most mem (\(mem)), found \(size)")
        ]
    }

    private static let noInferentia = SchemaRule("inf is 0.") { compute in
        guard let chips = compute["inf"], let count = chips.integer, count > 0 else { return [] }
        return [
            .init(
                path: "inf", mark: chips.mark, kind: .notSupported,
                message: "AWS Inferentia chips exist only on AWS; remove it, or ask for a gpu")
        ]
    }

    private static func elements(of pod: ConfigurationObject) -> [(offset: Int, element: ConfigurationObject)] {
        (pod["containers"]?.list ?? []).enumerated().compactMap { index, value in
            value.object.map { (index, $0) }
        }
    }
}
