// LocalOrchestrator
