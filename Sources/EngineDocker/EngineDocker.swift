// EngineDocker
