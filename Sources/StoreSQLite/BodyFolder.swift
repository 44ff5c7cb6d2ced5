import Foundation
import Synchronization

/// The folder of bodies, and unused names in it. May be used from any thread.
final class BodyFolder: Sendable {
    let path: String
    private let epoch: UInt64
    private let counter = Atomic<UInt64>(0)
    private let descriptor: OwnedDescriptor

    /// - Parameter epoch: larger than that of any name in use.
    init(path: String, epoch: UInt64) throws {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw StoreFailure.SystemCall("open folder") }
        self.descriptor = OwnedDescriptor(descriptor)
        self.path = path
        self.epoch = epoch
    }

    /// A number that is unique in this process.
    func nextNumber() -> UInt64 { counter.wrappingAdd(1, ordering: .relaxed).newValue }

    func name(_ number: UInt64) -> String { BodyName.make(epoch: epoch, number: number) }

    func path(_ file: String) -> String { "\(path)/\(file)" }

    /// Makes the names in the folder durable.
    func sync() throws {
        guard fsync(descriptor.value) == 0 else { throw StoreFailure.SystemCall("sync folder") }
    }
}

/// A file descriptor that is closed with its owner.
final class OwnedDescriptor: Sendable {
    let value: Int32
    init(_ value: Int32) { self.value = value }
    deinit { Glibc.close(value) }
}
