import Core

extension ImageReference {
    /// Parameters of `/images/create`: always the full name, so that no engine looks for a short one elsewhere. Without
    /// a tag or digest an engine would pull every tag.
    var pullQuery: [(String, String)] {
        if let digest { return [("fromImage", "\(repository)@\(digest)")] }
        return [("fromImage", repository), ("tag", tag ?? "latest")]
    }
}
