import CPodInit
import Glibc
import PodInitProtocol

/// A program to be started. This is the description; fork and exec are in C.
struct Child {
    var program: String
    /// The first word of its command line; `nil`: the program.
    var name: String?
    /// Without the program's own name.
    var arguments: [String]
    var environment: [String]
    var folder: String?
    var output: CInt = -1
    /// The descriptor to which the child writes why it could not run.
    var report: CInt
    /// Whether the program itself goes on reporting there.
    var keepsReport = false
    /// Further descriptors for the program.
    var kept: [CInt] = []
    var cgroups: [String] = []
    var files = 0
    var processes = 0
    var mounts: [StartRequest.Mount] = []
    var userNamespace: CInt = -1
    var volumeOwners: CInt = -1
    /// A BPF program that the system calls of the program go through.
    var filter: [UInt8] = []

    /// Passes the description to C.
    func with<Result>(_ body: (UnsafePointer<cx_child>) -> Result) -> Result {
        withStrings([name ?? program] + arguments) { arguments in
            withStrings(environment) { environment in
                withStrings(cgroups) { cgroups in
                    withStrings(mounts.map(\.source)) { sources in
                        let mounts = mounts.enumerated().map { index, mount in
                            cx_mount(source: sources[index], is_volume: mount.isVolume ? 1 : 0)
                        }
                        return (kept + [-1]).withUnsafeBufferPointer { kept in
                            mounts.withUnsafeBufferPointer { mounts in
                                filter.withUnsafeBytes { filter in
                                    program.withCString { program in
                                        withOptionalString(folder) { folder in
                                            var child = cx_child(
                                                program: program, arguments: arguments, environment: environment,
                                                folder: folder, output: output, report: report,
                                                keeps_report: keepsReport ? 1 : 0, kept: kept.baseAddress,
                                                cgroups: cgroups, files: files, processes: processes,
                                                mounts: mounts.baseAddress, mount_count: mounts.count,
                                                user_namespace: userNamespace, volume_owners: volumeOwners,
                                                user: PodInitLimits.user, filter: filter.baseAddress,
                                                filter_size: filter.count)
                                            return body(&child)
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// An array of C strings, ended by a null pointer, for the time of the call.
private func withStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    copies.append(nil)
    return copies.withUnsafeBufferPointer { buffer in
        // A buffer with at least the null pointer in it has a base address.
        withUnsafeTemporaryAllocation(of: UnsafeMutablePointer<CChar>?.self, capacity: buffer.count) { list in
            _ = list.initialize(from: buffer)
            defer { list.deinitialize() }
            return body(UnsafePointer(list.baseAddress.unsafelyUnwrapped))
        }
    }
}

private func withOptionalString<Result>(_ string: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    guard let string else { return body(nil) }
    return string.withCString { body($0) }
}

/// A pipe whose reading end does not block.
func makePipe() throws(Failure) -> (reading: CInt, writing: CInt) {
    var reading: CInt = -1
    var writing: CInt = -1
    let result = cx_pipe(&reading, &writing)
    guard result >= 0 else { throw Failure(.internal, "The pod has no descriptors left: \(errorText(-result)).") }
    return (reading, writing)
}
