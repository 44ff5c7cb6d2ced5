import Core

/// The shapes of the operator's documents as JSON Schema (2020-12). A test holds them against the documents themselves.
enum OpenAPISchemas {
    static func reference(_ name: String) -> JSONValue { ["$ref": .string("#/components/schemas/\(name)")] }

    static let apiName: JSONValue = [
        "type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 42,
    ]
    static let requestID: JSONValue = [
        "type": "string", "format": "uuid", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    ]

    static let all: [String: JSONValue] = general.merging(apis) { first, _ in first }
        .merging(specification) { first, _ in first }.merging(jobs) { first, _ in first }

    /// An object with members that are always there and others that may be.
    static func object(
        _ required: [String: JSONValue], optional: [String: JSONValue] = [:], _ description: String? = nil
    )
        -> JSONValue
    {
        var members: [String: JSONValue] = [
            "type": "object", "properties": .object(required.merging(optional) { first, _ in first }),
            "required": .array(required.keys.sorted().map { .string($0) }),
        ]
        if let description { members["description"] = .string(description) }
        return .object(members)
    }

    static func list(_ items: JSONValue) -> JSONValue { ["type": "array", "items": items] }
    static func orNull(_ schema: JSONValue) -> JSONValue { ["oneOf": [schema, ["type": "null"]]] }
    static func words(_ words: [String]) -> JSONValue {
        ["type": "string", "enum": .array(words.map { .string($0) })]
    }

    static let text: JSONValue = ["type": "string"]
    static let textOrNull: JSONValue = ["type": ["string", "null"]]
    static let flag: JSONValue = ["type": "boolean"]
    static let number: JSONValue = ["type": "number"]
    static let numberOrNull: JSONValue = ["type": ["number", "null"]]
    static let count: JSONValue = ["type": "integer", "minimum": 0]
    static let countOrNull: JSONValue = ["type": ["integer", "null"], "minimum": 0]
    static let url: JSONValue = ["type": "string", "format": "uri"]
    static let moment: JSONValue = ["type": "string", "format": "date-time"]
    static let seconds: JSONValue = ["type": "integer", "description": "Seconds since 1970."]
    static let nanoseconds: JSONValue = ["type": "integer", "minimum": 0, "description": "Nanoseconds."]
    static let nanosecondsOrNull: JSONValue = [
        "type": ["integer", "null"], "minimum": 0, "description": "Nanoseconds.",
    ]

    // MARK: Errors, requests, the platform

    private static let general: [String: JSONValue] = [
        "Error": object([
            "error": object(
                ["kind": text, "message": text],
                optional: ["problems": list(reference("Problem"))],
                "`kind` is a word for programs, `message` says what to do next.")
        ]),
        "Problem": object(
            ["message": text, "text": text],
            optional: [
                "file": text, "line": count, "column": count, "api": text, "path": text, "kind": text,
            ], "One problem of a deployed file; `text` is all of it in one line."),
        "Message": object(["message": text]),
        "Liveness": object(["status": text]),
        "Nothing": object([:]),
        "OpenAPI": object(["openapi": text, "info": object([:]), "paths": object([:])]),
        "Health": object([
            "status": words(["healthy", "unhealthy"]), "api_version": text,
            "components": list(
                object(["name": text, "status": words(["healthy", "unhealthy"]), "detail": text])),
        ]),
        "State": object(
            [
                "api_version": text, "is_stopping": flag, "open_files": count, "connections": count,
                "operations": list(object(["name": text, "subject": text, "age_seconds": number])),
                "replicas": list(
                    object(["id": text, "api": text, "phase": text, "in_flight": count], optional: ["reason": text])),
                "queues": object([:], "The requests of each API: `in_queue` and `in_progress`."),
                "missing": list(text),
            ], "What the platform does at this moment; `missing` names parts that did not answer in time."),
        "Info": object(
            [
                "cluster_config": object([
                    "api_version": text, "cluster_name": text, "engine": text, "store": text, "gateway_endpoint": text,
                    "operator_endpoint": text,
                ]), "worker_node_infos": list([:]), "operator_node_infos": list([:]), "num_pending_replicas": count,
                "num_apis": count,
            ], optional: ["queue": reference("Queue"), "capacity": reference("Capacity")]),
        "Capacity": object(
            ["total": amount, "used": amount], "What the machine has, and what replicas declare of it."),
        "Queue": object(
            ["in_queue": count, "in_progress": count], "Requests that wait, and requests inside replicas."),
        "Failure": object(
            ["kind": words(RequestFailure.Kind.allCases.map(\.rawValue)), "message": text],
            optional: ["status_code": ["type": "integer"], "body": text], "Why an attempt went wrong."),
        "Request": object(
            [
                "id": requestID, "status": words(RequestStatus.allCases.map(\.rawValue)), "attempts": count,
                "submitted_at": moment,
            ],
            optional: [
                "timestamp": moment, "error": reference("Failure"), "attempt_errors": list(reference("AttemptError")),
                "failures": list(
                    object(
                        ["timestamp": moment, "error": reference("Failure")],
                        "An earlier form of `attempt_errors`.")),
            ]),
        "AttemptError": object(
            [
                "timestamp": moment, "kind": words(RequestFailure.Kind.allCases.map(\.rawValue)), "message": text,
            ],
            optional: ["status_code": ["type": "integer"], "body": text], "When and why one attempt went wrong."),
        "RequestList": object(
            ["requests": list(reference("Request"))], optional: ["next": requestID],
            "Newest first; `next` is `before` of the next page."),
    ]

