// Clients of the servers that are measured. They write down what they are told, without what differs from run to run.
import { createHash } from "node:crypto";
import { request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect, type Socket } from "node:net";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What an HTTP server answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** How a request may differ from a plain GET. */
export interface Asking {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Asks over a connection of its own. Certificates are not looked at. @throws Error if there is no answer in a minute */
export function ask(url: string, { method = "GET", body, headers = {} }: Asking = {}): Promise<Answer> {
  const options = { method, headers: { ...headers, connection: "close" }, agent: false as const, timeout: 60_000 };
  return new Promise((resolve, reject) => {
    const request = url.startsWith("https:")
      ? httpsRequest(url, { ...options, rejectUnauthorized: false, servername: "localhost" })
      : httpRequest(url, options);
    request.on("timeout", () => request.destroy(new Error(`no answer from ${new URL(url).pathname}`)));
    request.on("error", reject);
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
    });
    request.end(body);
  });
}

/** Asks again until an answer is as wanted. @throws what the signal says when there will be none */
export async function askUntil(signal: AbortSignal, url: string, wanted: (answer: Answer) => boolean): Promise<Answer> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const answer = await ask(url);
      if (wanted(answer)) return answer;
    } catch {
      // It is not there yet.
    }
    await sleep(50);
  }
}

/** Many requests, `together` at a time. @returns each different answer with how often it came */
export async function load(urls: readonly string[], together: number): Promise<string> {
  const told = new Map<string, number>();
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < urls.length) {
      const url = urls[next++];
      const answer = await ask(url).catch((error: Error) => ({ status: error.message, body: "" }));
      const digest = createHash("sha256").update(answer.body).digest("hex").slice(0, 8);
      const line = `${new URL(url).pathname}: ${answer.status}, ${answer.body.length} characters, ${digest}`;
      told.set(line, (told.get(line) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: together }, one));
  return [...told]
    .map(([line, count]) => `${count} × ${line}\n`)
    .toSorted()
    .join("");
}

/** Asks over HTTP/2, for all paths at once over one connection. */
export async function askHttp2(origin: string, paths: readonly string[]): Promise<string> {
  const session = connectHttp2(origin, { rejectUnauthorized: false, servername: "localhost" });
  try {
    const answers = paths.map(
      (path) =>
        new Promise<string>((resolve, reject) => {
          session.on("error", reject);
          const stream = session.request({ ":path": path });
          let [status, body] = [0, ""];
          stream.on("response", (headers) => (status = Number(headers[":status"])));
          stream.setEncoding("utf8").on("data", (part: string) => (body += part));
          stream.on("end", () => resolve(`HTTP/2 ${path}: ${status} ${body}\n`));
          stream.on("error", reject);
        }),
    );
    return (await Promise.all(answers)).join("");
  } finally {
    session.destroy();
  }
}

/** A connection that speaks in lines. */
export class Lines {
  readonly #socket: Socket;
  #text = "";

  private constructor(socket: Socket, signal: AbortSignal) {
    this.#socket = socket;
    signal.addEventListener("abort", () => socket.destroy());
    socket.setEncoding("utf8").on("data", (part: string) => (this.#text += part));
    socket.on("error", () => {});
  }

  /** Connects as soon as somebody listens. */
  static async to(port: number, signal: AbortSignal): Promise<Lines> {
    for (;;) {
      signal.throwIfAborted();
      const socket = connect(port, "127.0.0.1");
      const there = await new Promise<boolean>((resolve) => {
        socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
      });
      if (there) return new Lines(socket, signal);
      await sleep(50);
    }
  }

  send(text: string): void {
    this.#socket.write(text);
  }

  /** All that came, up to what matches, which is taken. */
  async until(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = pattern.exec(this.#text);
      if (found !== null) {
        const end = found.index + found[0].length;
        const taken = this.#text.slice(0, end);
        this.#text = this.#text.slice(end);
        return taken;
      }
      if (this.#socket.closed) throw new Error(`closed after ${JSON.stringify(this.#text.slice(-80))}`);
      await sleep(5);
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
