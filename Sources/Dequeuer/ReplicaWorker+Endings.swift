import Core

extension ReplicaWorker {
    /// Tells the store how a delivery ended, together with the others of this replica that end while it is busy: one
    /// call and one change of threads for all of them.
    func finish(_ ending: Ending) async throws -> LeaseResult {
        try await withCheckedThrowingContinuation { continuation in
            endings.append((ending, continuation))
            guard !isFinishing else { return }
            isFinishing = true
            // A task of its own: no delivery should wait for the ends of others, and an outcome must not be lost to
            // cancellation, which stores may heed.
            Task { await self.finishWaiting() }
        }
    }

    private func finishWaiting() async {
        while !endings.isEmpty {
            let batch = endings
            endings = []
            let results = await shared.store.finish(batch.map(\.ending), now: shared.clock.now())
            for (waiting, result) in zip(batch, results) { waiting.continuation.resume(with: result) }
        }
        isFinishing = false
    }
}