    private static let amount = object([
        "cpu_milli": ["type": "integer", "description": "Thousandths of a core."],
        "mem_bytes": ["type": "integer"], "gpu": ["type": "integer"],
    ])

    // MARK: APIs

    /// The recommendation after each step of the autoscaler.
    private static let stepNames: [String: JSONValue] = Dictionary(
        uniqueKeysWithValues: [
            "load", "tolerance", "bounds", "max_downscale_factor", "max_upscale_factor", "downscale_stabilization",
            "upscale_stabilization",
        ].map { ($0, ["type": "integer"] as JSONValue) })

    private static let apis: [String: JSONValue] = [
        "API": object(
            [:],
            optional: [
                "spec": reference("Specification"), "metadata": reference("Metadata"), "status": reference("Status"),
                "endpoint": url, "num_traffic_splitter_targets": count,
                "batch_job_statuses": list(reference("BatchJobStatus")),
                "task_job_statuses": list(reference("TaskJobStatus")),
                "api_versions": list(object(["api_id": text, "last_updated": seconds])),
            ], "What is empty is left out."),
        "DeployResult": object(
            ["api": orNull(reference("API")), "message": text, "error": text],
            optional: ["error_kind": text],
            "What became of one API of the file: `message`, or `error` and no `api`."),
        "Metadata": object([
            "name": apiName, "kind": text, "id": text, "deployment_id": text, "last_updated": seconds,
        ]),
        "Status": object(
            ["ready": count, "requested": count, "up_to_date": count],
            optional: [
                "replica_counts": object(
                    Dictionary(
                        uniqueKeysWithValues: (ReplicaState.allCases.map(\.rawValue) + ["requested"]).map {
                            ($0, count)
                        })),
                "replicas": list(
                    object(
                        [
                            "id": text, "state": words(ReplicaState.allCases.map(\.rawValue)), "restarts": count,
                            "started_at": seconds, "in_flight": count,
                        ],
                        optional: [
                            "reason": text, "last_log_lines": list(text), "inside": count, "success_2xx": count,
                            "server_5xx": count, "p99_ms": numberOrNull,
                        ])),
                "reason": text, "status_code": text, "queue": reference("Queue"), "autoscaling": reference("Scaling"),
                "requests": reference("Traffic"), "split": reference("Split"),
                "targets": list(reference("SplitTarget")),
            ]),
        "Traffic": object(
            [
                "per_second": numberOrNull, "success_2xx": count, "client_4xx": count, "server_5xx": count,
                "platform_errors": count, "p50_ms": numberOrNull, "p90_ms": numberOrNull, "p99_ms": numberOrNull,
                "waiting": count, "inside": count, "upgraded": count,
            ], "The requests of a RealtimeAPI in the last minute; the last three are those of now."),
        "Split": object(
            ["state": words(SplitReport.State.allCases.map(\.rawValue)), "since": moment],
            optional: ["api": text, "weight": count, "reason": text],
            "The state of a TrafficSplitter; after a roll-back its API, that API's weight before, and the reason."),
        "SplitTarget": object(
            [
                "name": apiName, "weight": count, "shadow": flag, "served": numberOrNull, "error_rate": numberOrNull,
                "p99_ms": numberOrNull,
            ], optional: ["copies": count, "given_up": count, "agreed_status": number, "agreed_body": number],
            "An API of a TrafficSplitter and its part of the last minute; the optional members are a shadow's."),
        "Scaling": object(
            ["why": text, "decisions": list(reference("ScalingDecision"))],
            "Why there are as many replicas as there are; decisions newest first."),
        "ScalingDecision": object(
            ["at": moment, "from": count, "to": count, "reason": text],
            optional: [
                "in_flight": count, "average": number, "target": number, "raw": number,
                "steps": object(stepNames),
            ]),
    ]
}

