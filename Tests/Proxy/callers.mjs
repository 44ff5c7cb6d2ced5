// Callers of Node: http, an agent that keeps connections, and fetch. Prints the status, a line feed and the body.
import http from "node:http";
import { readFileSync } from "node:fs";

const [program, method, url, ...lines] = process.argv.slice(2);
const headers = {};
for (let at = 0; at < lines.length; at += 2) headers[lines[at]] = lines[at + 1];
const body = readFileSync(0);

function request(agent) {
  return new Promise((resolve, reject) => {
    const call = http.request(url, { method, headers, agent }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => resolve([response.statusCode, Buffer.concat(pieces)]));
      response.on("error", reject);
    });
    call.on("error", reject);
    call.end(body.length ? body : undefined);
  });
}

let result;
if (program === "fetch") {
  const response = await fetch(url, { method, headers, body: body.length ? body : undefined });
  result = [response.status, Buffer.from(await response.arrayBuffer())];
} else if (program === "agent") {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
  const all = await Promise.all(Array.from({ length: 10 }, () => request(agent)));
  if (all.some(([status, data]) => status !== all[0][0] || data.length !== all[0][1].length)) throw new Error("answers differ");
  result = all[0];
  agent.destroy();
} else {
  result = await request(undefined);
}
process.stdout.write(`${result[0]}\n`);
process.stdout.write(result[1]);
