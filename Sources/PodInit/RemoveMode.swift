import CPodInit
import Glibc
import PodInitProtocol

/// `remove FOLDER`: empties a folder whose files the platform's own user may not remove. The folder itself stays.
///
/// Runs in a container of its own, as root there, with the folder mounted and nothing else.
enum RemoveMode {
    static func run(_ arguments: ArraySlice<String>) throws(Failure) {
        guard arguments.count == 1, let folder = arguments.first, folder.hasPrefix("/") else {
            throw Failure(.badRequest, "remove needs one folder")
        }
        let result = cx_remove_tree(folder)
        // A mounted folder cannot be removed from inside; that it is empty then is all that was wanted.
        guard result >= 0 || result == -EBUSY else {
            throw Failure(.internal, "cannot remove: \(errorText(-result))")
        }
    }
}
