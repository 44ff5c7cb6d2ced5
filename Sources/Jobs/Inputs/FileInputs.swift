import Core

/// The files that match the input of a job (contract B4).
struct FileInputs: Sendable {
    let sources: [any ObjectSource]

    /// A place in the list of matching files.
    struct Place: Sendable, Hashable, Codable {
        /// The index in `s3_paths`.
        var path = 0
        /// The last file that is done; `nil` at the beginning of the path.
        var after: String?
    }

    /// Refuses an input that cannot be listed here.
    ///
    /// - Throws: `not_supported`, `bad_request`, `no_s3_files_found`, `unavailable`.
    func check(_ input: JobSubmission.FileInput) async throws {
        for (index, path) in input.paths.enumerated() {
            do {
                try source(of: path).check(path)
            } catch let error as PlatformError {
                throw PlatformError(error.code, "\(input.use.rawValue).s3_paths[\(index)]: \(error.message)")
            }
        }
        _ = try Filter(input)
        struct Found: Error {}
        do {
            try await each(of: input, from: Place()) { _, _ in throw Found() }
        } catch is Found {
            return
        } catch let failure as InputFailure {
            throw PlatformError(.badRequest, "\(input.use.rawValue).s3_paths: \(failure.text)")
        }
        throw PlatformError(
            .noFilesFound, "no file matches \(input.use.rawValue): check s3_paths, includes and excludes")
    }

    /// Every URL that matches, in order.
    func urls(of input: JobSubmission.FileInput, each: (String) async throws -> Void) async throws {
        do {
            try await self.each(of: input, from: Place()) { object, _ in try await each(object.url) }
        } catch let failure as InputFailure {
            throw PlatformError(.badRequest, "\(input.use.rawValue).s3_paths: \(failure.text)")
        }
    }

    /// Every file that matches, behind a place: path by path, in ascending order of the URL, each once.
    ///
    /// - Parameter take: gets the file, and the place behind it.
    func each(
        of input: JobSubmission.FileInput, from place: Place, _ take: (StoredObject, Place) async throws -> Void
    ) async throws {
        let filter = try Filter(input)
        var place = place
        while place.path < input.paths.count {
            let path = input.paths[place.path]
            var listing = try await source(of: path).objects(prefix: path, after: place.after)
            while let object = try await listing.next() {
                try Task.checkCancellation()
                place.after = object.url
                guard filter.passes(object.url), !input.paths[..<place.path].contains(where: object.url.hasPrefix)
                else {
                    continue
                }
                try await take(object, place)
            }
            place = Place(path: place.path + 1)
        }
    }

    func read(_ object: StoredObject, from offset: Int64, _ take: ([UInt8]) async throws -> Void) async throws {
        try await source(of: object.url).read(object, from: offset, take)
    }

    private func source(of url: String) throws -> any ObjectSource {
        guard let source = sources.first(where: { url.hasPrefix($0.scheme) }) else {
            throw PlatformError(
                .badRequest, "\(JSONText.quoted(String(url.prefix(200)))) must begin with s3:// or file://")
        }
        return source
    }

    /// `includes` and then `excludes`.
    private struct Filter {
        private let includes: [Glob]
        private let excludes: [Glob]

        init(_ input: JobSubmission.FileInput) throws {
            func globs(_ texts: [String], _ field: String) throws -> [Glob] {
                try texts.enumerated().map { index, text in
                    do throws(Glob.Problem) {
                        return try Glob(text)
                    } catch {
                        throw PlatformError(
                            .badRequest, "\(input.use.rawValue).\(field)[\(index)]: is no glob: \(error.reason)")
                    }
                }
            }
            includes = try globs(input.includes, "includes")
            excludes = try globs(input.excludes, "excludes")
        }

        func passes(_ url: String) -> Bool {
            (includes.isEmpty || includes.contains { $0.matches(url) }) && !excludes.contains { $0.matches(url) }
        }
    }
}
