/// An amount of compute: of a machine, or of pods.
package struct ComputeAmount: Sendable, Hashable {
    /// Thousandths of a core.
    package var cpu: Int64
    /// Bytes.
    package var memory: Int64
    package var gpu: Int64

    package init(cpu: Int64 = 0, memory: Int64 = 0, gpu: Int64 = 0) {
        self.cpu = cpu
        self.memory = memory
        self.gpu = gpu
    }

    /// Saturates instead of overflowing.
    package static func + (left: ComputeAmount, right: ComputeAmount) -> ComputeAmount {
        ComputeAmount(
            cpu: sum(left.cpu, right.cpu), memory: sum(left.memory, right.memory), gpu: sum(left.gpu, right.gpu))
    }

    private static func sum(_ left: Int64, _ right: Int64) -> Int64 {
        let (value, overflow) = left.addingReportingOverflow(right)
        return overflow ? .max : value
    }
}

extension ComputeAmount {
    /// The reservation of a replica: the sum of its containers' declarations.
    ///
    /// The default of `cpu` is an undeclared share: such containers share the free processors and reserve nothing.
    package init(reservedBy pod: PodSpecification) {
        self = pod.containers.reduce(ComputeAmount()) { sum, container in
            let compute = container.compute
            let cpu = compute.cpu == Compute().cpu ? 0 : compute.cpu?.milli ?? 0
            return sum
                + ComputeAmount(cpu: cpu, memory: compute.mem?.whole ?? 0, gpu: Int64(compute.gpu))
        }
    }
}

/// The machine's compute for replicas, and the part that existing replicas have reserved.
package struct Capacity: Sendable, Hashable {
    package var total: ComputeAmount
    package var reserved: ComputeAmount

    package init(total: ComputeAmount, reserved: ComputeAmount = ComputeAmount()) {
        self.total = total
        self.reserved = reserved
    }
}
