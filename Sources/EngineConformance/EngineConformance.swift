// EngineConformance
