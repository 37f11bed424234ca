// What every visit of the page by a browser needs: the server, an ear for breaches of its policy and for requests
// to anyone else, and an end to what would wait for ever.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createInterface } from "node:readline";

// Debian's Chromium, without its errands; what is left of them, and all else that is not on this machine, is asked
// of a proxy where none listens.
export const CHROMIUM_ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--proxy-server=127.0.0.1:9",
];
export const LIMIT_MS = 150_000;
const HUNG = 75;

export const config = JSON.parse(process.argv[2]);

// Ends the process after LIMIT_MS, saying at which stage, which the caller moves on.
export function watch() {
  const at = { stage: "server" };
  setTimeout(() => {
    console.error(`still at '${at.stage}' after ${LIMIT_MS} ms`);
    process.exit(HUNG);
  }, LIMIT_MS);
  return at;
}

// { asked, port }: a proxy that leads nowhere, and the addresses that a browser asked it for.
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

// { address, said, reports, stop }: the app, served by `dermedge phone serve`. `said` are its lines, and `reports`
// the breaches of its policy so far.
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

// In a page: the answers to pictures in base64, by a worker of its own.
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
