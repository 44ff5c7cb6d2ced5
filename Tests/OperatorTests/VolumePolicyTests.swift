import Access
import Core
import Foundation
import NIOHTTP1
import Reconciler
import TestSupport
import Testing
import Wire

@testable import Operator

@Suite("N2: volumes at deploy")
struct VolumePolicyTests {
    /// A policy that protects `data` below a temporary folder, and that folder's real path.
    private func with(_ body: (VolumePolicy, String) async throws -> Void) async throws {
        try await withTemporaryDirectory { folder in
            let root = folder.resolvingSymlinksInPath().path
            for name in ["data/pods", "work/app", "open/inner"] {
                try FileManager.default.createDirectory(
                    atPath: "\(root)/\(name)", withIntermediateDirectories: true)
            }
            let policy = VolumePolicy(
                protected: [.init("\(root)/data", "the platform's data directory", includesContent: true)],
                allowed: ["\(root)/open"])
            try await body(policy, root)
        }
    }

    private func specification(_ volumes: [(source: String, readOnly: Bool)], named name: String = "iris")
        -> APISpecification
    {
        APISpecification.async(
            name: name, networking: .init(endpoint: "/\(name)"),
            pod: .init(
                containers: [
                    .init(
                        name: "api",
                        volumes: volumes.enumerated().map {
                            .init(source: $1.source, target: "/v\($0)", readOnly: $1.readOnly)
                        })
                ]))
    }

    private func problem(_ policy: VolumePolicy, _ source: String, isRestricted: Bool = false) -> String? {
        var specification = specification([(source, true)])
        return policy.check(&specification, isRestricted: isRestricted, links: .resolve).first?.message
    }

    @Test("N2: what is or contains a protected path is refused, by whatever name")
    func protected() async throws {
        try await with { policy, root in
            let manager = FileManager.default
            try manager.createSymbolicLink(atPath: "\(root)/link", withDestinationPath: "/")
            try manager.createSymbolicLink(atPath: "\(root)/data-link", withDestinationPath: "data")
            for source in [
                "/", "/proc", "/proc/self", "/sys", "/sys/kernel", "/dev", "/dev/null", "/proc/self/root", root,
                "\(root)/data", "\(root)/data/pods", "\(root)/link", "\(root)/link/proc", "\(root)/data-link",
                "\(root)/work/../data", "\(root)/data-link/pods", "/./",
            ] {
                let message = try #require(problem(policy, source), "\(source)")
                #expect(message.contains("which no container may have"), "\(message)")
            }
            for source in ["\(root)/work", "\(root)/work/app", "/usr/share"] {
                #expect(problem(policy, source) == nil)
            }
            #expect(problem(policy, "\(root)/missing")?.contains("does not exist") == true)
        }
    }

    @Test("N2: the real path takes the source's place; an earlier version is not led elsewhere by a link")
    func links() async throws {
        try await with { policy, root in
            try FileManager.default.createSymbolicLink(atPath: "\(root)/current", withDestinationPath: "work/app")
            var specification = specification([("\(root)/current", false)])
            let findings = policy.check(&specification, isRestricted: false, links: .refuse)
            #expect(findings.first?.message.contains("symbolic link") == true)
            #expect(policy.check(&specification, isRestricted: false, links: .resolve).isEmpty)
            #expect(specification.pod.containers[0].volumes[0].source == "\(root)/work/app")
            #expect(policy.check(&specification, isRestricted: false, links: .refuse).isEmpty)
        }
    }

    @Test("N2: tokens other than the admin's mount only below the allowed folders")
    func restricted() async throws {
        try await with { policy, root in
            #expect(problem(policy, "\(root)/work", isRestricted: true)?.contains("--allow-volume") == true)
            #expect(problem(policy, "\(root)/open-not", isRestricted: true) != nil)
            for source in ["\(root)/open", "\(root)/open/inner"] {
                #expect(problem(policy, source, isRestricted: true) == nil)
            }
            try FileManager.default.createSymbolicLink(
                atPath: "\(root)/open/out", withDestinationPath: "\(root)/work")
            #expect(problem(policy, "\(root)/open/out", isRestricted: true)?.contains("--allow-volume") == true)
        }
    }

