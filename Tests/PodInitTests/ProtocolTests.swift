import PodInitProtocol
import Testing

@Suite("The words between the platform and PodInit")
struct ProtocolTests {
    static let frames: [[String]] = [
        [], [""], ["", ""], ["ping"], ["a", "", "ü\n", String(repeating: "x", count: 70_000)],
    ]

    @Test("frames survive any cutting", arguments: frames, [1, 2, 3, 5, 4096])
    func roundTrip(_ fields: [String], _ size: Int) throws {
        let bytes = Frame.encode(fields) + Frame.encode(["next"])
        var decoder = FrameDecoder()
        var decoded: [[String]] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            bytes[start..<min(start + size, bytes.count)].withUnsafeBytes { decoder.append($0) }
            while let fields = try decoder.next() { decoded.append(fields) }
        }
        #expect(decoded == [fields, ["next"]])
    }

    @Test("a NUL inside a field does not end it")
    func nul() throws {
        var decoder = FrameDecoder()
        Frame.encode(["a\0b"]).withUnsafeBytes { decoder.append($0) }
        #expect(try decoder.next() == ["a\u{FFFD}b"])
    }

    @Test(
        "what is no frame is an error, not a wait",
        arguments: [[0, 16, 0, 1], [255, 255, 255, 255], [0, 0, 0, 1, 65]] as [[UInt8]])
    func broken(_ bytes: [UInt8]) {
        var decoder = FrameDecoder()
        bytes.withUnsafeBytes { decoder.append($0) }
        #expect(throws: FrameError.self) { try decoder.next() }
    }

    @Test("a start request and a status report come back as they were")
    func values() {
        var request = StartRequest(name: "api")
        request.mounts = [.init("/m=1"), .init("/v", isVolume: true)]
        request.bubblewrap = ["--bind", "/a=b", "/c"]
        request.command = ["sh", "-c", "x=1; echo $x", ""]
        request.environment = ["A=b=c", "B="]
        request.workingDirectory = "/mnt"
        request.cgroups = ["/sys/fs/cgroup/x/cgroup.procs"]
        request.oomFile = "/x"
        #expect(StartRequest(fields: request.fields) == request)
        #expect(StartRequest(fields: ["name=x"]) == nil)
        #expect(StartRequest(fields: ["name=x", "arg=y", "other=z"]) == nil)
        #expect(StartRequest(fields: ["name=x", "arg"]) == nil)
        let report = StatusReport(
            network: "veth",
            containers: [
                .init(name: "a", exitCode: nil, outOfMemory: false, starts: 1, startedAt: 5, processID: 7),
                .init(name: "b", exitCode: 137, outOfMemory: true, starts: 2, startedAt: 6, processID: 0),
            ])
        #expect(StatusReport(fields: report.fields) == report)
        #expect(StatusReport(fields: []) == nil)
        #expect(StatusReport(fields: ["veth", "a"]) == nil)
    }
}
