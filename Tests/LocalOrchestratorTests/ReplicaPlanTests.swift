import Core
import LocalOrchestrator
import Testing

@Suite("C9: environment and variables")
struct PodPlanTests {
    private func plan(_ containers: [ContainerSpecification], port: Int = 8080) -> PodPlan {
        let specification = APISpecification.async(
            name: "iris", networking: .init(endpoint: "/iris"),
            pod: PodSpecification(port: port, containers: containers))
        let api = DeployedAPI(
            specification: specification, id: "id", specID: "spec", podID: "pod", deploymentID: "deployment",
            initialDeployment: Timestamp(seconds: 1), lastUpdated: Timestamp(seconds: 2))
        return PodPlan(
            of: api, id: "iris-abc", createdAt: Timestamp(seconds: 3), clusterVersion: "1.2.3",
            clientConfiguration: "environments: []\n")
    }

    @Test("C9: the platform's variables first, then the user's sorted by name")
    func environment() {
        let plan = plan(
            [ContainerSpecification(name: "main", env: ["b": "2", "B": "1", "A": "3", "a_1": "4"])], port: 80)
        #expect(
            plan.containers[0].environment == [
                .init("CORTEX_VERSION", "1.2.3"), .init("CORTEX_LOG_LEVEL", "INFO"),
                .init("CORTEX_CLI_CONFIG_DIR", "/cortex/client"), .init("CORTEX_PORT", "80"),
                .init("CORTEX_API_NAME", "iris"), .init("CORTEX_REPLICA_ID", "iris-abc"), .init("A", "3"),
                .init("B", "1"), .init("a_1", "4"), .init("b", "2"),
            ])
    }

    @Test("C9: every container gets the same of the platform, and its own of the rest")
    func containers() {
        let volume = ContainerSpecification.Volume(source: "/a", target: "/b", readOnly: true)
        let plan = plan([
            ContainerSpecification(
                name: "main", image: "x", env: ["PLACE": "here"], command: ["sh", "-c"],
                args: ["$(PLACE) $(CORTEX_PORT) $(CORTEX_REPLICA_ID)"], compute: Compute(gpu: 1), volumes: [volume]),
            ContainerSpecification(name: "side", args: ["$(PLACE)"]),
        ])
        #expect(plan.containers.map(\.name) == ["main", "side"])
        #expect(plan.containers[0].command == ["sh", "-c"])
        #expect(plan.containers[0].args == ["here 8080 iris-abc"])
        #expect(plan.containers[0].image == "x" && plan.containers[0].compute.gpu == 1)
        #expect(plan.containers[0].volumes == [volume])
        #expect(plan.containers[1].args == ["$(PLACE)"] && plan.containers[1].command == nil)
        #expect(plan.containers[1].environment.map(\.name).contains("CORTEX_API_NAME"))
    }

    @Test("S4: the plan carries the version it was made from, for adoption")
    func identifiers() {
        let plan = plan([])
        #expect(plan.id == "iris-abc" && plan.createdAt == Timestamp(seconds: 3))
        #expect(
            plan.owner == .api(.init(name: "iris", apiID: "id", podID: "pod", deploymentID: "deployment")))
        #expect(plan.clientConfiguration == "environments: []\n")
    }

    @Test(
        "C9: $(NAME) expands, $$(NAME) escapes, unknown stays literal",
        arguments: [
            ("$(A)", "one"), ("x$(A)y$(B)z", "xoney$(A)z"), ("$$(A)", "$(A)"), ("$$$(A)", "$one"), ("$$$$(A)", "$$(A)"),
            ("$(C)", "$(C)"), ("$A", "$A"), ("${A}", "${A}"), ("$", "$"), ("", ""), ("$$", "$"), ("a$", "a$"),
            ("$(A", "$(A"), ("$(A $$(A $$", "$(A $(A $"), ("$()", "$()"), ("$( A)", "$( A)"), ("$($(A))", "$($(A))"),
            ("é$(A)é", "éoneé"),
            ("(A)", "(A)"), ("$x$(A)", "$xone"), ("$(E)", ""),
        ])
    func expansion(_ text: String, _ expected: String) {
        #expect(VariableExpansion.expand(text, with: ["A": "one", "B": "$(A)", "E": ""]) == expected)
    }

    @Test("C9: text that opens a hundred thousand parentheses is read once")
    func hostile() {
        let text = String(repeating: "$(", count: 100_000)
        #expect(VariableExpansion.expand(text, with: [:]) == text)
    }
}
