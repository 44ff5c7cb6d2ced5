// EngineSandboxTests
