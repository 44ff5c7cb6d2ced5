package import APIConfiguration
package import Access
package import Core
package import Logging
import Support
import Synchronization

/// Deploys, refreshes, deletes and rolls back APIs. It writes to the store, has the change applied and returns when the
/// orchestrator has it.
///
/// One change of an API happens at a time in this process; changes of other APIs go on beside it. Where another process
/// changed the API meanwhile, the decision is made again for the version that is present then.
package final class DeployService: Sendable {
    let store: any Store
    /// Queried only: the reconciler changes what it keeps running.
    let orchestrator: any Orchestrator
    private let reconciler: any Reconciling
    let clock: any PlatformClock
    let random: Mutex<any RandomNumberGenerator & Sendable>
    let logger: Logger
    let gate = Limiter(waitingLimit: Limits.waitingChanges, of: "changes of APIs")
    let volumes: VolumePolicy
    let podAccessLimit: OperatorAccess
    private let kinds: Set<APIKind>
    private let submissions: SubmissionCheck

    /// - Parameters:
    ///   - kinds: the kinds whose APIs are deployed.
    ///   - submissions: finds the problems of the submissions of schedules.
    package init(
        store: any Store, orchestrator: any Orchestrator, reconciler: any Reconciling, clock: any PlatformClock,
        random: some RandomNumberGenerator & Sendable, volumes: VolumePolicy = VolumePolicy(),
        podAccessLimit: OperatorAccess = .own, kinds: Set<APIKind>,
        submissions: @escaping SubmissionCheck = { _, _ in [] }, logger: Logger
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.reconciler = reconciler
        self.clock = clock
        self.random = Mutex(random)
        self.volumes = volumes
        self.podAccessLimit = podAccessLimit
        self.kinds = kinds
        self.submissions = submissions
        self.logger = logger
    }

    /// What the deploy of one API of a file did.
    package struct DeployResult: Sendable {
        /// `nil` after an error.
        package var api: DeployedAPI?
        package var message: String
        package var error: PlatformError?
    }

    /// Deploys every API of a file, TrafficSplitters last.
    ///
    /// - Parameters:
    ///   - principal: who deploys.
    ///   - baseDirectory: the absolute folder that relative volume sources are resolved against; without it they are
    ///     refused.
    ///   - force: goes on although an API is being updated.
    /// - Throws: ``ConfigurationRejected`` with every problem there is, and then nothing was deployed;
    ///   ``PlatformError`` `store_unavailable`. A later failure of one API is in its result, and the others
    ///   continue.
    package func deploy(
        _ file: [UInt8], fileName: String, baseDirectory: String?, by principal: Principal?, force: Bool
    ) async throws -> [DeployResult] {
        let written = try Declaration.read(
            file, fileName: fileName, baseDirectory: baseDirectory, kinds: kinds, submissions: submissions)
        let specifications = written.map(\.specification)
        let keys = Set(specifications.map(\.name)).union(Self.sharedKeys(of: specifications))
        return try await gate.run(keys) {
            let deployed = try await store.deployedAPIs()
            let (declared, problems) = try await examine(
                written, deployed: deployed, fileName: fileName, by: principal, links: .resolve)
            try await refuseProblems(of: declared, deployed: deployed, fileName: fileName, beside: problems)
            var results: [Int: DeployResult] = [:]
            for (index, declaration) in declared.enumerated() where declaration.specification.hasReplicas {
                results[index] = await deploy(declaration, fileName: fileName, deployed: deployed, force: force)
            }
            // The targets of a splitter may have been deployed just now, or not because of an error.
            for (index, declaration) in declared.enumerated() where !declaration.specification.hasReplicas {
                results[index] = await deploy(declaration, fileName: fileName, deployed: nil, force: force)
            }
            return declared.indices.compactMap { results[$0] }
        }
    }

    /// Rolls out the same specification again (contract S4).
    ///
    /// - Throws: `not_found`; `asyncapi.api_updating` while it is being updated, unless `force`; `bad_request` for a
    ///   TrafficSplitter and `operation_is_only_supported_for_kind` for an API with jobs, which have no replicas;
    ///   `store_unavailable`.
    package func refresh(api name: String, force: Bool) async throws -> DeployedAPI {
        try await gate.run([name]) {
            try await repeatingOnConflict(name) {
                let deployed = try await store.deployedAPIs()
                guard let present = deployed.first(where: { $0.name == name }) else {
                    throw PlatformError.unknownAPI(name)
                }
                try present.specification.requireReplicas(for: "cortex refresh")
                if let reason = try await volumes.obstacles(among: deployed)[name] {
                    throw PlatformError(.conflict, "\(name) cannot be refreshed: \(reason)")
                }
                let status = await orchestrator.status(api: name)
                let next = try random.withLock {
                    try DeployPlan.refreshed(present, status: status, force: force, now: clock.now(), random: &$0)
                }
                guard try await roll(next, replacing: present) else { return nil }
                logger.info("API refreshed", metadata: ["api": "\(name)", "api.id": "\(next.id)"])
                return next
            }
        }
    }

    /// Forgets an API and removes its replicas (contract A13). Replicas without a known API are removed too.
    ///
    /// Returns when that is decided: replicas drain and requests are erased in the background.
    ///
    /// - Throws: `not_found`; `realtime_api_used_by_traffic_splitter` (contract R24); `store_unavailable`.
    package func delete(api name: String, keepRequests: Bool) async throws {
        try await gate.run([name]) {
            let splitters = try await store.deployedAPIs().filter { $0.specification.splitTargets.contains(name) }
            guard splitters.isEmpty else {
                let names = splitters.map(\.name).sorted().joined(separator: ", ")
                throw PlatformError(
                    .usedByTrafficSplitter,
                    "\(name) cannot be deleted, because it is named by a TrafficSplitter: first delete \(names), or deploy it without \(name)"
                )
            }
            let wasDeployed = try await store.delete(api: name, keepRequests: keepRequests, now: clock.now())
            await reconciler.reconcile(name)
            guard wasDeployed else { throw PlatformError.unknownAPI(name) }
            logger.info("API deleted", metadata: ["api": "\(name)", "requests.kept": "\(keepRequests)"])
        }
    }

    /// Why a deployed API is not started; `nil` for one that is.
    package func reasonHeldBack(_ name: String) -> String? { reconciler.reasonHeldBack(name) }

    // MARK: Steps

    /// What changes of different APIs may contend for: endpoints, the targets of splitters, and sources of volumes,
    /// which must not lie in one another.
    private static func sharedKeys(of specifications: [APISpecification]) -> Set<String> {
        var keys = Set(specifications.map(\.networking.endpoint)).union(specifications.flatMap(\.splitTargets))
        if specifications.contains(where: { $0.pod.containers.contains { !$0.volumes.isEmpty } }) {
            keys.insert("volumes")
        }
        return keys
    }

    /// - Parameter known: problems that were found before.
    private func refuseProblems(
        of declared: [Declaration], deployed: [DeployedAPI], fileName: String, beside known: [ReportedProblem]
    ) async throws {
        var problems = known + DeployPlan.conflicts(of: declared, with: deployed, fileName: fileName)
        for declaration in declared where declaration.specification.hasPods {
            for text in await orchestrator.problems(with: declaration.specification) {
                let problem = declaration.problem(fileName, said: text)
                // An engine may say the same of a source that is missing.
                let isKnown = known.contains {
                    $0.api == problem.api && $0.path == problem.path && $0.message == problem.message
                }
                if !isKnown { problems.append(problem) }
            }
        }
        guard problems.isEmpty else { throw ConfigurationRejected(problems: problems) }
    }

    /// - Parameter deployed: what was deployed when `declaration` was checked; `nil` to check it again.
    private func deploy(_ declaration: Declaration, fileName: String, deployed: [DeployedAPI]?, force: Bool) async
        -> DeployResult
    {
        let name = declaration.specification.name
        var known = deployed
        do {
            return try await repeatingOnConflict(name) {
                let present: [DeployedAPI]
                if let known {
                    present = known
                } else {
                    present = try await store.deployedAPIs()
                    let conflicts = DeployPlan.conflicts(of: [declaration], with: present, fileName: fileName)
                    if let first = conflicts.first { throw PlatformError(.conflict, first.message) }
                }
                known = nil
                return try await attempt(
                    declaration, fileName: fileName, previous: present.first { $0.name == name }, force: force)
            }
        } catch {
            let error = PlatformError(wrapping: error)
            logger.error("API not deployed", metadata: ["api": "\(name)", "error": "\(error)"])
            return DeployResult(api: nil, message: "", error: error)
        }
    }

    /// - Returns: `nil` when another version than `previous` is present.
    private func attempt(_ declaration: Declaration, fileName: String, previous: DeployedAPI?, force: Bool)
        async throws -> DeployResult?
    {
        let specification = declaration.specification
        let status = await orchestrator.status(api: specification.name)
        let step = try random.withLock {
            try DeployPlan.step(
                for: specification, submitted: declaration.submitted, fileName: fileName, previous: previous,
                status: status, force: force, now: clock.now(), random: &$0)
        }
        switch step {
        case .create(let api):
            guard try await roll(api, replacing: nil) else { return nil }
            logger.info("API created", metadata: ["api": "\(api.name)", "api.id": "\(api.id)"])
            return DeployResult(
                api: api, message: "\(specification.hasReplicas ? "creating" : "created") \(specification.title)")
        case .update(let api):
            guard try await roll(api, replacing: previous) else { return nil }
            logger.info("API updated", metadata: ["api": "\(api.name)", "api.id": "\(api.id)"])
            return DeployResult(
                api: api, message: "\(specification.hasReplicas ? "updating" : "updated") \(specification.title)")
        case .unchanged(let api, let isUpdating):
            // It was checked again: it may start now, where it was held back.
            await reconciler.admit(api.name)
            return DeployResult(
                api: api, message: "\(specification.title) is \(isUpdating ? "already updating" : "up to date")")
        case .refuse(let error):
            return DeployResult(api: nil, message: "", error: error)
        }
    }

    /// Makes `api` the present version. The number of replicas stays as far as the policy allows.
    ///
    /// - Returns: `false` when another version than `previous` is present; then nothing was changed.
    func roll(_ api: DeployedAPI, replacing previous: DeployedAPI?) async throws -> Bool {
        guard try await store.deploy(api, expecting: previous?.id, now: clock.now()) else { return false }
        if api.specification.hasReplicas { try await fitReplicas(of: api) }
        await reconciler.admit(api.name)
        return true
    }

    /// Brings the requested number of replicas within the bounds of the present version. A RealtimeAPI without replicas
    /// begins again with `init_replicas` (contract S1).
    private func fitReplicas(of api: DeployedAPI) async throws {
        try await repeatingOnConflict(api.name) {
            let saved = try await store.requestedReplicas(of: api.name)
            let startsAgain = api.specification.kind.name == .realtime && saved == 0
            let count = api.replicas(requested: startsAgain ? nil : saved)
            let isSaved = try await store.replaceRequestedReplicas(
                count, of: api.name, version: api.id, expecting: saved ?? count)
            // Otherwise the autoscaler decided in between: its number is the one to fit.
            return isSaved ? count : nil
        }
    }

    /// Makes a decision again until nothing came between it and its saving.
    ///
    /// - Parameter decide: returns `nil` on a conflict.
    /// - Throws: what `decide` throws; `conflict` after too many conflicts in a row.
    @discardableResult
    private func repeatingOnConflict<Result>(_ name: String, _ decide: () async throws -> Result?) async throws
        -> Result
    {
        for _ in 0..<Self.attempts {
            if let result = try await decide() { return result }
        }
        throw PlatformError(.conflict, "\(name.shown) was changed by something else meanwhile: try again")
    }

    /// Deploys and scaling decisions come seconds apart: two conflicts in a row are rare.
    private static let attempts = 20
}