extension OpenAPISchemas {
    /// A version's configuration with its defaults filled in.
    static let specification: [String: JSONValue] = [
        "Specification": [
            "oneOf": [
                reference("AsyncSpecification"), reference("RealtimeSpecification"), reference("BatchSpecification"),
                reference("TaskSpecification"), reference("SplitterSpecification"),
            ],
            "description":
                "Keys are those of `cortex.yaml`; durations are nanoseconds, sizes bytes, quantities the user's text.",
        ],
        "AsyncSpecification": version(
            .async, networking,
            workload.merging([
                "timeout": nanoseconds, "retention": nanoseconds, "keep_failed": nanoseconds, "max_payload": count,
                "max_result": count, "max_queue_length": countOrNull, "max_queue_time": nanosecondsOrNull,
            ]) { first, _ in first }),
        "RealtimeSpecification": version(
            .realtime, networking,
            workload.merging([
                "timeout": nanoseconds, "idle_timeout": nanosecondsOrNull, "max_queue_time": nanoseconds,
                "max_payload": countOrNull, "sticky": sticky,
            ]) { first, _ in first }),
        "BatchSpecification": version(
            .batch, object(["endpoint": text]),
            jobPolicy.merging([
                "retries": retries, "timeout": nanoseconds, "keep_failed": nanoseconds, "max_payload": count,
            ]) { first, _ in first }),
        "TaskSpecification": version(
            .task, object(["endpoint": text]),
            jobPolicy.merging([
                "retries": object([
                    "max_attempts": count, "on": list(text), "no_retry_exit_codes": list(count),
                    "on_lost": words(TaskRetryPolicy.LossRule.allCases.map(\.rawValue)), "backoff": nanoseconds,
                ]), "timeout": nanoseconds, "max_artifacts": count,
            ]) { first, _ in first }),
        "SplitterSpecification": version(
            .trafficSplitter, object(["endpoint": text]),
            [
                "apis": list(object(["name": apiName, "weight": count, "shadow": flag])), "sticky": sticky,
                "match": list(object(["header": text, "api": apiName], optional: ["value": text, "prefix": text])),
                "allow_override": flag, "fallback": flag,
                "guard": orNull(
                    object([
                        "api": apiName, "window": nanoseconds, "min_requests": count, "max_error_rate": number,
                        "max_p99": nanosecondsOrNull, "baseline_factor": number,
                    ])),
            ]),
        "Autoscaling": object([
            "min_replicas": count, "max_replicas": count, "init_replicas": count, "target_in_flight": number,
            "window": nanoseconds, "downscale_stabilization_period": nanoseconds,
            "upscale_stabilization_period": nanoseconds, "max_downscale_factor": number, "max_upscale_factor": number,
            "downscale_tolerance": number, "upscale_tolerance": number,
        ]),
        "Pod": object(
            [
                "termination_grace_period": nanoseconds, "containers": list(reference("Container")),
            ],
            optional: [
                "port": count, "max_concurrency": count,
                "operator_access": words(OperatorAccess.allCases.map(\.rawValue)), "max_queue_length": count,
            ]),
        "Container": object([
            "name": text, "image": textOrNull, "env": ["type": "object", "additionalProperties": text],
            "command": orNull(list(text)), "args": orNull(list(text)), "readiness_probe": orNull(reference("Probe")),
            "liveness_probe": orNull(reference("Probe")),
            "pre_stop": orNull(object(["http_get": orNull(reference("HTTPGet")), "exec": orNull(reference("Exec"))])),
            "compute": object(
                ["cpu": textOrNull, "mem": textOrNull, "shm": textOrNull, "gpu": count], optional: ["disk": text]),
            "volumes": list(text),
        ]),
        "Probe": object([
            "http_get": orNull(reference("HTTPGet")), "tcp_socket": orNull(object(["port": count])),
            "exec": orNull(reference("Exec")), "initial_delay_seconds": count, "timeout_seconds": count,
            "period_seconds": count, "success_threshold": count, "failure_threshold": count,
        ]),
        "HTTPGet": object(["path": text, "port": count]),
        "Exec": object(["command": list(text)]),
    ]

    private static func version(
        _ kind: APIKind, _ networking: JSONValue, _ members: [String: JSONValue]
    ) -> JSONValue {
        let general: [String: JSONValue] = [
            "name": apiName, "kind": ["type": "string", "const": .string(kind.rawValue)], "networking": networking,
            "id": text, "spec_id": text, "pod_id": text, "deployment_id": text, "initial_deployment_time": nanoseconds,
            "last_updated": seconds, "file_name": text, "submitted_api_spec": [:],
        ]
        return object(general.merging(members) { first, _ in first })
    }

    private static let networking = object(["endpoint": text, "allow_origins": list(text)])

    private static let workload: [String: JSONValue] = [
        "pod": reference("Pod"), "autoscaling": reference("Autoscaling"),
        "update_strategy": object(["max_surge": text, "max_unavailable": text]),
        "retries": retries,
    ]

    private static let retries = object(["max_attempts": count, "on": list(text), "backoff": nanoseconds])

    private static let jobPolicy: [String: JSONValue] = [
        "pod": reference("Pod"), "retention": nanoseconds, "max_result": count, "max_concurrent_jobs": countOrNull,
        "max_queued_jobs": countOrNull, "start_timeout": nanoseconds,
        "schedules": list(
            object(
                [
                    "name": apiName, "overlap": text, "catch_up": text, "catch_up_window": nanoseconds,
                    "jitter": nanoseconds, "suspended": flag, "job": [:],
                ], optional: ["cron": text, "time_zone": text, "every": nanoseconds])),
    ]

    private static let sticky = orNull(object([:], optional: ["cookie": text, "header": text]))
}
