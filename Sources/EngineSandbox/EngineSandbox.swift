// EngineSandbox