/// A file was refused as a whole; every problem of it is listed.
package struct ConfigurationRejected: Error, Sendable {
    package var problems: [ReportedProblem]

    /// All problems, one a line.
    package var message: String { problems.map(\.text).joined(separator: "\n") }
}

extension APISpecification {
    /// - Throws: `bad_request` for a TrafficSplitter; the message names the APIs that have replicas (contract X11).
    ///   `operation_is_only_supported_for_kind` for an API with jobs.
    func requireReplicas(for command: String) throws {
        guard !hasReplicas else { return }
        guard jobs == nil else {
            throw PlatformError(
                .onlySupportedForKind,
                "\(name) is a \(kind.name.rawValue) and has no replicas: its pods are the workers of jobs; use \(command) with an API of another kind, or see the jobs with cortex get \(name)"
            )
        }
        throw PlatformError(
            .badRequest,
            "\(name) is a \(kind.name.rawValue) and has no replicas: use \(command) with one of its APIs: \(splitTargets.joined(separator: ", "))"
        )
    }
}

extension PlatformError {
    static func unknownAPI(_ name: String) -> PlatformError {
        PlatformError(.notFound, "no API \(name.shown) is deployed: see cortex get for those that are")
    }

    /// An error as it may be shown to a caller; a foreign one becomes `internal` with itself as the cause.
    init(wrapping error: any Error) {
        self =
            error as? PlatformError
            ?? PlatformError(
                .internal, "something went wrong in the server: its log says what; try again", cause: error)
    }
}

