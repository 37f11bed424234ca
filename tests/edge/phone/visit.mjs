// What every visit of the page by a browser needs. It starts the server, records breaches of its policy and requests to
// other hosts, and ends a visit that would wait for ever.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

// The options of Debian's Chromium. They switch off its own requests. All requests that remain and do not go to this
// machine go to a proxy that does not exist.
export const CHROMIUM_ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--proxy-server=127.0.0.1:9",
];
export const LIMIT_MS = 150_000;
const HUNG = 75;

export const config = JSON.parse(process.argv[2]);

// Ends the process after LIMIT_MS, and prints the stage. The caller sets the stage in the returned object.
export function watch() {
  const at = { stage: "server" };
  setTimeout(() => {
    console.error(`still at '${at.stage}' after ${LIMIT_MS} ms`);
    process.exit(HUNG);
  }, LIMIT_MS);
  return at;
}

// Starts a proxy that leads nowhere. Returns { asked, port }: the addresses that a browser asked for, and the port.
export async function listen() {
  const ear = { asked: [], port: 0 };
  const server = createServer((request, response) => {
    ear.asked.push(request.url);
    response.end();
  });
  server.on("connect", (request, socket) => {
    ear.asked.push(request.url);
    socket.destroy();
  });
  await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  ear.port = server.address().port;
  return ear;
}

// Serves the app by `dermedge phone serve`. Returns { address, said, reports, stop }: `said` are the printed lines so
// far, and `reports` the breaches of the policy so far.
export async function serve(scheme = "http") {
  const [program, ...rest] = config.server;
  const server = spawn(program, rest, { stdio: ["ignore", "pipe", "inherit"] });
  const gone = new Promise((resolve) => { server.once("exit", resolve); });
  process.once("exit", () => server.kill());
  const [said, reports] = [[], []];
  const address = await new Promise((resolve, reject) => {
    gone.then(() => reject(new Error("the server ended")));
    createInterface(server.stdout).on("line", (line) => {
      const [, report] = line.match(/^report (.*)/) ?? [];
      if (report) {
        const { "effective-directive": directive, "blocked-uri": blocked } = JSON.parse(report)["csp-report"];
        reports.push(`${directive}: ${blocked}`);
        return;
      }
      said.push(line);
      const [found] = line.match(new RegExp(`${scheme}://\\S+`)) ?? [];
      if (found) resolve(found);
    });
  });
  return { address, said, reports, stop: () => { server.kill(); return gone; } };
}

export const encoded = (paths) => paths.map((path) => readFileSync(path).toString("base64"));

// Runs in a page. Starts a worker, and returns its answers to images, which are in base64.
export async function classify(pictures) {
  const worker = new Worker("worker.js");
  const said = () => new Promise((resolve) => { worker.onmessage = ({ data }) => resolve(data); });
  if ((await said()).kind !== "ready") throw new Error("the worker is not ready");
  const answers = [];
  for (const [number, one] of pictures.entries()) {
    const bytes = Uint8Array.from(atob(one), (letter) => letter.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none" });
    const answer = said();
    worker.postMessage({ kind: "still", number, bitmap }, [bitmap]);
    const { label, levels } = (await answer).result.classification;
    const read = Object.entries(levels).filter(([, values]) => values).map(([name, values]) => [name, [...values]]);
    answers.push({ label, levels: Object.fromEntries(read) });
  }
  worker.terminate();
  return answers;
}

export function finish(seen) {
  process.stdout.write(JSON.stringify(seen), () => process.exit());
}
