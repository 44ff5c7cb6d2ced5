import Core
import Foundation
import Logging
import Wire

extension Operator {
    /// The present version of an API.
    ///
    /// - Throws: `not_found`, `store_unavailable`.
    func deployedAPI(_ name: String) async throws -> DeployedAPI {
        guard let api = try await store.deployedAPIs().first(where: { $0.name == name }) else {
            throw PlatformError.unknownAPI(name)
        }
        return api
    }

    /// `GET /get`
    func list(_ addresses: PlatformAddresses) async throws -> [APIDocument] {
        let counts = await queueCounts()
        var documents: [APIDocument] = []
        let apis = try await store.deployedAPIs().sorted {
            ($0.specification.kind.name.listPosition, $0.name) < ($1.specification.kind.name.listPosition, $1.name)
        }
        for api in apis {
            var document = APIDocument(
                metadata: APIDocument.Metadata(api), status: await status(of: api, counts, detailed: false),
                numTrafficSplitterTargets: Self.targetCount(of: api), endpoint: Self.endpoint(of: api, addresses))
            try await addJobs(of: api, to: &document)
            documents.append(document)
        }
        return documents
    }

    /// `GET /get/{api}`
    func document(of name: String, _ addresses: PlatformAddresses) async throws -> APIDocument {
        let api = try await deployedAPI(name)
        var document = try await presentDocument(of: api, addresses, detailed: false)
        document.status?.statusCode =
            deployments.reasonHeldBack(name) == nil
            ? Self.statusCode(of: api, await orchestrator.status(api: name)) : "status_error"
        document.apiVersions = try await store.versions(of: name).map(APIDocument.Version.init)
        return document
    }

    /// `GET /get/{api}/{apiID}`: of an older version only its specification.
    func document(of name: String, version id: String, _ addresses: PlatformAddresses) async throws -> APIDocument {
        let present = try await deployedAPI(name)
        if present.id == id { return try await presentDocument(of: present, addresses, detailed: false) }
        guard let version = try await store.versions(of: name).first(where: { $0.id == id }) else {
            throw PlatformError(
                .notFound, "\(name) has no version \(id.shown): cortex get \(name) lists the last \(Limits.versions)")
        }
        return APIDocument(spec: Self.specDocument(version))
    }

    /// `GET /describe/{api}`
    func description(of name: String, _ addresses: PlatformAddresses) async throws -> APIDocument {
        var document = try await presentDocument(of: try await deployedAPI(name), addresses, detailed: true)
        document.spec = nil
        return document
    }

    /// `GET /info`
    func info(_ addresses: PlatformAddresses) async throws -> InfoDocument {
        let apis = try await store.deployedAPIs()
        var pending = 0
        for api in apis {
            guard let status = await orchestrator.status(api: api.name) else { continue }
            pending += max(0, status.requested - status.ready)
        }
        let queue = await queueCounts()?.values.reduce(into: QueueCounts()) { sum, counts in
            sum.inQueue += counts.inQueue
            sum.inProgress += counts.inProgress
        }
        return InfoDocument(
            clusterConfig: InfoDocument.ClusterConfiguration(
                apiVersion: CortexVersion.current, clusterName: configuration.clusterName,
                engine: configuration.engine, store: store.name, gatewayEndpoint: addresses.gateway,
                operatorEndpoint: addresses.operator),
            numPendingReplicas: pending, numAPIs: apis.count, queue: queue,
            capacity: await orchestrator.capacity().map(CapacityDocument.init))
    }

    static func endpoint(of api: DeployedAPI, _ addresses: PlatformAddresses) -> String {
        addresses.gateway + api.specification.networking.endpoint
    }

    /// `nil` for another kind than TrafficSplitter.
    private static func targetCount(of api: DeployedAPI) -> Int? {
        api.specification.kind.name == .trafficSplitter ? api.specification.splitTargets.count : nil
    }

    private static func statusCode(of api: DeployedAPI, _ status: APIStatus?) -> String {
        guard api.specification.hasReplicas else { return "status_live" }
        guard let status, !DeployPlan.isUpdating(api, status: status) else { return "status_updating" }
        return status.upToDate < api.specification.autoscaling.minReplicas ? "status_error" : "status_live"
    }

    static func specDocument(_ api: DeployedAPI) -> SpecDocument {
        func json(_ text: String) -> JSONValue {
            // What cannot be read as JSON is shown as the text it is.
            (try? DocumentCoding.decode(JSONValue.self, from: Array(text.utf8))) ?? .string(text)
        }
        return SpecDocument(api, submitted: json(api.submitted), json: json)
    }

    private func presentDocument(of api: DeployedAPI, _ addresses: PlatformAddresses, detailed: Bool) async throws
        -> APIDocument
    {
        var document = APIDocument(
            spec: Self.specDocument(api), metadata: APIDocument.Metadata(api),
            status: await status(of: api, await queueCounts(), detailed: detailed),
            numTrafficSplitterTargets: Self.targetCount(of: api), endpoint: Self.endpoint(of: api, addresses))
        try await addJobs(of: api, to: &document)
        return document
    }

    /// Adds the jobs of an API with jobs (contract J13).
    private func addJobs(of api: DeployedAPI, to document: inout APIDocument) async throws {
        switch api.specification.kind.name {
        case .batch:
            document.batchJobStatuses = try await configuration.jobStatuses(api).compactMap { job in
                if case .batch(let job) = job { job } else { nil }
            }
        case .task:
            document.taskJobStatuses = try await configuration.jobStatuses(api).compactMap { job in
                if case .task(let job) = job { job.withoutStoredResults } else { nil }
            }
        case .async, .realtime, .trafficSplitter: break
        }
    }

