// A guest and the host's own network: the host's clients reach a guest's server, and a guest's client the host's.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { fixturePath } from "../fixtures/programs.ts";
import { startGoemu } from "./testing/goemu.ts";

const binary = fixturePath("bin/network");

describe("net/http in a guest", () => {
  it("serves the host's clients, many at a time, until it is asked to quit", { timeout: 120_000 }, async () => {
    const { child, ended } = startGoemu([binary, "serve", "127.0.0.1:0"], { timeout: 110_000 });
    const address = await new Promise<string>((resolve) => {
      child.stdout?.on("data", (data: Buffer) => resolve(data.toString().trim()));
    });
    const big = "x".repeat(3_000_000);
    const bodies = [...Array.from({ length: 50 }, (_, i) => `body ${i}`), big];
    const echo = async (body: string): Promise<string> =>
      (await fetch(`http://${address}/echo`, { method: "POST", body })).text();
    const answers = await Promise.all(bodies.map(echo));
    expect(answers.slice(0, -1)).toEqual(bodies.slice(0, -1));
    expect(answers.at(-1) === big).toBe(true);
    expect(await (await fetch(`http://${address}/quit`)).text()).toBe("bye");
    expect(await ended).toMatchObject({ status: 0, stderr: "" });
  });

  it("says that an address is in use, and fetches from the host's servers", { timeout: 120_000 }, async () => {
    const server = createServer((request, response) => response.end(`you asked for ${request.url}`));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const taken = await startGoemu([binary, "serve", address], { timeout: 60_000 }).ended;
    expect(taken.stdout).toBe(`error: listen tcp ${address}: bind: address already in use\n`);
    const urls = [`http://${address}/a`, `http://${address}/bc`];
    const fetched = await startGoemu([binary, "fetch", ...urls], { timeout: 60_000 }).ended;
    expect(fetched).toMatchObject({
      stdout: "200 16 you asked for /a\n200 17 you asked for /bc\n",
      stderr: "",
      status: 0,
    });
    server.close();
    server.closeAllConnections();
    const refused = await startGoemu([binary, "fetch", urls[0]], { timeout: 60_000 }).ended;
    expect(refused.stdout).toBe(`Get "${urls[0]}": dial tcp ${address}: connect: connection refused\n`);
  });
});
