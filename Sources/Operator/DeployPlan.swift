import Core

/// The decisions of a deploy, as values: which APIs of a file are made, changed or left alone (reference: cortex.md
/// §1.8, §8, §13).
enum DeployPlan {
    enum Step: Sendable {
        case create(DeployedAPI)
        case update(DeployedAPI)
        /// The same specification as deployed.
        case unchanged(DeployedAPI, isUpdating: Bool)
        /// It is being updated, and `force` was not given.
        case refuse(PlatformError)
    }

    /// What is wrong between the APIs of a file and those that are deployed: one entry per API and problem.
    static func conflicts(
        of declared: [Declaration], with deployed: [DeployedAPI], fileName: String
    ) -> [ReportedProblem] {
        var problems: [ReportedProblem] = []
        for declaration in declared {
            let specification = declaration.specification
            problems += missingTargets(of: declaration, declared, deployed, fileName: fileName)
            for other in deployed {
                if other.name == specification.name {
                    let problem = kindConflict(
                        of: declaration, as: specification.kind.name, with: other.specification.kind.name,
                        fileName: fileName)
                    if let problem { problems.append(problem) }
                } else if other.specification.networking.endpoint == specification.networking.endpoint {
                    problems.append(
                        declaration.problem(
                            fileName, path: "networking.endpoint", kind: "duplicate_endpoint",
                            message:
                                "\(specification.networking.endpoint) is the endpoint of \(other.name), which is deployed: choose another endpoint, or delete \(other.name) first"
                        ))
                }
            }
        }
        return problems
    }

    /// The targets of a TrafficSplitter that are no RealtimeAPIs, neither deployed nor in the same file (contract X1).
    private static func missingTargets(
        of declaration: Declaration, _ declared: [Declaration], _ deployed: [DeployedAPI], fileName: String
    ) -> [ReportedProblem] {
        guard case .trafficSplitter(let splitter) = declaration.specification.kind else { return [] }
        return splitter.targets.enumerated().compactMap { index, target in
            let kind =
                declared.first { $0.specification.name == target.api }?.specification.kind.name
                ?? deployed.first { $0.name == target.api }?.specification.kind.name
            guard kind != .realtime else { return nil }
            return declaration.problem(
                fileName, path: "apis[\(index)].name", kind: "apis_not_deployed",
                message: kind.map { "\(target.api) is of kind \($0.rawValue), and must be a RealtimeAPI" }
                    ?? "\(target.api) is neither deployed nor in the same file: deploy it first, or add it to the file")
        }
    }

    /// A deployed API cannot become one of another kind. `nil` where the kinds are the same.
    static func kindConflict(
        of declaration: Declaration, as declared: APIKind, with deployed: APIKind, fileName: String
    ) -> ReportedProblem? {
        guard declared != deployed else { return nil }
        let name = declaration.specification.name
        return declaration.problem(
            fileName, path: "kind", kind: "cannot_change_kind_of_deployed_api",
            message:
                "\(name) is deployed as \(deployed.rawValue) and cannot become \(declared.rawValue): delete it first, or choose another name"
        )
    }

    /// What to do with one API of a file.
    ///
    /// - Parameters:
    ///   - previous: its present version, if it is deployed.
    ///   - status: its replicas, if the orchestrator knows it.
    static func step(
        for specification: APISpecification, submitted: String, fileName: String, previous: DeployedAPI?,
        status: APIStatus?, force: Bool, now: Timestamp, random: inout some RandomNumberGenerator
    ) throws -> Step {
        let podID = try Identifiers.podID(of: specification)
        let specID = try Identifiers.specID(of: specification, podID: podID)
        let isUpdating = previous.map { Self.isUpdating($0, status: status) } ?? false
        if let previous, previous.specID == specID { return .unchanged(previous, isUpdating: isUpdating) }
        if isUpdating, !force { return .refuse(updating(specification)) }
        let deploymentID = previous?.deploymentID ?? Identifiers.deploymentID(&random)
        let api = DeployedAPI(
            specification: specification,
            id: Identifiers.apiID(now: now, deploymentID: deploymentID, specID: specID), specID: specID, podID: podID,
            deploymentID: deploymentID, initialDeployment: previous?.initialDeployment ?? now, lastUpdated: now,
            submitted: submitted, fileName: fileName)
        return previous == nil ? .create(api) : .update(api)
    }

    /// The same specification, to be rolled out again.
    static func refreshed(
        _ api: DeployedAPI, status: APIStatus?, force: Bool, now: Timestamp, random: inout some RandomNumberGenerator
    ) throws -> DeployedAPI {
        guard force || !isUpdating(api, status: status) else { throw updating(api.specification) }
        var next = api
        next.deploymentID = Identifiers.deploymentID(&random)
        next.id = Identifiers.apiID(now: now, deploymentID: next.deploymentID, specID: api.specID)
        next.lastUpdated = now
        return next
    }

    /// Fewer replicas of the present version are ready than there must be, and none of them has failed.
    static func isUpdating(_ api: DeployedAPI, status: APIStatus?) -> Bool {
        guard let status else { return false }
        let failed: [ReplicaState] = [.errImagePull, .failed, .killed, .killedOOM, .stalled]
        return status.upToDate < api.specification.autoscaling.minReplicas
            && failed.allSatisfy { status.count($0) == 0 }
    }

    private static func updating(_ specification: APISpecification) -> PlatformError {
        PlatformError(
            .apiUpdating(specification.kind.name),
            "\(specification.title) is updating: wait until it is live, or force it (--force, ?force=true)")
    }
}

extension APISpecification {
    /// `iris (AsyncAPI)`, as messages name an API.
    var title: String { "\(name) (\(kind.name.rawValue))" }

    /// The APIs that a TrafficSplitter names, in the order of the file; empty for another kind.
    var splitTargets: [String] {
        if case .trafficSplitter(let splitter) = kind { splitter.targets.map(\.api) } else { [] }
    }
}
