package import APIConfiguration
package import Access
package import Core
package import HTTPServing
package import Logging
import NIOCore
import NIOHTTP1
import Support
package import Wire

/// The control plane: deployed APIs, their state and logs, over HTTP (contract O1).
///
/// Safe from any task. It owns no task and no connection: a server calls it for each request.
package struct Operator: Sendable {
    let store: any Store
    let orchestrator: any Orchestrator
    let tokens: TokenStore
    let clock: any PlatformClock
    let configuration: OperatorConfiguration
    let logger: Logger
    /// Encodes the lines of one log reader at a time.
    let logWork = Limiter(waitingLimit: Limits.connections, of: "readers of logs")
    /// Deploys, refreshes, deletes and rolls back APIs.
    package let deployments: DeployService
    private(set) var routes = RouteTable()

    /// - Parameter random: makes deployment ids; no security rests on it.
    package init(
        store: any Store, orchestrator: any Orchestrator, reconciler: any Reconciling, tokens: TokenStore,
        clock: any PlatformClock, random: some RandomNumberGenerator & Sendable, configuration: OperatorConfiguration,
        logger: Logger
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.tokens = tokens
        self.clock = clock
        self.configuration = configuration
        self.logger = logger
        self.deployments = DeployService(
            store: store, orchestrator: orchestrator, reconciler: reconciler, clock: clock, random: random,
            volumes: configuration.volumes, podAccessLimit: configuration.podAccessLimit, kinds: configuration.kinds,
            submissions: configuration.submissions, logger: logger)
        self.routes = makeRoutes()
    }

    /// Answers a request: the handler of an ``HTTPServer``.
    ///
    /// - Throws: what `ErrorResponses` turns into an answer.
    package func respond(to request: IncomingRequest, body: inout IncomingBody) async throws -> OutgoingResponse {
        // Without a token a web page reaches no route, and does not learn which paths exist (contract N5).
        if request.headers.contains(name: "origin") { _ = try await authenticate(request) }
        return try await routes.respond(to: request, body: &body)
    }
}

/// What the operator reports about its platform.
package struct OperatorConfiguration: Sendable {
    /// Name of the installation, for `/info`.
    package var clusterName: String
    /// `docker`, `podman` or `sandbox`, for `/info`.
    package var engine: String
    /// How long a followed log may be silent before an empty line keeps its connection alive.
    package var heartbeat: Duration
    /// Upper limit of what a pod may do at the operator; its version may declare less (contract N1).
    package var podAccessLimit: OperatorAccess
    /// Which folders of this machine pods may mount.
    package var volumes: VolumePolicy
    /// The kinds whose APIs are deployed.
    package var kinds: Set<APIKind>
    /// Asked for each answer, as ports may be chosen by the system at the start.
    package var addresses: @Sendable () -> PlatformAddresses
    /// What is not ready yet, for messages; empty once requests are accepted (contract U2).
    package var notReady: @Sendable () async -> [String]
    /// The autoscaler's last decisions about an API, oldest first.
    package var scaling: @Sendable (_ api: String) async -> [ScalingDecision]
    /// The traffic of RealtimeAPIs and TrafficSplitters; `nil` where no proxy runs.
    package var traffic: (any TrafficSource)?
    /// The jobs of a BatchAPI or a TaskAPI that a list shows: all open ones, then the newest ended ones, up to
    /// ``Limits/listedJobs`` in all when fewer are open (contract J13).
    package var jobStatuses: @Sendable (_ api: DeployedAPI) async throws -> [JobStatusDocument]
    /// Finds the problems of the submissions of schedules.
    package var submissions: SubmissionCheck
    /// The jobs of BatchAPIs and TaskAPIs; `nil` where none run.
    package var jobs: (any JobControl)?
    /// Ends the roll-back of a TrafficSplitter; does nothing where there is none (contract X8, X10).
    package var resumeSplit: @Sendable (_ splitter: String) async throws -> Void
    /// Each part of the platform and whether it does its work, for `/health`.
    package var components: @Sendable () async -> [HealthDocument.Component]
    /// What the platform does at this moment, for `/debug/state`.
    package var state: @Sendable () async -> StateDocument

    package init(
        clusterName: String = "local", engine: String, heartbeat: Duration = .seconds(10),
        podAccessLimit: OperatorAccess = .own, volumes: VolumePolicy = VolumePolicy(),
        kinds: Set<APIKind> = APIKind.served,
        addresses: @escaping @Sendable () -> PlatformAddresses, notReady: @escaping @Sendable () async -> [String],
        scaling: @escaping @Sendable (_ api: String) async -> [ScalingDecision] = { _ in [] },
        traffic: (any TrafficSource)? = nil,
        jobStatuses: @escaping @Sendable (_ api: DeployedAPI) async throws -> [JobStatusDocument] = { _ in [] },
        submissions: @escaping SubmissionCheck = { _, _ in [] }, jobs: (any JobControl)? = nil,
        resumeSplit: @escaping @Sendable (_ splitter: String) async throws -> Void = { _ in },
        components: @escaping @Sendable () async -> [HealthDocument.Component] = { [] },
        state: @escaping @Sendable () async -> StateDocument = { StateDocument() }
    ) {
        self.clusterName = clusterName
        self.engine = engine
        self.heartbeat = heartbeat
        self.podAccessLimit = podAccessLimit
        self.volumes = volumes
        self.addresses = addresses
        self.notReady = notReady
        self.kinds = kinds
        self.scaling = scaling
        self.traffic = traffic
        self.jobStatuses = jobStatuses
        self.submissions = submissions
        self.jobs = jobs
        self.resumeSplit = resumeSplit
        self.components = components
        self.state = state
    }
}

