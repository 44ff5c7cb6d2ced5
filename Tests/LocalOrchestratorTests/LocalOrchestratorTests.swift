// LocalOrchestratorTests
