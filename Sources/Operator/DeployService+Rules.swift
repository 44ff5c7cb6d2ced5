import APIConfiguration
import Access
package import Core
import Logging
import Support

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
            if access > podAccessLimit {
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