extension Operator {
    /// What a form adds to the file in it: boundaries and headers.
    private static let formOverhead = 64 * 1024

    /// `POST /deploy`: the file as the part `config` of a form, or as the whole body.
    func deploy(_ call: OperatorCall, _ body: inout IncomingBody) async throws -> OutgoingResponse {
        let request = call.request
        let query = try QueryParameters(request)
        let force = try query.bool("force")
        let directory = try query.text("configDir")
        if let directory, !directory.hasPrefix("/") || directory.utf8.contains(0) {
            throw PlatformError(
                .badRequest, "the query parameter configDir must be an absolute folder, not \(directory.shown)")
        }
        let (file, partName) = try await configurationFile(request, &body)
        let fileName = try query.text("configFileName") ?? partName ?? "cortex.yaml"
        guard fileName.unicodeScalars.count <= 255,
            !fileName.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F })
        else {
            throw PlatformError(
                .badRequest, "configFileName must have at most 255 characters and no control characters")
        }
        do {
            let results = try await deployments.deploy(
                file, fileName: fileName, baseDirectory: directory, by: call.principal, force: force)
            let addresses = configuration.addresses().reachable(from: request.header("host"))
            return try Self.json(results.map { Self.document($0, addresses) })
        } catch let rejected as ConfigurationRejected {
            let error = PlatformError(.configurationInvalid, rejected.message)
            return try Self.json(ErrorDocument(error, problems: rejected.problems), status: error.code.status)
        }
    }

    private static func document(_ outcome: DeployService.DeployResult, _ addresses: PlatformAddresses)
        -> DeployResultDocument
    {
        DeployResultDocument(
            api: outcome.api.map { APIDocument(spec: specDocument($0), endpoint: endpoint(of: $0, addresses)) },
            message: outcome.message, error: outcome.error?.message ?? "", errorKind: outcome.error?.code.kind)
    }

    private func configurationFile(_ request: IncomingRequest, _ body: inout IncomingBody) async throws
        -> (file: [UInt8], name: String?)
    {
        guard let boundary = try MultipartForm.boundary(ofContentType: request.header("content-type") ?? "") else {
            let file = Array(buffer: try await body.collect(upTo: Limits.configuration))
            guard !file.isEmpty else {
                throw PlatformError(
                    .badRequest, "the body is empty: send cortex.yaml as the body, or as the part config of a form")
            }
            return (file, nil)
        }
        let bytes = Array(buffer: try await body.collect(upTo: Limits.configuration + Self.formOverhead))
        let parts = try MultipartForm(bytes, boundary: boundary).parts.filter { $0.name == "config" }
        guard let part = parts.first, parts.count == 1 else {
            throw PlatformError(
                .badRequest, "the form must have exactly one part named config with the file; it has \(parts.count)")
        }
        guard part.content.count <= Limits.configuration else {
            throw IncomingBody.tooLarge(limit: Int64(Limits.configuration))
        }
        return (part.content, part.fileName.flatMap { $0.isEmpty ? nil : $0 })
    }
}

extension Operator {
    /// `POST /rollback/{api}?version=ID&force=true`
    func rollback(_ call: OperatorCall) async throws -> OutgoingResponse {
        let query = try QueryParameters(call.request)
        let (version, force) = (try query.text("version"), try query.bool("force"))
        do {
            let outcome = try await deployments.rollback(
                api: call.api, to: version, by: call.principal, force: force)
            return try Self.json(MessageDocument(message: outcome.message))
        } catch let rejected as ConfigurationRejected {
            let error = PlatformError(.configurationInvalid, rejected.message)
            return try Self.json(ErrorDocument(error, problems: rejected.problems), status: error.code.status)
        }
    }
}
