import { Agent, request } from "node:http";

/** Requests under way at a time. */
const CLIENTS = 16;
/** Every so many requests a connection is made anew. */
const FRESH = 10;

/**
 * Sends requests to a server that echoes, many at a time, on connections that stay and on new ones.
 * @param address HOST:PORT
 * @param seconds for how long
 * @returns how many were answered
 * @throws Error for an answer that is not the request's body
 */
export async function load(address: string, seconds: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  const end = performance.now() + seconds * 1000;
  let answered = 0;
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      const number = answered++;
      // Small enough that Go's server has read it when it begins to answer: of a larger body it may throw the rest away.
      const body = `${number} `.repeat(1 + (number % 50));
      const text = await post(`http://${address}/echo`, body, number % FRESH === 0 ? new Agent() : agent);
      if (text !== body) throw new Error(`request ${number}: another answer than was sent`);
    }
  };
  try {
    await Promise.all(Array.from({ length: CLIENTS }, client));
  } finally {
    agent.destroy();
  }
  return answered;
}

function post(url: string, body: string, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: "POST", agent }, (response) => {
      let text = "";
      response.on("data", (bytes) => (text += bytes));
      response.on("end", () => resolve(text));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
