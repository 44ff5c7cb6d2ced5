// EngineDockerTests
