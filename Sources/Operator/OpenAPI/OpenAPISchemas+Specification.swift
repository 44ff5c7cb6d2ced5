import Core

extension OpenAPISchemas {
    /// A version's configuration with its defaults filled in.
    static let specification: [String: JSONValue] = [
        "Specification": object(
            [
                "name": apiName, "kind": text, "networking": object(["endpoint": text, "allow_origins": list(text)]),
                "pod": reference("Pod"), "autoscaling": reference("Autoscaling"),
                "update_strategy": object(["max_surge": text, "max_unavailable": text]), "timeout": nanoseconds,
                "retention": nanoseconds, "keep_failed": nanoseconds, "max_payload": count, "max_result": count,
                "max_queue_length": countOrNull, "max_queue_time": nanosecondsOrNull,
                "retries": object(["max_attempts": count, "on": list(text), "backoff": nanoseconds]), "id": text,
                "spec_id": text, "pod_id": text, "deployment_id": text, "initial_deployment_time": nanoseconds,
                "last_updated": seconds, "file_name": text, "submitted_api_spec": [:],
            ], "Keys are those of `cortex.yaml`; durations are nanoseconds, sizes bytes, quantities the user's text."),
        "Autoscaling": object([
            "min_replicas": count, "max_replicas": count, "init_replicas": count, "target_in_flight": number,
            "window": nanoseconds, "downscale_stabilization_period": nanoseconds,
            "upscale_stabilization_period": nanoseconds, "max_downscale_factor": number, "max_upscale_factor": number,
            "downscale_tolerance": number, "upscale_tolerance": number,
        ]),
        "Pod": object(
            [
                "port": count, "max_concurrency": count, "termination_grace_period": nanoseconds,
                "containers": list(reference("Container")),
            ], optional: ["operator_access": words(OperatorAccess.allCases.map(\.rawValue))]),
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
}
