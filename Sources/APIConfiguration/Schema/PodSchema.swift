import Core

/// The schemas of `pod` for each kind.
enum PodSchema {
    static let async = SchemaObject(
        [
            port, concurrency(1000), gracePeriod, operatorAccess,
            containers(
                [
                    optionalImage, env, command(.derived("the image's ENTRYPOINT")), args,
                    probe("readiness_probe", ProbeSchema.readinessWithoutExec), liveness, preStop, compute, volumes,
                ], rules: [uniqueVolumeTargets]),
        ], rules: rules)

    static let realtime = SchemaObject(
        [
            port, concurrency(30_000),
            SchemaField(
                "max_queue_length", .integer(1...30_000), .default("100"),
                "Most requests that wait for one replica."),
            gracePeriod, operatorAccess,
            containers(
                [
                    optionalImage, env, command(.derived("the image's ENTRYPOINT")), args,
                    probe("readiness_probe", ProbeSchema.readiness), liveness, preStop, compute, volumes,
                ], rules: [uniqueVolumeTargets]),
        ], rules: rules)

    static let batch = SchemaObject(
        [
            port,
            SchemaField(
                "max_concurrency", .integer(1...1000), .default("1"), "Most batches inside one worker at a time."),
            gracePeriod, operatorAccess,
            containers(
                [
                    optionalImage, env, requiredCommand, args,
                    probe("readiness_probe", ProbeSchema.readinessWithoutExec), liveness, compute, volumes,
                ], rules: [uniqueVolumeTargets]),
        ], rules: rules)

    static let task = SchemaObject(
        [
            SchemaField(
                "port", .unsupported(.notAllowed, "a TaskAPI has no port: nothing is sent to it; remove it"), .optional,
                null: .asAbsent, "Not for a task: nothing is sent to it."),
            gracePeriod, operatorAccess,
            containers(
                [
                    optionalImage, env, requiredCommand, args,
                    SchemaField(
                        "liveness_probe", .object(ProbeSchema.liveness), .optional, null: .asAbsent,
                        "The attempt ends when this fails."), compute, volumes,
                ], rules: [uniqueVolumeTargets]),
        ], rules: [uniqueContainerNames, oneKindOfAccelerator])

    // MARK: Fields of the pod

    private static let port = SchemaField(
        "port", .integer(1...65535), .default("8080"), null: .asAbsent,
        "Port on which one of the containers listens for HTTP.")

    private static func concurrency(_ most: Int64) -> SchemaField {
        SchemaField(
            "max_concurrency", .integer(1...most), .default("1"), "Most requests inside one replica at a time.")
    }

    private static let gracePeriod = SchemaField(
        "termination_grace_period", .duration(.zero...(.seconds(3600))), .default("60s"),
        "Time for requests to finish and containers to stop before they are killed.")

    private static let operatorAccess = SchemaField(
        "operator_access", .choice(OperatorAccess.allCases.map(\.rawValue)),
        .default(OperatorAccess.standard.rawValue),
        "Rights of the pod's credential at the operator; full needs cortex up --allow-pod-operator-access full.")

    private static func containers(_ fields: [SchemaField], rules: [SchemaRule] = []) -> SchemaField {
        let name = SchemaField(
            "name", .string(.containerName), .required,
            "Name of the container, unique in the pod; not dequeuer or proxy.")
        return SchemaField(
            "containers", .list(of: .object(SchemaObject([name] + fields, rules: rules + [programAlone])), minimum: 1),
            .required,
            "The containers of the pod; they share the network (localhost) and /mnt.")
    }

    // MARK: Fields of a container

    private static let optionalImage = SchemaField(
        "image", .string(.image), .optional,
        "Docker image; optional only on the sandbox engine, which runs this machine's programs.")

    private static let env = SchemaField(
        "env", .map(key: .environmentName, value: .any), .optional,
        "Environment variables, set after the platform's own, which begin with CORTEX_ or KUBEXIT_. Values are text: quote numbers."
    )