    private func status(of api: DeployedAPI, _ counts: [String: QueueCounts]?, detailed: Bool) async -> StatusDocument {
        let kind = api.specification.kind
        if case .trafficSplitter(let splitter) = kind {
            return StatusDocument(configuration.traffic?.split(of: api.name) ?? SplitReport(api, splitter))
        }
        let status =
            await orchestrator.status(api: api.name)
            ?? APIStatus(requested: 0, reason: deployments.reasonHeldBack(api.name))
        guard api.specification.hasReplicas else { return StatusDocument(status, queue: nil, detailed: false) }
        let scaling = detailed ? ScalingDocument(await configuration.scaling(api.name)) : nil
        guard case .realtime = kind else {
            return StatusDocument(
                status, queue: counts.map { $0[api.name] ?? QueueCounts() }, detailed: detailed, autoscaling: scaling)
        }
        // The proxy has not met an API that was deployed just now: it had no request yet.
        let traffic = configuration.traffic?.traffic(of: api.name) ?? TrafficReport()
        return StatusDocument(status, queue: nil, detailed: detailed, autoscaling: scaling, traffic: traffic)
    }

    /// `nil` when the store cannot say: unknown is not zero, and an API's state is worth showing without it.
    private func queueCounts() async -> [String: QueueCounts]? {
        do {
            return try await store.counts()
        } catch {
            logger.warning("queue lengths unknown", metadata: ["error": "\(error)"])
            return nil
        }
    }
}

extension TaskJobStatusDocument {
    /// Without results that are too large for memory; the job's own document has them.
    fileprivate var withoutStoredResults: TaskJobStatusDocument {
        func isStored(_ result: VerbatimJSON?) -> Bool { if case .text(.stored) = result { true } else { false } }
        var job = self
        if isStored(job.result) { job.result = nil }
        if job.results?.contains(where: isStored) == true { job.results = nil }
        return job
    }
}

extension SplitReport {
    /// What is declared, for a TrafficSplitter that had no request yet.
    fileprivate init(_ api: DeployedAPI, _ splitter: SplitterSpecification) {
        self.init(
            state: splitter.guarding == nil ? .fixed : .guarded, since: api.lastUpdated,
            targets: splitter.targets.map { target in
                target.isShadow
                    ? Target(api: target.api, weight: target.weight, isShadow: true, copies: 0, givenUp: 0)
                    : Target(api: target.api, weight: target.weight)
            })
    }
}

extension APIKind {
    /// The original's order of a list.
    fileprivate var listPosition: Int {
        switch self {
        case .realtime: 0
        case .batch: 1
        case .task: 2
        case .async: 3
        case .trafficSplitter: 4
        }
    }
}

extension Operator {
    /// `GET /requests/{api}`: a page, newest first (contract O3).
    func requests(of name: String, _ query: QueryParameters) async throws -> RequestListDocument {
        var filter = RequestFilter(limit: try query.integer("limit", in: 1...Limits.listPage) ?? 100)
        if let text = try query.text("status") {
            guard let status = RequestStatus(rawValue: text) else {
                let allowed = RequestStatus.allCases.map(\.rawValue).joined(separator: ", ")
                throw PlatformError(
                    .badRequest, "the query parameter status must be one of \(allowed), not \(text.shown)")
            }
            filter.status = status
        }
        if let text = try query.text("before") {
            guard let id = RequestID(text) else {
                throw PlatformError(.badRequest, "the query parameter before must be a request id, not \(text.shown)")
            }
            filter.before = id
        }
        try await requireQueue(name)
        let records = try await store.list(api: name, filter: filter, now: clock.now())
        return RequestListDocument(
            requests: records.map(RequestDocument.init), next: records.count == filter.limit ? records.last?.id : nil)
    }

    /// - Throws: `not_found`; `bad_request` for a kind whose requests are not stored (contract R24);
    ///   `operation_is_only_supported_for_kind` for a kind with jobs.
    private func requireQueue(_ name: String) async throws {
        let kind = try await deployedAPI(name).specification.kind.name
        switch kind {
        case .async: return
        case .realtime, .trafficSplitter:
            throw PlatformError(
                .badRequest,
                "\(name) is a \(kind.rawValue), which answers at once and stores no requests: use cortex call \(name)"
            )
        case .batch, .task:
            throw PlatformError(
                .onlySupportedForKind,
                "\(name) is a \(kind.rawValue), which has jobs and no requests: use cortex jobs \(name)")
        }
    }

    /// `POST /retry/{api}/{id}`: puts a failed request back into the queue (contract A12, O3).
    func retry(_ text: String, of name: String) async throws -> RequestDocument {
        try await requireQueue(name)
        guard let id = RequestID(text), let record = try await store.retry(id, api: name, now: clock.now()) else {
            throw PlatformError(
                .notFound, "\(name) has no request \(text.shown), or it has expired: see cortex requests \(name)")
        }
        return RequestDocument(record)
    }
}

/// How the operator writes and reads JSON: keys are sorted, so that equal values are equal bytes. `config` of a job is
/// written verbatim.
enum DocumentCoding {
    static func encode(_ value: some Encodable) throws -> [UInt8] {
        try OrderedJSON.bytes(of: value, .sorted)
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
        try JSONDecoder().decode(type, from: Data(bytes))
    }
}