extension DeployService {
    /// Deploys an earlier version again: what it declared becomes the newest version. Its queue and requests stay.
    ///
    /// - Parameters:
    ///   - version: see ``RollbackPlan``; `nil` for the one before.
    ///   - principal: who asks for it.
    /// - Returns: the version that is present now, and what happened, for people.
    /// - Throws: `not_found` with the versions that are kept; `asyncapi.api_updating` while it is being updated, unless
    ///   `force`; ``ConfigurationRejected`` when it does not fit beside the APIs of today; `store_unavailable`.
    package func rollback(api name: String, to version: String?, by principal: Principal?, force: Bool)
        async throws -> (api: DeployedAPI, message: String)
    {
        try await repeatingOnConflict(name) {
            let target = try await rollbackTarget(of: name, wanted: version)
            // All keys at once: waiting for one while holding another could wait for a deploy that waits for this one.
            return try await gate.run(Self.sharedKeys(of: [target.specification]).union([name])) {
                guard try await rollbackTarget(of: name, wanted: version) == target else { return nil }
                return try await rollBack(name, to: target, by: principal, force: force)
            }
        }
    }

    private func rollbackTarget(of name: String, wanted: String?) async throws -> DeployedAPI {
        guard let present = try await store.deployedAPIs().first(where: { $0.name == name }) else {
            throw PlatformError.unknownAPI(name)
        }
        return try RollbackPlan.target(of: present, among: try await store.versions(of: name), wanted: wanted)
    }

