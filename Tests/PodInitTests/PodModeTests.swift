import CLinux
import Core
import Foundation
import PodInitClient
import PodInitProtocol
import Subprocess
import TestSupport
import Testing

@Suite("PodInit passes connections in", .timeLimit(.minutes(5)))
struct PodModeTests {
    @Test(
        "C7: the connected socket arrives, non-blocking and close-on-exec, over IPv4 and IPv6",
        arguments: [false, true])
    func connects(ipv6: Bool) async throws {
        let greeter = try Greeter(ipv6: ipv6)
        defer { greeter.stop() }
        try await PodInitProcess.with { (pod) async throws in
            let descriptor = try await pod.client.connect(port: greeter.port, timeout: .seconds(5))
            #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0)
            #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
            #expect(try await readToEnd(descriptor) == Array("hello".utf8))
        }
    }

    @Test("C7: a port that nothing listens on is a refusal with the system's text")
    func refuses() async throws {
        let greeter = try Greeter()
        greeter.stop()
        try await PodInitProcess.with { (pod) async throws in
            #expect(
                try await eventually {
                    do {
                        close(try await pod.client.connect(port: greeter.port, timeout: .seconds(5)))
                        return false
                    } catch let error as PlatformError {
                        return error.code == .connectionFailed && error.message.contains("Connection refused")
                    }
                })
        }
    }

    @Test("C7: a port that does not answer fails when its time is up, and holds nothing")
    func timesOut() async throws {
        // A full backlog: further connections stay half open.
        let listener = cx_tcp_listen(0x7F00_0001, 0, 0)
        try #require(listener >= 0)
        defer { close(listener) }
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(listener, $0, &length) }
        }
        let port = Int(UInt16(bigEndian: address.sin_port))
        let fillers = (0..<4).map { _ in cx_loopback_connect(UInt16(port), 0) }
        defer { for filler in fillers { close(filler) } }
        try await PodInitProcess.with { (pod) async throws in
            let before = PodInitProcess.idle
            let error = await #expect(throws: PlatformError.self) {
                close(try await pod.client.connect(port: port, timeout: .milliseconds(100)))
            }
            #expect(error?.code == .connectionFailed)
            #expect(error?.message.contains("timed out") == true)
            #expect(try await eventually { pod.descriptors == before })
            // Cancelled rather than timed out.
            let task = Task { close(try await pod.client.connect(port: port, timeout: .seconds(600))) }
            #expect(try await eventually { pod.descriptors == before + 2 })
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(try await eventually { pod.descriptors == before })
        }
    }

    @Test("C7: hundreds of connections at once, and nothing is left open on either side")
    func many() async throws {
        let greeter = try Greeter()
        defer { greeter.stop() }
        try await PodInitProcess.with { (pod) async throws in
            let before = PodInitProcess.idle
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<500 {
                    group.addTask {
                        let descriptor = try await pod.client.connect(port: greeter.port, timeout: .seconds(30))
                        return try await readToEnd(descriptor).count
                    }
                }
                let bytes = try await group.reduce(0, +)
                #expect(bytes == 2500)
            }
            #expect(try await eventually { pod.descriptors == before })
        }
    }

    @Test("C7: a caller that is cancelled at any moment leaks no descriptor")
    func cancellation() async throws {
        let greeter = try Greeter()
        defer { greeter.stop() }
        try await PodInitProcess.with { (pod) async throws in
            let before = PodInitProcess.idle
            for round in 0..<100 {
                let task = Task { close(try await pod.client.connect(port: greeter.port, timeout: .seconds(5))) }
                for _ in 0..<(round % 20) { await Task.yield() }
                task.cancel()
                _ = await task.result
            }
            try await pod.client.ping()
            #expect(try await eventually { pod.descriptors == before })
            #expect(try await eventually { openSockets(to: greeter.port) == 0 })
        }
    }

    @Test("C8: a pod that is gone is connection_failed, not a hang")
    func gone() async throws {
        let client = PodInitClient(socketPath: "/nowhere/init.sock")
        let error = await #expect(throws: PlatformError.self) { try await client.ping() }
        #expect(error?.code == .connectionFailed)
        try await PodInitProcess.with { (pod) async throws in
            kill(pod.process, SIGSTOP)
            let error = await #expect(throws: PlatformError.self) {
                try await pod.client.ping(timeout: .milliseconds(50))
            }
            #expect(error?.code == .timedOut)
            let waiting = Task { try await pod.client.ping(timeout: .seconds(60)) }
            kill(pod.process, SIGKILL)
            let cut = await #expect(throws: PlatformError.self) { try await waiting.value }
            #expect(cut?.code == .connectionFailed)
        }
    }

    @Test("U4: SIGTERM ends it with 0 and takes its socket along")
    func ends() async throws {
        let status = try await PodInitProcess.with { (pod) async throws in
            kill(pod.process, SIGTERM)
            #expect(
                try await eventually {
                    !FileManager.default.fileExists(atPath: pod.client.socketPath)
                })
        }
        #expect(status.isSuccess)
    }

    @Test("C8: what speaks no protocol is hung up on, and harms nobody else", arguments: nonsense)
    func hostile(_ bytes: [UInt8]) async throws {
        try await PodInitProcess.with { (pod) async throws in
            let before = PodInitProcess.idle
            let descriptor = cx_unix_connect(pod.client.socketPath)
            try #require(descriptor >= 0)
            _ = cx_send(descriptor, bytes, bytes.count, -1)
            shutdown(descriptor, CInt(SHUT_WR))
            _ = try? await readToEnd(descriptor)
            try await pod.client.ping()
            #expect(try await eventually { pod.descriptors == before })
        }
    }

    static let nonsense: [[UInt8]] = [
        [], [0], [0xFF, 0xFF, 0xFF, 0xFF], [0, 0, 0, 0], [0, 0, 0, 3, 65, 66, 67], [0, 0, 0, 9, 65],
        Frame.encode(["nonsense"]), Frame.encode(["connect"]), Frame.encode(["connect", "99999999", "1"]),
        Frame.encode(["connect", "80", "-1"]), Frame.encode(["start", "name=x"]), Frame.encode(["exec", "x"]),
        Array("GET / HTTP/1.1\r\n\r\n".utf8),
    ]

    @Test("C8: thousands of requests in one go are answered one by one")
    func pipelined() async throws {
        try await PodInitProcess.with { (pod) async throws in
            let descriptor = cx_unix_connect(pod.client.socketPath)
            try #require(descriptor >= 0)
            let one = Frame.encode(["ping"])
            let all = [UInt8]((0..<5000).map { _ in one }.joined())
            Thread.detachNewThread {
                var sent = 0
                while sent < all.count {
                    let count = all.withUnsafeBytes {
                        cx_send(descriptor, $0.baseAddress?.advanced(by: sent), $0.count - sent, -1)
                    }
                    if count == -Int(EAGAIN) { usleep(1000) } else if count > 0 { sent += count } else { return }
                }
                shutdown(descriptor, CInt(SHUT_WR))
            }
            #expect(
                try await readToEnd(descriptor) == [UInt8]((0..<5000).map { _ in Frame.encode(["ok", "1"]) }.joined()))
        }
    }

    @Test("C8: it stays small")
    func size() async throws {
        let bytes = try #require(
            try FileManager.default.attributesOfItem(atPath: PodInitProcess.executable)[.size] as? Int)
        #expect(bytes <= 12 << 20)
        try await PodInitProcess.with { (pod) async throws in
            let status = try String(contentsOfFile: "/proc/\(pod.process)/status", encoding: .utf8)
            func kilobytes(_ name: String) -> Int {
                let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") } ?? ""
                return Int(line.split { !$0.isNumber }.first ?? "") ?? .max
            }
            #expect(kilobytes("VmRSS") <= 8 << 10)
            #expect(kilobytes("RssAnon") <= 2 << 10)
        }
    }

    @Test("C8: as process 1 it reaps what is left to it")
    func reaps() async throws {
        try await withTemporaryDirectory { (folder) async throws in
            let socket = folder.appendingPathComponent("init.sock").path
            let script = "(sleep 0.1 & sleep 0.1 &) ; exec \(PodInitProcess.executable) pod --socket \(socket)"
            let bubblewrap = Process()
            bubblewrap.executableURL = URL(fileURLWithPath: "/usr/bin/bwrap")
            bubblewrap.arguments = [
                "--unshare-user", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--bind", "/", "/", "--dev",
                "/dev",
                "--proc", "/proc", "--", "sh", "-c", script,
            ]
            try bubblewrap.run()
            let client = PodInitClient(socketPath: socket)
            #expect(try await eventually { (try? await client.ping()) != nil })
            let outer = bubblewrap.processIdentifier
            #expect(try await eventually { descendants(of: outer).filter { $0.name == "sleep" }.isEmpty })
            #expect(descendants(of: outer).map(\.name).contains("cortex-pod-init"))
            kill(outer, SIGKILL)
            bubblewrap.waitUntilExit()
        }
    }

    /// Connections of this process to a port.
    private func openSockets(to port: Int) -> Int {
        let table = (try? String(contentsOfFile: "/proc/self/net/tcp", encoding: .utf8)) ?? ""
        let mark = ":" + String(port, radix: 16, uppercase: true)
        // Columns: number, local, remote, state; 01 is established, 08 waits for our close.
        return table.split(separator: "\n").dropFirst().count { line in
            let words = line.split(separator: " ")
            return words.count > 3 && words[2].hasSuffix(mark) && (words[3] == "01" || words[3] == "08")
        }
    }

    private func descendants(of process: pid_t) -> [(process: pid_t, name: String)] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        var parents: [pid_t: (parent: pid_t, name: String)] = [:]
        for number in names.compactMap({ pid_t($0) }) {
            guard let data = FileManager.default.contents(atPath: "/proc/\(number)/stat") else { continue }
            let text = String(decoding: data, as: UTF8.self)
            guard let open = text.firstIndex(of: "("), let end = text.lastIndex(of: ")") else { continue }
            let rest = text[text.index(after: end)...].split(separator: " ")
            guard rest.count > 1, let parent = pid_t(rest[1]) else { continue }
            parents[number] = (parent, String(text[text.index(after: open)..<end]))
        }
        var found: [(pid_t, String)] = []
        var seeds: Set<pid_t> = [process]
        while true {
            let next = parents.filter { seeds.contains($0.value.parent) && !found.map(\.0).contains($0.key) }
            if next.isEmpty { return found }
            found += next.map { ($0.key, $0.value.name) }
            seeds = Set(next.keys)
        }
    }
}
