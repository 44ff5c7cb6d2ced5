import Core
import HTTPServing
import Wire

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
