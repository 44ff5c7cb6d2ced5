// StubPlatform