    /// - Returns: `nil` when another version became present meanwhile.
    private func rollBack(_ name: String, to target: DeployedAPI, by principal: Principal?, force: Bool)
        async throws -> (api: DeployedAPI, message: String)?
    {
        let deployed = try await store.deployedAPIs()
        guard let present = deployed.first(where: { $0.name == name }) else { throw PlatformError.unknownAPI(name) }
        let declaration = Declaration(
            specification: target.specification, submitted: target.submitted, places: nil)
        let (_, problems) = try await examine(
            [declaration], deployed: deployed, fileName: target.fileName, by: principal, links: .refuse)
        try await refuseProblems(of: [declaration], deployed: deployed, fileName: target.fileName, beside: problems)
        let status = await orchestrator.status(api: name)
        let step = try random.withLock {
            try DeployPlan.step(
                for: target.specification, submitted: target.submitted, fileName: target.fileName,
                previous: present, status: status, force: force, now: clock.now(), random: &$0)
        }
        let title = present.specification.title
        switch step {
        case .create(let api), .update(let api):
            guard try await roll(api, replacing: present) else { return nil }
            logger.info(
                "API rolled back", metadata: ["api": "\(name)", "api.id": "\(api.id)", "from": "\(target.id)"])
            return (api, "rolling \(title) back to \(target.id)")
        case .unchanged(let api, _):
            return (api, "\(title) is at \(target.id) already")
        case .refuse(let error):
            throw error
        }
    }
}