    @Test("N2: a source inside another writable source is refused, within an API and across APIs")
    func nested() {
        let outer = specification([("/srv/a", false)], named: "outer")
        let inner = specification([("/srv/a/models", true)], named: "inner")
        let readOnly = specification([("/srv/a", true)], named: "outer")
        #expect(VolumePolicy.nested([inner], beside: [outer])[0].count == 1)
        #expect(VolumePolicy.nested([outer], beside: [inner])[0].map(\.isOuter) == [true])
        #expect(VolumePolicy.nested([outer, inner], beside: []).map(\.count) == [0, 1])
        #expect(
            VolumePolicy.nested([specification([("/srv/a", false), ("/srv/a/b", true)])], beside: [])[0].count == 1)
        #expect(VolumePolicy.nested([inner], beside: [readOnly])[0].isEmpty)
        #expect(VolumePolicy.nested([specification([("/srv/a", false), ("/srv/a", true)])], beside: [])[0].isEmpty)
        #expect(VolumePolicy.nested([specification([("/srv/ab", true)])], beside: [outer])[0].isEmpty)
    }

    @Test("N2: the operator names the field, deploys nothing, and checks an earlier version on rollback")
    func deploy() async throws {
        try await with { policy, root in
            try await Fixture.with(podAccessLimit: .full, volumes: policy) { fixture in
                func file(_ source: String) -> String {
                    Fixture.file("iris", pod: ["operator_access: full"], container: ["volumes: [\"\(source):/v\"]"])
                }
                let refused = try await fixture.deploy(file("/"))
                #expect(refused.status == 400 && fixture.orchestrator.applied.isEmpty)
                let problem = try #require(try refused.error.problems?.first)
                #expect(problem.path == "pod.containers[0].volumes[0]" && problem.line == 8)

                try FileManager.default.createSymbolicLink(atPath: "\(root)/link", withDestinationPath: "work")
                #expect(try await fixture.deploy(file("\(root)/link")).status == 200)
                let stored = try await fixture.store.deployedAPIs()[0]
                #expect(stored.specification.pod.containers[0].volumes[0].source == "\(root)/work")

                fixture.orchestrator.setStatus(.of(.ready), of: "iris")
                let token = Fixture.podToken("iris", "iris-0", .full)
                let pod = try await fixture.call(
                    .POST, "/deploy", body: file("\(root)/work/app"), headers: ["Authorization": "Bearer \(token)"],
                    signed: false)
                #expect(pod.status == 400)
                #expect(try pod.error.message.contains("--allow-volume"))

                #expect(try await fixture.deploy(file("\(root)/open")).status == 200)
                try FileManager.default.moveItem(atPath: "\(root)/work", toPath: "\(root)/moved")
                try FileManager.default.createSymbolicLink(atPath: "\(root)/work", withDestinationPath: "/root")
                let back = try await fixture.call(.POST, "/rollback/iris")
                #expect(back.status == 400)
                #expect(try back.error.message.contains("symbolic link"))
            }
        }
    }

    @Test("N2: what was deployed before the rule is reported and not started; a better file starts it")
    func restore() async throws {
        try await Fixture.with { fixture in
            let now = Timestamp(seconds: 1_800_000_000)
            for (name, source) in [("bad", "/"), ("good", "/usr/share")] {
                try await fixture.store.deploy(
                    DeployedAPI(
                        specification: specification([(source, true)], named: name), id: "\(name)-1", specID: "s",
                        podID: "p",
                        deploymentID: "d", initialDeployment: now, lastUpdated: now), now: now)
            }
            try await fixture.reconciler.restore()
            #expect(fixture.orchestrator.applied.map(\.api) == ["good"])
            let described = try await fixture.call(.GET, "/describe/bad").decoded([APIDocument].self)
            #expect(described[0].status?.reason?.contains("pod.containers[0].volumes[0]: / is or contains") == true)
            #expect(try await fixture.call(.POST, "/refresh/bad").status == 409)
            try await fixture.deploy(Fixture.file("bad"))
            #expect(fixture.orchestrator.applied.map(\.api) == ["good", "bad"])
            #expect(try await fixture.call(.GET, "/describe/bad").decoded([APIDocument].self)[0].status?.reason == nil)
        }
    }
}