    private static func command(_ presence: SchemaField.Presence) -> SchemaField {
        SchemaField(
            "command", .list(of: .string(.any)), presence, null: .asAbsent,
            "Program and arguments; $(NAME) is replaced by the variable's value.")
    }

    private static let requiredCommand = SchemaField(
        "command", .list(of: .string(.any), minimum: 1), .required,
        "Program and arguments, which a job needs to detect its end; $(NAME) is replaced by the variable's value.")

    private static let args = SchemaField(
        "args", .list(of: .string(.any)), .derived("the image's CMD"), null: .asAbsent,
        "Arguments; $(NAME) is replaced by the variable's value.")

    private static func probe(_ key: String, _ schema: SchemaObject) -> SchemaField {
        SchemaField(
            key, .object(schema), .optional, null: .asAbsent,
            "The pod gets requests only while this succeeds; without it, when pod.port accepts connections.")
    }

    private static let liveness = SchemaField(
        "liveness_probe", .object(ProbeSchema.liveness), .optional, null: .asAbsent,
        "The container is restarted when this fails.")

    private static let preStop = SchemaField(
        "pre_stop", .object(ProbeSchema.preStop), .optional, null: .asAbsent,
        "Runs before the container is asked to stop.")

    private static let compute = SchemaField(
        "compute", .object(computeObject), .defaultObject, "Resources of the container.")

    private static let volumes = SchemaField(
        "volumes", .list(of: .string(.volume)), .optional, null: .asAbsent,
        "Folders or files of this machine, relative to the file; not onto /mnt, /cortex, /proc, /sys or /dev.")

    private static let computeObject = SchemaObject(
        [
            SchemaField(
                "cpu", .quantity(minimum: Quantity("20m"), fractions: true), .default("200m"), null: .asNone,
                "Share of the processors that is guaranteed under contention; not a limit."),
            SchemaField(
                "mem", .quantity(minimum: Quantity("20Mi"), fractions: false), .optional, null: .asNone,
                "Memory that must be free for the start; also the limit."),
            SchemaField(
                "shm", .quantity(minimum: nil, fractions: false), .optional, null: .asNone, "Size of /dev/shm."),
            SchemaField(
                "disk", .quantity(minimum: Quantity("1Mi"), fractions: false), .optional, null: .asNone,
                "Limit of what the pod stores in /mnt, /tmp and its home; a pod above it is replaced. The containers' values are added."
            ),
            SchemaField("gpu", .integer(0...Int64.max), .default("0"), "GPU devices, exclusive to this container."),
            SchemaField("inf", .integer(0...Int64.max), .default("0"), "AWS Inferentia chips; only 0 is accepted."),
        ],
        rules: [sharedMemoryWithinMemory, noInferentia])

    // MARK: Rules

    private static let rules = [reservedPort, uniqueContainerNames, oneKindOfAccelerator]

    /// The platform's ports inside a pod; the same for `pod.port` and for probes.
    static let reservedPort = SchemaRule(
        "port is not 8888 or 15000, which are the platform's.",
        schema: .object([
            "properties": .object([
                "port": .object([
                    "not": .object(["enum": .array(ClusterNames.reservedPorts.sorted().map { .integer(Int64($0)) })])
                ])
            ])
        ])
    ) { object in
        guard let port = object["port"], let number = port.integer,
            ClusterNames.reservedPorts.contains(Int(number))
        else { return [] }
        return [
            .init(
                path: "port", mark: port.mark, kind: .notAllowed,
                message: "must not be 8888 or 15000, which are the platform's own, found \(number)")
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

    /// For containers and for the commands of probes and hooks.
    static let programAlone = SchemaRule("The first item of command is only the program, without its arguments.") {
        object in
        guard let program = object["command"]?.list?.first, let text = program.string,
            let message = Pitfalls.programWithArguments(text)
        else { return [] }
        return [.init(path: "command[0]", mark: program.mark, kind: .invalidFormat, message: message)]
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

    private static let noInferentia = SchemaRule(
        "inf is 0.",
        schema: .object(["properties": .object(["inf": .object(["maximum": .integer(0)])])])
    ) { compute in
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