/// What may be deployed here: the rules of contract N1 and N2, which need the disk and the platform's settings.
extension DeployService {
    /// Checks what is about to be deployed.
    ///
    /// - Parameters:
    ///   - deployed: the present versions of all APIs.
    ///   - principal: who deploys; only the admin may mount any folder.
    /// - Returns: the declarations as they are to be deployed, and every problem.
    /// - Throws: `timed_out` when a file system does not answer; `CancellationError`.
    func examine(
        _ declared: [Declaration], deployed: [DeployedAPI], fileName: String, by principal: Principal?,
        links: VolumePolicy.Links
    ) async throws -> (declared: [Declaration], problems: [ReportedProblem]) {
        let isRestricted = principal?.isAdmin != true
        let names = Set(declared.map(\.specification.name))
        let others = deployed.map(\.specification).filter { !names.contains($0.name) }
        let (examined, findings) = try await VolumePolicy.look { [volumes] in
            var examined = declared
            var findings: [[VolumePolicy.Finding]] = []
            for index in examined.indices {
                findings.append(
                    volumes.check(&examined[index].specification, isRestricted: isRestricted, links: links))
            }
            let nested = VolumePolicy.nested(
                examined.map { VolumePolicy.canonical($0.specification) }, beside: others.map(VolumePolicy.canonical))
            return (examined, zip(findings, nested).map { $0 + $1 })
        }
        var problems: [ReportedProblem] = []
        for (declaration, findings) in zip(examined, findings) {
            for finding in findings {
                problems.append(
                    declaration.problem(
                        fileName, path: finding.path, kind: ConfigurationProblem.Kind.notAllowed.rawValue,
                        message: finding.message))
            }
            let access = declaration.specification.pod.operatorAccess
            if declaration.specification.hasPods, access > podAccessLimit {
                problems.append(
                    declaration.problem(
                        fileName, path: "pod.operator_access", kind: ConfigurationProblem.Kind.notAllowed.rawValue,
                        message:
                            "\(access.rawValue) is accepted only by a platform that was started with: cortex up --allow-pod-operator-access \(access.rawValue)"
                    ))
            }
        }
        return (examined, problems)
    }
}

extension VolumePolicy {
    /// The deployed APIs that must not start because of their volumes, each with the reason. They may have been
    /// deployed before a rule existed.
    ///
    /// - Throws: `timed_out` when a file system does not answer; `CancellationError`.
    package func obstacles(among deployed: [DeployedAPI]) async throws -> [String: String] {
        try await Self.look {
            var reasons: [String: String] = [:]
            for api in deployed {
                var specification = api.specification
                let findings = check(&specification, isRestricted: false, links: .keep)
                // An inner volume is what a container could replace; its API waits, the outer one may run.
                let others = deployed.filter { $0.name != api.name }.map { Self.canonical($0.specification) }
                let inner = Self.nested([Self.canonical(specification)], beside: others)[0].filter { !$0.isOuter }
                guard let first = (findings + inner).first else { continue }
                reasons[api.name] =
                    "it is not started, because of \(first.path): \(first.message); then deploy its file again"
            }
            return reasons
        }
    }

    /// Looks at the disk on a thread that may hang with it.
    fileprivate static func look<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async throws -> Value {
        do {
            return try await withTimeLimit(Limits.volumeCheck) { try await BlockingPool.checks.run(body) }
        } catch let error as PlatformError where error.code == .timedOut {
            throw PlatformError(
                .timedOut,
                "the file system of a volume does not answer within \(Limits.volumeCheck.components.seconds) s: see which of them hangs",
                cause: error)
        }
    }
}
